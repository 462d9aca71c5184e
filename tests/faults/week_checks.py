"""What must hold in a simulated week, whatever happens in it. Each check is one promise, and raises AssertionError.

They are told what is, not how it was decided: where a window is checked, it is measured here once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from engine.control.autoscale import Observed as Load
from engine.control.reconcile import DRAIN_TIMEOUT_S, SURGE, Do, Observed, Stage, Step, standing
from engine.placement import fit
from engine.placement.port import Node
from engine.placement.simulated.cloud import Cloud
from tests.faults.week_bill import Bill
from tests.faults.week_parts import STATES_AFTER, Deployed, Look

CONVERGED_WITHIN_S = 30.0
EPSILON_S = 1e-3
PER_REPLICA = 0.8  # of its slots: the load target where none is set


def scaled_by_the_rules(d: Deployed, before: int, seen: Load, now: float) -> None:
    """Within minimum and maximum; up, down and to zero only after a whole window; never down on missing figures."""
    low, high = d.policy.min_replicas, d.policy.max_replicas
    d.looks.append(Look(now, d.concurrency, seen.missing))
    assert min(low, high) <= d.count <= high, f"{d.name}: {d.count} outside {low} to {high}"
    assert not seen.missing or d.count >= min(before, high), f"{d.name}: {before} -> {d.count} on missing figures"
    if d.count == before:
        return
    if "SCALED_UP" in d.codes:
        _up_after_a_window(d, before, now)
    if "SCALED_DOWN" in d.codes:
        waited_s = now - d.raised_at
        assert waited_s >= d.policy.down_window_s - EPSILON_S, f"{d.name}: down {waited_s:.0f} s after it went up"
    if "SCALED_TO_ZERO" in d.codes:
        idle_s = now - d.used_at
        assert idle_s >= d.policy.zero_window_s - EPSILON_S, f"{d.name}: to zero after {idle_s:.0f} idle seconds"
    if d.count > before:
        d.raised_at = now


def _up_after_a_window(d: Deployed, before: int, now: float) -> None:
    """A window ago the load was more than `before` replicas carry, at some look that the mean of then covers."""
    past = [look for look in d.looks if look.at <= now - d.policy.up_window_s + EPSILON_S]
    assert past, f"{d.name}: up without a window's past"
    covered = [look for look in past if look.at > past[-1].at - d.policy.average_s]
    recent = [look for look in d.looks if look.at >= covered[0].at]
    if any(look.blind for look in recent):
        return  # what was known before stands in for what is not
    most = max(look.load for look in covered)
    assert most > before * PER_REPLICA * d.policy.slots_per_replica - EPSILON_S, (
        f"{d.name}: up for a load of {most:.1f}"
    )


def no_request_lost(d: Deployed, found: Sequence[Step], now: float) -> None:
    """Only what is wedged is ended with requests in it, and what drains for longer than it may."""
    for step in found:
        unit = d.units.get(step.replica)
        if step.do != Do.TERMINATE or unit is None:
            continue
        if step.fault:
            late = unit.stage == Stage.INITIALIZING
            assert unit.stuck_since is not None or late, f"{unit.id} is well and was ended: {step.why}"
            continue
        overdue = now - unit.stage_since > DRAIN_TIMEOUT_S
        assert unit.stage == Stage.DRAINING, f"{unit.id} was ended while {unit.stage}"
        assert not unit.in_flight or overdue, f"{unit.id} was ended with {unit.in_flight} requests"


def no_start_before_its_time(d: Deployed, found: Sequence[Step], now: float) -> None:
    """After a failed start the next one of the same settings waits as long as its back-off says."""
    for step in found:
        if step.do == Do.START:
            assert now >= d.starts.of(step.generation).holds_until(), f"{d.name}: started again too soon"


def as_many_as_wanted(d: Deployed, before: Sequence[Observed], found: Sequence[Step]) -> None:
    """After the steps of a look: no more than wanted and a surge, and no ready replica drained that is needed."""
    told = [step.replica for step in found if step.do != Do.START]
    assert len(told) == len(set(told)), f"{d.name}: two steps for one replica"
    serving = [unit for unit in d.serving() if not unit.dead]
    rolling = any(unit.generation != d.generation for unit in serving)
    most = d.desired + (SURGE if rolling else 0)
    assert len(serving) <= most, f"{d.name}: {len(serving)} replicas, {most} at most"
    assert not d.deleted or not serving, f"{d.name} is deleted and has {len(serving)} replicas"
    gone = {step.replica for step in found if step.do == Do.TERMINATE}
    ready = {r.id for r in before if r.alive and r.stage == Stage.READY} - gone
    short = any(r.short and r.generation == d.generation for r in before)
    left = ready - {step.replica for step in found if step.do == Do.DRAIN}
    room = min(d.desired, max(d.progress.places, standing(before)))
    needed = min(len(ready), max(min(1, d.desired), room - 1) if short else d.desired)
    assert len(left) >= needed, f"{d.name}: {len(left)} ready ones left, {needed} needed"


def legal(d: Deployed, former: str) -> None:
    """The state moved along an edge that there is."""
    assert d.state == former or d.state in STATES_AFTER[former], f"{d.name}: {former} -> {d.state}"


def never_idle_while_something_is_amiss(d: Deployed, now: float) -> None:
    """Not as declared, nothing under way, nothing to wait for: not for longer than it may take to converge."""
    if as_declared(d):
        d.at_rest_since = None
        return
    d.unsettled_at = now
    waits = now < d.starts.of(d.generation).holds_until() or any(not unit.placed for unit in d.units.values())
    spare = d.progress.served
    waits = waits or (spare is not None and now < d.starts.of(spare).holds_until())
    under_way = any(unit.stage != Stage.READY or not unit.well() for unit in d.units.values())
    if waits or under_way:
        d.at_rest_since = None
        return
    d.at_rest_since = now if d.at_rest_since is None else d.at_rest_since
    rests_s = now - d.at_rest_since
    assert rests_s <= CONVERGED_WITHIN_S, f"{d.name}: not as declared for {rests_s:.0f} s, and nobody does anything"


def as_declared(d: Deployed) -> bool:
    """Just the replicas that are wanted, ready and well; of the declared settings, unless those were given up."""
    ready = all(unit.stage == Stage.READY and unit.well() for unit in d.units.values())
    alike = all(unit.generation == d.generation for unit in d.units.values()) or d.progress.stopped
    return ready and alike and len(d.units) == d.desired


def charged_as_ready(bill: Bill) -> None:
    """What is charged is the time that replicas took requests, to the millisecond of each interval."""
    charged_s = bill.charged_s()
    assert abs(charged_s - bill.ready_s) <= 0.001 * (1 + bill.intervals), f"{charged_s} charged, {bill.ready_s} ready"


def converged(d: Deployed, nodes: Sequence[Node], by: float) -> None:
    """At the end of the calm a deployment is as declared, since `by` at the latest, or short of room and nothing else.

    Without room a roll-out waits as well, rather than give up what serves for what may never be placed; and after a
    failed start no more are asked for until those that wait have been placed. Settings that never start and have no
    predecessor are tried for ever.
    """
    if d.generation in d.broken and d.progress.served is None and not d.ready():
        return
    if as_declared(d):
        assert d.unsettled_at <= by, f"{d.name} comes and goes although nothing happens"
        return
    states = Counter(unit.stage for unit in d.units.values())
    short, ready = states[Stage.PENDING_SCHEDULING], states[Stage.READY]
    assert short, f"{d.name}: {states}, and {d.desired} wanted"
    old = sum(unit.generation != d.generation for unit in d.units.values())
    waits = d.desired == 1 or ready < d.desired
    assert not old or waits or d.progress.stopped, f"{d.name}: old settings still run"
    assert all(unit.well() for unit in d.units.values()), f"{d.name} has replicas that are dead or stuck"
    there = ready + states[Stage.INITIALIZING] + short
    wanted = d.desired + (0 if d.progress.stopped else min(old, SURGE))
    fewer = there < wanted and (d.starts.of(d.generation).failing or d.progress.stopped)
    assert there == len(d.units), f"{d.name}: {states} at rest"
    assert there == wanted or fewer, f"{d.name}: {states}, and {wanted} wanted"
    assert all(fit.short_now(node, d.need) for node in fit.labelled_nodes(nodes, d.need)), f"{d.name}: there is room"


def nothing_leaks(fleet: Sequence[Deployed], cloud: Cloud, now: float) -> None:
    """No place without a replica, no replica twice, no node over-full, nobody where he may not be."""
    placed = [(unit.id, d) for d in fleet for unit in d.units.values() if unit.placed]
    assert len({name for name, _ in placed}) == len(placed), "a replica stands twice"
    assert {name for name, _ in placed} == set(cloud.spots), "replicas and places do not match"
    used = Counter(spot.node for spot in cloud.spots.values())
    nodes = {node.name: node for node in cloud.nodes(now)}
    for name, count in used.items():
        assert count <= nodes[name].accelerators, f"{name} holds {count} replicas"
        assert count == sum(free == 0 for free in nodes[name].free_device_bytes)
    for name, d in placed:
        node = nodes[cloud.spots[name].node]
        assert d.need.accelerator_type in (None, node.accelerator_type)
        assert d.need.regions is None or node.region in d.need.regions
