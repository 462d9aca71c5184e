"""Moving a router's traffic to one deployment by steps, as a plan; and that again, after it was rolled back. Pure."""

from __future__ import annotations

import math
import shlex
from datetime import timedelta

from client import durations
from client.names import check_id
from client.router_types import MAX_ERROR_RATE, OVER, SHIFTING, STEP_PERCENT, Router, RouterShiftSpec
from tui.core import units
from tui.core.form import Fields, Form, positive
from tui.core.placed import plain
from tui.core.plan import Change, Plan
from tui.core.router_page import short


def offered(router: Router) -> dict[str, str]:
    """What the form starts with: all of it to the target that is to have least, as slowly as a shift is by itself."""
    shares = [one for one in router.shares or () if one.wanted is not None and not one.gone]
    least = min(shares, key=lambda one: one.wanted or 0.0, default=None)
    to = short(least.deployment) if least is not None else ""
    return {"to": to, "over": _written(OVER), "step_percent": units.exact(STEP_PERCENT)}


def shift(router: Router, form: Form) -> Plan:
    """With the form's fields; the server says whether there is such a deployment."""
    fields = Fields(form)
    if fields.text("to") is None:
        fields.refuse("to", "to which deployment?")
    spec = {
        "to": fields.parsed("to", lambda text: check_id(text, "the id")),
        "over": fields.parsed("over", durations.parse),
        "step_percent": fields.parsed("step_percent", _percent),
    }
    return _planned(router, {name: value for name, value in spec.items() if value is not None}, fields)


def _percent(text: str) -> float:
    value = positive(text)
    if not 1 <= value <= 100:
        raise ValueError("must be from 1 to 100")
    return value


def again(router: Router) -> Plan | None:
    """The router's last shift from its first step on, with its own limits; None while it still goes on."""
    last = router.shift
    if last is None or last.state == SHIFTING:
        return None
    kept = ("over", "step_percent", "max_error_rate", "max_ttft_p95", "min_requests")
    given = {name: value for name in kept if (value := getattr(last, name)) is not None}
    return _planned(router, {"to": plain(last.to), **given}, Fields({}))


def _planned(router: Router, given: dict[str, object], fields: Fields) -> Plan:
    """`seen_created`: when the router's last shift began, which must still be the last one."""
    spec = RouterShiftSpec.model_validate(given)
    last = router.shift
    if router.weighted is None:
        fields.refuse("", f"{router.id} goes by a rule: it has no weights that could be shifted")
    elif last is not None and last.state == SHIFTING:
        fields.refuse("", f"{router.id} is being shifted to {short(last.to)}: roll that back first")
    to, over, percent = short(spec.to or "ID"), spec.over or OVER, spec.step_percent or STEP_PERCENT
    now = next((one.wanted for one in router.shares or () if short(one.deployment) == to), 0.0) or 0.0
    steps = math.ceil(round((1 - now) * 100 / percent, 6))
    changes = (Change(f"share of {to}", units.percent(now), "100%"),) if spec.to and now < 1 else ()
    blast = (
        f"{steps} step{'s' * (steps != 1)} of {units.exact(percent)}% of new requests, over {_written(over)}",
        _goes_back(spec),
        "requests under way are not moved",
    )
    return Plan(
        "shift", router.name, changes, _command(router, to, spec), blast, tuple(fields.problems), shift=spec,
        seen_created=last.start_time if last is not None else None,
    )  # fmt: skip


def _goes_back(spec: RouterShiftSpec) -> str:
    rate = MAX_ERROR_RATE if spec.max_error_rate is None else spec.max_error_rate
    slow = f" or TTFT p95 {_written(spec.max_ttft_p95)}" if spec.max_ttft_p95 is not None else ""
    return f"it goes back by itself beyond {units.percent(rate)} failed{slow} in a step"


def _command(router: Router, to: str, spec: RouterShiftSpec) -> str:
    words = ["firedeck", "router", "shift", router.id, "--to", to]
    for flag, value in (
        ("--over", spec.over), ("--step", spec.step_percent), ("--max-error-rate", spec.max_error_rate),
        ("--max-ttft-p95", spec.max_ttft_p95), ("--min-requests", spec.min_requests),
    ):  # fmt: skip
        if value is not None:
            words += [flag, _written(value) if isinstance(value, timedelta) else units.exact(value)]
    return shlex.join(words)


def _written(duration: timedelta) -> str:
    return units.short_duration(durations.to_go(duration))
