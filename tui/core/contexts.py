"""The pictures of several contexts as one, and how each of them stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from client.errors import FiredeckError, Unavailable
from tui.core import units
from tui.core.placed import context_of, short
from tui.core.row import Row
from tui.core.snapshot import Link, Picture, placed
from tui.core.states import Tone

if TYPE_CHECKING:
    from client.fleet_types import FleetSnapshot


def merged(found: Sequence[FleetSnapshot], now: datetime) -> FleetSnapshot:
    """One picture of all; its engine has what must be said of any of them, and the youngest one's age."""
    from client.fleet_types import EngineInfo, FleetSnapshot  # what the wire is made of is slow to import

    engines = [one.engine for one in found]
    engine = EngineInfo(
        version="", started_at=max((one.started_at for one in engines), default=now), cores=0,
        synthetic_traffic=any(one.synthetic_traffic for one in engines),
        simulated=any(one.simulated for one in engines), rehearsal=any(one.rehearsal for one in engines),
    )  # fmt: skip
    return FleetSnapshot(time=now, engine=engine).model_copy(
        update={
            "deployments": [status for one in found for status in one.deployments],
            "alerts": [alert for one in found for alert in one.alerts],
        }
    )


def refusal(refused: Mapping[str, FiredeckError]) -> FiredeckError:
    """Of contexts of which none answers; one alone has its own error."""
    if len(refused) == 1:
        return next(iter(refused.values()))
    return Unavailable("; ".join(f"{name}: {error.text}" for name, error in refused.items()))


def whole(parts: Mapping[str, Picture], now: datetime) -> Picture:
    """The picture of all contexts: it lives while any of them does. `now` is the local clock, which is its own."""
    known = [part for part in parts.values() if part.snapshot is not None]
    lost = [part.link for part in parts.values() if part.link.lost_at is not None]
    link = min(lost, key=lambda link: link.lost_at or now) if len(lost) == len(parts) else Link()
    rows = tuple(row for part in parts.values() for row in part.rows)
    return Picture(
        snapshot=merged([part.snapshot for part in known if part.snapshot is not None], now) if known else None,
        link=link,
        received_at=max((part.received_at for part in known if part.received_at is not None), default=None),
        rows=rows,
        places=placed(rows),
        stale_after=max(part.stale_after for part in parts.values()),
    )


def aged(parts: Mapping[str, Picture], now: datetime) -> tuple[Row, ...]:
    """The rows of all; those of a context that is silent say how old they are."""
    found: list[Row] = []
    for part in parts.values():
        age = part.stale_age(now)
        found += [replace(row, stale=age) for row in part.rows] if age else part.rows
    return tuple(found)


# What is told of them.


@dataclass(frozen=True, slots=True)
class Standing:
    """One of several contexts, for the top line and the dialog that chooses: `word` says how its link stands."""

    name: str
    word: str
    tone: Tone
    colour: str = ""
    prod: bool = False
    locked: bool = False
    account: str = ""

    @property
    def live(self) -> bool:
        return self.tone == "healthy"


def standing(part: Picture, now: datetime) -> tuple[str, Tone]:
    """`● live`, `◐ connecting`, `▲ STALE 42s`, `✖ LOST 42s`."""
    age = part.stale_age(now)
    if part.link.lost_at is not None:
        return f"✖ LOST {age or units.since(part.link.lost_at, now)}", "failed"
    if part.snapshot is None:
        return "◐ connecting", "working"
    return (f"▲ STALE {age}", "attention") if age else ("● live", "healthy")


def targets(rows: Iterable[Row]) -> dict[str, str]:
    """Full names by what a command may call them: ids that no two contexts share, and `eu:chat` for each."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for called in {row.id, short(row.name)}:
            found.setdefault(called, []).append(row.name)
    several = {called for called, names in found.items() if len({context_of(name) for name in names}) > 1}
    return {called: names[0] for called, names in found.items() if called not in several}
