"""Moving a router's traffic, as a plan: what it says, what it refuses, and that again after a roll-back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.router_types import ComplexityRule, Router, RouterShare, RouterTarget, WeightedRoutes
from tui.core import shift_plan
from tui.core.placing import placed
from tui.sources.records import canary

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def router(state="ABORTED"):
    return canary("local", lambda second: NOW + timedelta(seconds=second), state)


def split(least):
    """Two targets, of which the second gets `least`."""
    names = [f"accounts/local/deployments/{name}" for name in ("blue", "green")]
    shares = zip(names, (1 - least, least), strict=True)
    return Router(
        name="accounts/local/routers/paint",
        weighted=WeightedRoutes(targets=[RouterTarget(deployment=name, weight=1.0) for name in names]),
        shares=[RouterShare(deployment=name, wanted=share) for name, share in shares],
    )


def test_the_form_offers_what_gets_least_and_the_pace_of_a_shift_that_says_nothing():
    assert shift_plan.offered(split(0.2)) == {"to": "green", "over": "10m", "step_percent": "10"}
    assert shift_plan.offered(Router(name="accounts/local/routers/new"))["to"] == ""


@pytest.mark.parametrize(
    ("least", "percent", "steps"), [(0.0, "10", 10), (0.2, "10", 8), (0.25, "10", 8), (0.9, "100", 1)]
)
def test_a_plan_tells_how_many_steps_it_takes(least, percent, steps):
    planned = shift_plan.shift(split(least), {"to": "green", "over": "10m", "step_percent": percent})
    assert planned.ready
    assert planned.blast[0].startswith(f"{steps} step{'s' if steps != 1 else ''} of {percent}%")
    assert (planned.shift.to, planned.shift.over) == ("green", timedelta(minutes=10))


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"to": ""}, "to"), ({"to": "Not an id"}, "to"), ({"to": "green", "over": "soon"}, "over"),
        ({"to": "green", "step_percent": "0.5"}, "step_percent"),
        ({"to": "green", "step_percent": "x"}, "step_percent"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_field(form, field):
    planned = shift_plan.shift(split(0.2), form)
    assert not planned.ready
    assert field in {problem.field for problem in planned.problems}


def test_what_has_all_of_the_traffic_already_is_not_shifted_to():
    assert not shift_plan.shift(split(1.0), {"to": "green"}).ready


def test_a_rule_has_nothing_to_shift_and_a_shift_that_goes_on_is_rolled_back_first():
    rule = Router(name="accounts/local/routers/smart", complexity=ComplexityRule(small="a/b/tiny", large="a/b/big"))
    assert "goes by a rule" in shift_plan.shift(rule, {"to": "tiny"}).problems[0].text
    assert "roll that back first" in shift_plan.shift(router("SHIFTING"), {"to": "summarise"}).problems[0].text


def test_a_shift_that_was_rolled_back_is_begun_again_with_its_own_limits():
    planned = shift_plan.again(router())
    assert planned.ready
    assert planned.shift.to == "accounts/local/deployments/summarise"
    assert (planned.shift.max_error_rate, planned.shift.min_requests) == (0.05, 20)
    assert planned.blast[1] == "it goes back by itself beyond 5% failed in a step"
    assert planned.seen_created == router().shift.start_time
    assert shift_plan.again(router("SHIFTING")) is None
    assert shift_plan.again(split(0.2)) is None


def test_among_several_contexts_the_server_is_told_the_name_that_it_knows():
    planned = shift_plan.again(placed(router(), "eu"))
    assert planned.context == "eu"
    assert planned.shift.to == "accounts/local/deployments/summarise"
