"""A router as a row, its shift's verdicts, and the plan that takes the shift back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.router_types import ComplexityRule, Router, RouterShare
from tui.core import router_page, units
from tui.sources.records import canary

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def router(state="SHIFTING"):
    return canary("local", lambda second: NOW + timedelta(seconds=second), state)


def cells(one):
    (row,) = router_page.rows([one])
    return {column.key: column.cell(row) for column in router_page.ROUTERS.columns}


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("SHIFTING", "◐ SHIFTING 3/10 to summarise"), ("ROLLED_BACK", "✖ ROLLED BACK"), ("COMPLETED", "● COMPLETED"),
        ("LATER_STATE", "? LATER_STATE"),
    ],
)  # fmt: skip
def test_a_shift_is_told_with_its_step_while_it_goes_on(state, shown):
    assert cells(router(state))["shift"] == shown


def test_a_rule_has_no_wanted_shares_and_what_nobody_asked_is_not_zero():
    rule = Router(
        name="accounts/local/routers/smart", complexity=ComplexityRule(small="a/b/tiny", large="a/b/big"),
        shares=[RouterShare(deployment="a/b/tiny"), RouterShare(deployment="a/b/big", gone=True)],
    )  # fmt: skip
    assert cells(rule)["shares"] == f"tiny {units.UNKNOWN}  big {units.UNKNOWN} gone"
    assert router_page.rows([rule])[0].deployment == "a/b/tiny"
    assert cells(Router(name="accounts/local/routers/new"))["shares"] == units.UNKNOWN


def test_the_detail_has_a_bar_a_target_thresholds_figures_and_verdicts_newest_first():
    told = router_page.detail(router(), NOW + timedelta(seconds=150), 120)
    assert "summarise            ███░░░░░░░  29% wanted  30%  36 requests" in told
    assert any("step 3 of 10 for 30s; goes back beyond 5% failed" in line for line in told)
    assert "in this step: 41 requests, 1 failed, TTFT p95 164ms" in told
    verdicts = [line for line in told if "requests failed" in line]
    assert ["step 2" in line for line in verdicts] == [True, False]
    assert all(units.width(line) <= 40 for line in router_page.detail(router(), NOW, 40))


def test_rolling_back_to_a_share_says_how_many_requests_still_go_there():
    going = router()
    shift = going.shift.model_copy(update={"start_share": 0.1})
    planned = router_page.roll_back(going.model_copy(update={"shift": shift}))
    assert planned.blast[0].startswith("of new requests 10% go to summarise")


def test_only_a_shift_that_goes_on_can_be_rolled_back():
    planned = router_page.roll_back(router())
    assert planned.ready
    assert (planned.changes[0].before, planned.changes[0].after) == ("30%", "0%")
    assert planned.command == "firedeck router shift canary --abort"
    assert planned.blast[0].startswith("new requests no longer go to summarise")
    assert not router_page.roll_back(router("COMPLETED")).ready
    assert not router_page.roll_back(Router(name="accounts/local/routers/new")).ready
