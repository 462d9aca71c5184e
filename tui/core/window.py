"""Which part of the past charts show: how much of it, how long ago it ends, and whether it stands still. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.fleet_types import FleetSnapshot

SPANS_S = (120, 300, 900, 3600, 21_600)
KEPT_S = 86_400  # what an engine answers at most
YOUNG = timedelta(seconds=240)
COMPARISONS_S = (0, 3600, 86_400)  # none, an hour ago, a day ago


@dataclass(frozen=True, slots=True)
class Window:
    """`span_s` None: the page's own choice. `compared_s`: beside the same of so long ago; 0 for none. `other`: beside
    another deployment's."""

    span_s: int | None = None
    back_s: int = 0
    frozen: bool = False
    compared_s: int = 0
    other: str = ""

    def zoomed(self, shown_s: int, by: int) -> Window:
        """A longer or shorter span, in turn."""
        at = SPANS_S.index(shown_s) if shown_s in SPANS_S else 0
        return replace(self, span_s=SPANS_S[(at + by) % len(SPANS_S)])

    def panned(self, shown_s: int, direction: int) -> Window:
        """Half a span into the past (-1), or back towards now (1)."""
        back = self.back_s - direction * shown_s // 2
        return replace(self, back_s=max(0, min(KEPT_S - shown_s, back)))

    def compared(self) -> Window:
        """Beside nothing, an hour ago, a day ago, in turn."""
        at = COMPARISONS_S.index(self.compared_s)
        return replace(self, compared_s=COMPARISONS_S[(at + 1) % len(COMPARISONS_S)], other="")

    def asked_s(self, shown_s: int) -> int:
        """How much of the past has to be asked for."""
        return shown_s + self.back_s


FIRST = Window()


def is_young(seen: FleetSnapshot) -> bool:
    """Neither the engine nor any deployment is old enough for charts of five minutes. A deployment that is older than
    its engine, which was started again, has the minutes before that, and they are what is looked for then."""
    since = seen.time - YOUNG
    if seen.engine.started_at <= since:
        return False
    made = (one.deployment.create_time for one in seen.deployments)
    return not any(created is not None and created <= since for created in made)
