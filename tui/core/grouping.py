"""The fleet in groups: a line that sums each up, and its deployments below. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tui.core.row import Row

GROUP = "GROUP"  # the state of a line that sums up
BY: dict[str, Callable[[Row], str]] = {
    "": lambda row: "", "model": lambda row: row.model, "state": lambda row: row.look.word.split()[0],
    "region": lambda row: row.region, "shape": lambda row: row.shape, "account": lambda row: row.account,
    "context": lambda row: row.context,
}  # fmt: skip


def following(by: str, *, several: bool = False) -> str:
    """The grouping after this one, in turn; empty for none. By context where there are `several`."""
    names = [name for name in BY if several or name != "context"]
    return names[(names.index(by) + 1) % len(names)] if by in names else ""


def grouped(rows: Sequence[Row], by: str) -> tuple[Row, ...]:
    """`rows`, each group after the line that sums it up; the groups by name, in a group the order of `rows`."""
    if not by:
        return tuple(rows)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(BY[by](row) or f"no {by}", []).append(row)
    return tuple(one for name in sorted(groups) for one in (_sum(by, name, groups[name]), *groups[name]))


def _sum(by: str, name: str, rows: Sequence[Row]) -> Row:
    """Its look is that of the member that asks most for attention; what is not known of any member is not known."""
    worst = min(rows, key=lambda row: row.look.rank)
    return Row.summed(
        name=f"{GROUP} {by} {name}", id=f"{name} ({len(rows)})", account="", model="", context="", state=GROUP,
        look=worst.look, ready=_whole(row.ready for row in rows), desired=_whole(row.desired for row in rows),
        minimum=_whole(row.minimum for row in rows), maximum=_whole(row.maximum for row in rows),
        rps=_total(row.rps for row in rows), queue=_whole(row.queue for row in rows),
        running=_whole(row.running for row in rows), tps=_total(row.tps for row in rows),
        why=name if name == f"no {by}" else f"{by} {name}", stages=_stages([row.stages for row in rows]),
        cost_per_hour=_total(row.cost_per_hour for row in rows),
        hidden=frozenset.intersection(*(row.hidden for row in rows)),
        trend=(), conditions=(), simulated=False, region="", shape="", stale="",
    )  # fmt: skip


def _stages(found: Sequence[tuple[int | None, ...]]) -> tuple[int | None, ...]:
    known = [stages for stages in found if stages]
    return tuple(_whole(column) for column in zip(*known, strict=True))


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _whole(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
