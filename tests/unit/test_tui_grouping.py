"""Groups of the fleet: nobody is lost, sums know what is not known; and the row's shares."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.fleet_types import DeploymentStats, DeploymentStatus, ReplicaView, SpeculationView
from client.types import Deployment, Placement, ReplicaStats
from tui.core import columns, grouping, query, units
from tui.core.grouping import GROUP
from tui.core.query import View
from tui.core.row import Row

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def row(name="chat", state="READY", replicas=(), spec=None, speculation=None, model="base", **stats):
    deployment = Deployment(
        name=f"accounts/local/deployments/{name}", state=state, base_model=f"a/m/{model}",
        replica_stats=ReplicaStats(ready_replica_count=1, pending_scheduling_replica_count=2), desired_replica_count=3,
        **(spec or {}),
    )  # fmt: skip
    return Row(
        DeploymentStatus(
            deployment=deployment, stats=DeploymentStats(window_s=60, **stats), replicas=list(replicas),
            speculation=speculation,
        )
    )  # fmt: skip


def cells(one):
    return {column.key: column.cell(one) for column in columns.FLEET}


@given(st.lists(st.sampled_from(["x", "y", ""]), max_size=12), st.sampled_from(list(grouping.BY)))
def test_a_group_has_each_of_its_rows_once_below_its_line(models, by):
    rows = [row(f"d{n}", model=model) for n, model in enumerate(models)]
    found = grouping.grouped(rows, by)
    assert sorted(one.name for one in found if one.state != GROUP) == sorted(one.name for one in rows)
    assert len({one.name for one in found}) == len(found)
    if by and rows:
        assert found[0].state == GROUP


def test_a_group_sums_what_is_known_and_looks_like_its_worst():
    rows = [row("a", requests_per_second=1.5), row("b", "FAILED")]
    total = grouping.grouped(rows, "model")[0]
    assert (total.id, total.rps, total.ready, total.look.word) == ("base (2)", 1.5, 2, "FAILED")
    assert total.tps is None, "known of none: not zero"


def test_groupings_go_round():
    by, seen = "", []
    for _ in grouping.BY:
        by = grouping.following(by, several=True)
        seen.append(by)
    assert (sorted(seen), by) == (sorted(grouping.BY), "")


def test_the_cache_is_that_of_all_replicas_and_what_is_not_told_is_unknown():
    full = ReplicaView(id="a", stage="READY", kv_used_tokens=3800, kv_capacity_tokens=4000, region="US_IOWA_1")
    half = ReplicaView(id="b", stage="READY", kv_used_tokens=1800, kv_capacity_tokens=4000, region="US_IOWA_1")
    known = row(replicas=[full, half], prompt_tokens_total=1000, cached_tokens_total=250)
    assert (cells(known)["kv"], cells(known)["cached"], cells(known)["region"]) == ("70%", "25%", "US_IOWA_1")
    assert cells(known)["stages"] == "○2 ↓0 ◐0"
    kv = next(column for column in columns.FLEET if column.key == "kv")
    assert (kv.tone(known), kv.tone(row(replicas=[full]))) == (None, "attention")
    unknown = cells(row())
    assert (unknown["kv"], unknown["cached"]) == (units.UNKNOWN, units.UNKNOWN)


def test_what_a_source_never_tells_is_neither_unknown_nor_zero():
    assert cells(row(ttft_p95_ms=90.0))["ttft99"] == units.NOT_EXPOSED != units.UNKNOWN
    assert cells(row())["ttft99"] == units.UNKNOWN, "no request has been answered yet"
    assert cells(row(ttft_p95_ms=90.0, ttft_p99_ms=120.0))["ttft99"] == "120ms"
    told = [row(speculation=view) for view in (None, SpeculationView(), SpeculationView(drafted=8, accepted=2))]
    assert [cells(one)["acceptance"] for one in told] == [units.NOT_EXPOSED, units.UNKNOWN, "25%"]


def test_a_region_is_where_replicas_stand_else_where_they_may():
    assert row(spec={"placement": Placement(regions=["US_IOWA_1", "EU_PARIS_1"])}).region == "US_IOWA_1 EU_PARIS_1"


@pytest.mark.parametrize(
    ("chosen", "shown"), [((), "id rps"), (("why",), "why"), (("id", "gone"), "id")]
)  # fmt: skip
def test_the_usual_columns_until_others_are_chosen(chosen, shown):
    some = [column for column in columns.FLEET if column.key in ("id", "rps", "why")]
    some[-1] = replace(some[-1], optional=True)
    assert " ".join(one.key for one in query.chosen(View(columns=chosen), some)) == shown


def test_those_without_a_region_are_a_group_that_says_so():
    (line, _) = grouping.grouped([row("a")], "region")
    assert (line.id, line.why) == ("no region (1)", "no region")
