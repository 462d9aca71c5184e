"""Whatever a replica says of itself: it is read, or passed over whole; nobody who looks at the fleet fails."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from client.fleet_types import ReplicaView
from engine.clock import SystemClock
from engine.control.reconcile import Stage
from engine.fleet.replica import Replica
from engine.fleet.report import UNREADABLE
from engine.telemetry.replica_figures import ReplicaFigures

FIELDS = (
    "status", "reason", "incarnation", "running", "waiting", "last_progress_age_s", "longest_call_ms",
    "progress_tokens", "slots", "kv_used_tokens", "kv_capacity_tokens", "counters", "device", "progress", "histograms",
)  # fmt: skip
ODD: Any = st.sampled_from(
    [None, True, -1, 2**70, 1.5, 1e999, "", "word", [], [1], {}, {"a": []}, {"kind": 5}, {"prompt_tokens_total": "x"},
     {"prompt_tokens_total": 1e999}, {"prompt_tokens_total": 5, "generated_tokens_total": 7}]
)  # fmt: skip
GOOD = {"status": "ready", "counters": {"prompt_tokens_total": 1, "generated_tokens_total": 1}, "device": {"kind": "c"}}
VIEW = TypeAdapter(ReplicaView)


@settings(max_examples=1000)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), ODD), min_size=1, max_size=3))
def test_any_report_is_read_or_passed_over_and_the_replica_can_be_shown(bodies: list[dict[str, Any]]) -> None:
    clock, figures = SystemClock(), ReplicaFigures()
    replica = Replica("d-1", "g", "key", clock, figures)
    replica.enter(Stage.READY)
    for body in (*bodies, GOOD):
        try:
            replica.take(json.loads(json.dumps(body)))
        except UNREADABLE:
            assert body is not GOOD
        replica.observed(clock.monotonic(), alive=True)
        json.loads(VIEW.dump_json(replica.view(0), by_alias=True))
        figures.totals()
        figures.gauges("kv_used_tokens")
    assert replica.take_produced().generated >= 0
