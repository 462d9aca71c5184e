"""A table's columns as data: what each shows, how wide, and which go first when the screen is narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from tui.core import units
from tui.core.row import Row
from tui.core.states import Tone

KV_FULL = 0.9  # of the cache: requests will soon wait for room
GAP = 2  # blank cells between two columns


class Named(Protocol):
    """A row: known by a name that stays its own when rows move."""

    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Named)


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """`least` cells are always given; words may be cut at `most`, numbers (`most` None) never are.

    Columns with the highest `priority` number are dropped first; 0 is never dropped. `value`, in `unit`, is what the
    cell tells; a column without one is sorted by its words.
    """

    key: str
    title: str
    cell: Callable[[R], str]
    priority: int
    least: int
    most: int | None = None
    align: Literal["left", "right"] = "right"
    tone: Callable[[R], Tone | None] = lambda row: None
    value: Callable[[R], float | str | None] | None = None
    unit: Literal["", "ms", "s", "share"] = ""
    optional: bool = False  # shown when it is chosen

    def sortable(self, row: R) -> float | str | None:
        """What rows are sorted by, and a filter's numbers compared with; None for what is not known."""
        if self.value is not None:
            return self.value(row)
        text = self.cell(row)
        return None if text in units.NOTHING_KNOWN else text.lower()


def _replicas(row: Row) -> str:
    return f"{units.count(row.ready)}/{units.count(row.desired)}"


def _stages(row: Row) -> str:
    """`○2 ↓1 ◐0`: replicas on their way, by stage; nothing where all have arrived."""
    if not row.stages:
        return units.UNKNOWN
    told = " ".join(f"{sign}{units.count(n)}" for sign, n in zip("○↓◐", row.stages, strict=True))
    return told if any(row.stages) else ""


def _stage_tone(row: Row) -> Tone | None:
    return "working" if any(row.stages) else None


def _kv_tone(row: Row) -> Tone | None:
    return "attention" if row.kv_share is not None and row.kv_share > KV_FULL else None


def _figure(field: str, text: Callable[[Any], str]) -> Callable[[Row], str]:
    """A cell with the row's figure of this name."""
    return lambda row: row.told(field, text)


def _trend(row: Row) -> str:
    return units.NOT_EXPOSED if "tps" in row.hidden and row.tps is None else units.spark(list(row.trend), 16)


def _limits(row: Row) -> str:
    return f"{units.count(row.minimum)}-{units.count(row.maximum)}"


def _queue_tone(row: Row) -> Tone | None:
    return "attention" if row.queue else None


def _error_tone(row: Row) -> Tone | None:
    return "failed" if row.error_rate else None


def _why_tone(row: Row) -> Tone | None:
    return "attention" if row.conditions else None


def _plain(row: Row) -> Tone | None:
    return None


def _look_tone(row: Row) -> Tone | None:
    return row.look.tone


FLEET: tuple[Column[Row], ...] = (
    Column("state", "STATE", lambda r: r.look.text, 0, 12, 16, "left", _look_tone, lambda r: r.look.rank),
    Column("id", "DEPLOYMENT", lambda r: r.id, 0, 10, 28, "left"),
    Column("model", "MODEL", lambda r: r.model or units.UNKNOWN, 7, 12, 26, "left"),
    Column("replicas", "READY", _replicas, 0, 5, tone=_look_tone, value=lambda r: r.ready),
    Column("limits", "MIN-MAX", _limits, 3, 7, value=lambda r: r.maximum),
    Column("rps", "REQ/S", _figure("rps", units.rate), 1, 5, value=lambda r: r.rps),
    Column("stages", "STAGES", _stages, 5, 6, None, "left", _stage_tone, lambda r: sum(n or 0 for n in r.stages)),
    Column("running", "RUN", _figure("running", units.count), 6, 3, value=lambda r: r.running),
    Column("queue", "QUEUE", _figure("queue", units.count), 1, 5, tone=_queue_tone, value=lambda r: r.queue),
    Column(
        "errors", "ERR", _figure("error_rate", units.percent), 5, 4, tone=_error_tone, value=lambda r: r.error_rate
    ),
    Column("ttft50", "TTFT50", _figure("ttft_p50_ms", units.milliseconds), 2, 6, None, "right", _plain,
           lambda r: r.ttft_p50_ms, "ms"),
    Column("ttft95", "TTFT95", _figure("ttft_p95_ms", units.milliseconds), 2, 6, None, "right", _plain,
           lambda r: r.ttft_p95_ms, "ms"),
    Column("tps", "TOK/S", _figure("tps", units.rate), 1, 5, value=lambda r: r.tps),
    Column("trend", "TOK/S TREND", _trend, 8, 16, None, "left", _plain,
           lambda r: r.tps),
    Column("kv", "KV", _figure("kv_share", units.percent), 6, 4, None, "right", _kv_tone,
           lambda r: r.kv_share, "share"),
    Column("cached", "CACHED", _figure("cached_share", units.percent), 7, 6, None, "right", _plain,
           lambda r: r.cached_share, "share"),
    Column("region", "REGION", lambda r: r.region or units.UNKNOWN, 7, 10, 24, "left", optional=True),
    Column("shape", "SHAPE", lambda r: r.shape or units.UNKNOWN, 7, 10, 24, "left", optional=True),
    Column("account", "ACCOUNT", lambda r: r.account or units.UNKNOWN, 7, 8, 20, "left", optional=True),
    Column("cost", "COST/H", _figure("cost_per_hour", units.money), 7, 6, optional=True,
           value=lambda r: r.cost_per_hour),
    Column("ttft99", "TTFT99", _figure("ttft_p99_ms", units.milliseconds), 7, 6, None, "right", _plain,
           lambda r: r.ttft_p99_ms, "ms", True),
    Column("acceptance", "ACCEPTED", _figure("acceptance", units.percent), 7, 8, None, "right", _plain,
           lambda r: r.acceptance, "share", True),
    Column("why", "WHY THIS MANY", lambda r: r.why, 4, 20, 400, "left", _why_tone),
)  # fmt: skip


def _context(row: Row) -> str:
    """`eu`, of one that is silent `eu ▲ 42s`."""
    return f"{row.context} ▲ {row.stale}" if row.stale else row.context


CONTEXT = Column("context", "CONTEXT", _context, 0, 7, None, "left", value=lambda r: r.context)
SEVERAL: tuple[Column[Row], ...] = (*FLEET[:2], CONTEXT, *FLEET[2:])  # of a fleet over several contexts


@dataclass(frozen=True, slots=True)
class Placed(Generic[R]):
    column: Column[R]
    width: int


def cells(columns: Sequence[Column[R]], row: R) -> tuple[str, ...]:
    return tuple(column.cell(row) for column in columns)


def measure(columns: Sequence[Column[R]], rows: Iterable[Sequence[str]]) -> dict[str, int]:
    """How wide each column's widest cell is, its title included."""
    titles = [units.width(column.title) for column in columns]
    by_column = zip(*rows, strict=True)  # a column at a time: the longest of thousands costs least so
    widest = [_widest(cells) for cells in by_column]
    widths = map(max, titles, widest) if widest else titles
    return {column.key: width for column, width in zip(columns, widths, strict=True)}


def _widest(cells: Sequence[str]) -> int:
    distinct = set(cells)
    return max(map(len if all(map(str.isascii, distinct)) else units.width, distinct))


def fit(columns: Sequence[Column[R]], needs: dict[str, int], width: int) -> tuple[Placed[R], ...]:
    """The columns that fit into `width` cells, in order, with their widths; `needs` comes from `measure`.

    Numbers get all they need. What is left over goes to the columns of words, each up to what its cells need.
    """
    least = {c.key: max(c.least, needs[c.key] if c.most is None else 0) for c in columns}
    kept = list(columns)
    while len(kept) > 1 and _total(least[c.key] for c in kept) > width:
        last = max(kept, key=lambda c: c.priority)
        if last.priority == 0:
            break
        kept.remove(last)
    spare = width - _total(least[c.key] for c in kept)
    return tuple(_spread(kept, least, needs, spare))


def _spread(kept: list[Column[R]], least: dict[str, int], needs: dict[str, int], spare: int) -> Iterable[Placed[R]]:
    for column in kept:
        wanted = min(needs[column.key], column.most or 0) - least[column.key]
        extra = max(0, min(spare, wanted))
        spare -= extra
        yield Placed(column, least[column.key] + extra)


def _total(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + GAP * (len(found) - 1)
