"""The WHY column and the conditions: what binds is said first, short enough for a narrow screen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.fleet_types import (
    AutoscalerView,
    Condition,
    DeploymentStats,
    DeploymentStatus,
    QuarantinedRequest,
    Reason,
    TargetView,
)
from client.types import Deployment, Status
from tui.core import columns, explain
from tui.core.row import Row
from tui.core.why import why

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LOAD = Reason(code="LOAD_BELOW_TARGET", text="0 concurrent requests over 15s, target 6.4 per replica: 0 wanted")
SHORT = 26  # cells that the column has at 120


def status(*reasons: Reason, wanted: int = 0, conditions=(), **deployment) -> DeploymentStatus:
    known = {"name": "accounts/local/deployments/d", "state": "READY", "min_replica_count": 2, "max_replica_count": 4}
    target = TargetView(name="default", observed=0.0, target=6.4, wanted=wanted)
    scaler = AutoscalerView(desired=2, current=2, reasons=list(reasons), targets=[target])
    return DeploymentStatus(
        deployment=Deployment(**{**known, **deployment}), stats=DeploymentStats(window_s=60),
        autoscaler=scaler if reasons else None, conditions=list(conditions),
    )  # fmt: skip


STOCKOUT = Condition(
    type="CapacityLimited", reason="STOCKOUT", message="no H100 is free", wanted=5, placed=3,
    since=NOW - timedelta(minutes=4), retry_at=NOW + timedelta(seconds=12),
)  # fmt: skip
STOPPED = Condition(
    type="RolloutStopped", reason="ROLLOUT_STOPPED", since=NOW - timedelta(minutes=2),
    message="new replicas do not start, the former settings go on serving; take the change back: no such file",
)  # fmt: skip
SPENT = Condition(
    type="QuotaExceeded", reason="MONTHLY_SPEND_LIMIT_EXCEEDED", message="its requests are refused: raise the quota"
)
AT_MIN = Reason(code="AT_MIN", text="kept at the minimum of 2")
AT_MAX = Reason(code="AT_MAX", text="the maximum is 4")


@pytest.mark.parametrize(
    ("reasons", "wanted", "conditions", "starts"),
    [
        ((LOAD, AT_MIN), 0, (), "AT MIN 2, load wants 0"),
        ((LOAD, AT_MAX), 7, (), "AT MAX 4, load wants 7"),
        ((LOAD, AT_MIN, Reason(code="STOCKOUT", text="no room")), 0, (STOCKOUT,), "STOCKOUT 3 of 5 placed"),
        ((), 0, (STOCKOUT,), "STOCKOUT 3 of 5 placed"),
        ((LOAD, AT_MIN), 0, (STOPPED,), "ROLLOUT STOPPED · new replicas do not start, the former"),
        ((LOAD, AT_MIN), 0, (SPENT,), "SPEND LIMIT EXCEEDED · its requests are refused: "),
        ((LOAD,), 1, (), "load wants 1: 0 at 6.4"),
        ((Reason(code="SCALED_TO_ZERO", text="at zero replicas; the next request starts one"),), 0, (), "ZERO: a"),
        ((Reason(code="MANUAL", text="set to 2 by hand 5s ago"),), 0, (), "set to 2 by hand 5s ago"),
    ],
)
def test_what_binds_comes_first_and_fits_the_narrow_column(reasons, wanted, conditions, starts):
    told = why(status(*reasons, wanted=wanted, conditions=conditions))
    assert told.startswith(starts)
    assert len(told.partition(" · ")[0]) <= SHORT
    short = [reason for reason in reasons if reason.code == "STOCKOUT"]
    assert all(reason.text in told for reason in reasons if reason not in short), "nothing is lost where there is room"
    assert all(reason.text not in told and (STOCKOUT.message or "?") in told for reason in short), "nor said twice"


def test_a_failure_is_its_own_reason():
    failed = status(AT_MIN, state="FAILED", status=Status(code="INTERNAL", message="roll-out stopped: no such file"))
    assert why(failed) == "roll-out stopped: no such file"


def test_the_panel_has_the_same_order():
    texts = explain.reasons(status(LOAD, AT_MIN, wanted=0).autoscaler)
    assert texts == (AT_MIN.text, LOAD.text)


def test_at_120_columns_the_binding_reason_is_whole():
    rows = [Row(status(LOAD, AT_MIN))]
    cells = [columns.cells(columns.FLEET, row) for row in rows]
    placed = {p.column.key: p.width for p in columns.fit(columns.FLEET, columns.measure(columns.FLEET, cells), 117)}
    assert placed["why"] >= len("AT MIN 2, load wants 0")


def test_a_stockout_says_since_when_how_far_and_when_it_asks_again():
    found = status(conditions=(STOCKOUT,))
    (line,) = explain.conditions(found, NOW)
    assert line == "STOCKOUT for 4m00s: 3 of 5 replicas placed, asks again in 12s (no H100 is free)"
    (later,) = explain.conditions(found, NOW + timedelta(seconds=13))
    assert "asks again now" in later


def test_a_stopped_roll_out_says_since_when_why_and_what_to_do():
    (line,) = explain.conditions(status(conditions=(STOPPED,)), NOW)
    assert line == f"ROLLOUT_STOPPED for 2m00s: {STOPPED.message}"
    assert explain.conditions(status(conditions=(SPENT,)), NOW) == (f"{SPENT.reason}: {SPENT.message}",)
    assert explain.conditions(status(conditions=(Condition(type="New", reason="NEWER"),)), NOW) == ("NEWER",)


def test_a_quarantined_request_says_how_long_it_is_refused():
    found = status().model_copy(
        update={
            "quarantined": [
                QuarantinedRequest(digest="ab" * 32, replicas=["d-1", "d-2"], until=NOW + timedelta(minutes=9))
            ]
        }
    )
    (line,) = explain.quarantine(found, NOW)
    assert line == "request abababababab is refused for 9m00s: 2 replicas died of it"
