"""What foresight is worth: a policy that knows every request before it comes. No policy can; it says how much room is.

It plans the count for each step: the work that will arrive within `around_s` either side of it, over what replicas
shall carry, begun early enough to be ready. A replica that would be needed again before another could start is kept.
With `down_s` it also keeps, as an autoscaler must, the most that was wanted in a scale-down window: what foresight is
then still worth.
It is no proof that no plan is better: one that also knew which one request in a hundred to let wait could be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from tests.bench.autoscaling.replica_model import Model
from tests.bench.autoscaling.simulator import View
from tests.bench.autoscaling.traces import Row

STEP_S = 5.0


@dataclass
class Oracle:
    """`share`: how much of a replica's time the arriving work may take."""

    model: Model
    rows: Sequence[Row]
    share: float
    around_s: float
    down_s: float = 0.0
    look_s: float = STEP_S
    wakes: bool = False
    _plan: list[int] = field(init=False)

    def __post_init__(self) -> None:
        needed = self._needed()
        ahead = math.ceil(self.model.start_s / STEP_S)
        back = round(self.down_s / STEP_S)
        plan = [max(needed[step : step + ahead + 1]) for step in range(len(needed))]
        self._plan = [max(plan[max(0, step - back) : step + 1]) for step in range(len(plan))]

    @property
    def name(self) -> str:
        down = f", down {self.down_s:.0f}s" if self.down_s else ""
        return f"oracle {self.share:.0%}, {self.around_s:.0f}s around{down}"

    def count(self, view: View) -> int:
        return self._plan[min(round(view.now / STEP_S), len(self._plan) - 1)]

    def _needed(self) -> list[int]:
        """Replicas for each step, 1 or more."""
        work_s = [0.0] * (int(self.rows[-1][0] / STEP_S) + 1)
        for at, prompt, output in self.rows:
            work_s[int(at / STEP_S)] += self.model.work_s(prompt, output)
        sums, wide = [0.0, *accumulate(work_s)], round(self.around_s / STEP_S)
        spans = [(max(0, step - wide), min(len(work_s), step + wide + 1)) for step in range(len(work_s))]
        loads = [(sums[to] - sums[begun]) / (to - begun) / STEP_S for begun, to in spans]
        return [max(1, math.ceil(load / self.share - 1e-9)) for load in loads]
