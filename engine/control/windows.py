"""The three waiting times of the autoscaler: what the product allows, and what holds when nothing is set.

Source: https://docs.fireworks.ai/guides/ondemand-deployments, "Customizing autoscaling behavior"; the upper limits are
those of the wire (the SDK's field documentation). All figures are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_S = 60.0
HOUR_S = 60 * MINUTE_S

UP_FIELD = "autoscalingPolicy.scaleUpWindow"
DOWN_FIELD = "autoscalingPolicy.scaleDownWindow"
ZERO_FIELD = "autoscalingPolicy.scaleToZeroWindow"

Problem = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Windows:
    """How long more load, less load and no load must last before the count changes, seconds."""

    up_s: float
    down_s: float
    zero_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server lets a policy ask for, seconds. `min_zero_s` does not bind 0, which means unset."""

    max_up_s: float
    max_down_s: float
    min_zero_s: float
    defaults: Windows

    def resolve(self, up_s: float | None, down_s: float | None, zero_s: float | None) -> Windows:
        """The windows in force: None means unset. For the scale-to-zero window 0 means unset too (proto3 zero)."""
        return Windows(
            up_s=self.defaults.up_s if up_s is None else up_s,
            down_s=self.defaults.down_s if down_s is None else down_s,
            zero_s=zero_s or self.defaults.zero_s,
        )


PRODUCT = Limits(
    max_up_s=HOUR_S,
    max_down_s=HOUR_S,
    min_zero_s=5 * MINUTE_S,
    defaults=Windows(up_s=30.0, down_s=10 * MINUTE_S, zero_s=HOUR_S),
)


def rehearsal(min_zero_s: float = 1.0, defaults: Windows = PRODUCT.defaults) -> Limits:
    """The product's limits with the minima lowered, so that a demo or a test need not wait five minutes."""
    return Limits(PRODUCT.max_up_s, PRODUCT.max_down_s, min_zero_s, defaults)


def check(limits: Limits, up_s: float | None, down_s: float | None, zero_s: float | None) -> list[Problem]:
    """Every (wire field, sentence) that is wrong with a policy's windows; empty when they may be used."""
    problems = [
        *_check_span(UP_FIELD, up_s, limits.max_up_s),
        *_check_span(DOWN_FIELD, down_s, limits.max_down_s),
    ]
    # `not (a >= b)` rather than `a < b`: NaN is refused as well.
    if zero_s is not None and zero_s != 0 and not (limits.min_zero_s <= zero_s < float("inf")):
        least, default = spell(limits.min_zero_s), span(limits.defaults.zero_s)
        sentence = f"must be at least {least} (0 means the default of {default})"
        problems.append((ZERO_FIELD, sentence))
    return problems


def _check_span(field: str, value_s: float | None, most_s: float) -> list[Problem]:
    if value_s is None or 0 <= value_s <= most_s:
        return []
    return [(field, f"must be from 0s to {span(most_s)}")]


def spell(seconds: float) -> str:
    """Whole minutes as the product writes them in its own message ("at least 5 minutes"), else as `span`."""
    minutes, rest = divmod(seconds, MINUTE_S)
    return f"{minutes:.0f} minutes" if minutes > 1 and not rest else span(seconds)


def span(seconds: float) -> str:
    """A length of time for people: `0.5s`, `12s`, `4m59s`, `10m`, `1h5m`. Fractions show below ten seconds only."""
    if seconds != seconds or abs(seconds) == float("inf"):
        return str(seconds)
    if seconds < 0:
        return "-" + span(-seconds)
    if seconds < 10:
        return f"{round(seconds, 1):g}s"
    minutes, whole_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{whole_s}s" if whole_s else ""]
    return "".join(parts)
