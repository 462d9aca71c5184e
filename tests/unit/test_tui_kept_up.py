"""What the dashboard keeps up from picture to picture is what it would find if it looked at the last one alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from client.fleet_types import Condition, DeploymentStats, DeploymentStatus, EngineInfo, FleetSnapshot
from client.types import Deployment
from tui.core import filter as filters
from tui.core import units
from tui.core.inbox import Inbox
from tui.core.row import Row
from tui.core.snapshot import Picture
from tui.core.totals import Totals

START = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("READY", "CREATING", "FAILED", "DELETED")


def deployments() -> st.SearchStrategy[DeploymentStatus]:
    def made(number: int, state: str, stats: dict[str, float], held: bool) -> DeploymentStatus:
        name = f"accounts/a/deployments/d{number}"
        return DeploymentStatus(
            deployment=Deployment(name=name, state=state, desired_replica_count=number),
            stats=DeploymentStats(window_s=60, **stats),
            conditions=[Condition(type="New", reason="HELD")] if held else [],
        )

    figures = st.fixed_dictionaries(
        {}, optional={"queue": st.integers(0, 9), "requests_per_second": st.integers(0, 99).map(float)}
    )
    return st.builds(made, st.integers(0, 9), st.sampled_from(STATES), figures, st.booleans())


@st.composite
def fleets(draw: st.DrawFn) -> list[list[DeploymentStatus]]:
    """Pictures one after the other: each keeps some of the former's very objects, changes others, or is another one."""
    found = [draw(st.lists(deployments(), max_size=8, unique_by=lambda one: one.deployment.name))]
    for _ in range(draw(st.integers(1, 5))):
        last = list(found[-1])
        if draw(st.booleans()) and last:
            for at in draw(st.sets(st.integers(0, len(last) - 1))):
                other = draw(deployments())
                named = other.deployment.model_copy(update={"name": last[at].deployment.name})
                last[at] = other.model_copy(update={"deployment": named})
        else:
            last = draw(st.permutations(last)) + draw(st.lists(deployments(), max_size=1))
            last = list({one.deployment.name: one for one in last}.values())
        found.append(last)
    return found


def snapshot(found: list[DeploymentStatus]) -> FleetSnapshot:
    engine = EngineInfo(version="0", started_at=START, cores=1)
    return FleetSnapshot(time=START, engine=engine).model_copy(update={"deployments": found})


def told(totals: Totals) -> tuple[object, ...]:
    sums = [totals.told(name, units.count) for name in ("rps", "tps", "queue")]
    return totals.looks(), totals.live, totals.deleted, sums


@given(fleets())
def test_rows_places_totals_and_order_are_those_of_the_last_picture(found: list[list[DeploymentStatus]]) -> None:
    kept, totals, ordered = Picture(), Totals(), filters.Ordered()
    for turn, statuses in enumerate(found):
        now = START + timedelta(seconds=turn)
        kept, alone, fresh = kept.seen(snapshot(statuses), now), Picture().seen(snapshot(statuses), now), Totals()
        totals.take(kept.rows)
        fresh.take(alone.rows)
        assert kept.rows == alone.rows
        assert told(totals) == told(fresh)
        assert [kept.status(one.deployment.name) for one in statuses] == statuses
        assert filters.select(kept.rows, ordered=ordered) == filters.select(alone.rows)


@given(fleets())
def test_alerts_are_those_of_the_last_picture(found: list[list[DeploymentStatus]]) -> None:
    kept = Inbox()
    for turn, statuses in enumerate(found):
        now = START + timedelta(seconds=turn)
        kept, _ = kept.taken(snapshot(statuses), now)
        alone, _ = Inbox().taken(snapshot(statuses), now)
        assert kept.alerts == alone.alerts


def test_a_row_has_no_figure_of_another_name() -> None:
    bare = DeploymentStatus(deployment=Deployment(name="accounts/a/deployments/x"), stats=DeploymentStats(window_s=60))
    row = Row(bare)
    assert not hasattr(row, "tokens")
    assert (row.id, row.account, row.queue, row.hidden) == ("x", "a", None, frozenset({"queue", "running"}))
