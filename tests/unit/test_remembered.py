"""What the next engine goes on with after a kill: idle time, failures in a row, refused requests. On virtual clocks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

import pytest

from client.errors import FailedPrecondition, Unavailable
from engine.control.backoff import FAILURES_UNTIL_FAILED
from engine.control.quarantine import KEPT_S, digest_of
from engine.control.reconcile import Stage
from engine.fleet.chronicle import TOUCH_INTERVAL_S
from engine.fleet.keeper import Keeper
from engine.fleet.rooms import Rooms
from engine.fleet.sweep import EVERY_S as SWEEP_EVERY_S
from engine.fleet.takeover import restore
from tests.unit.keeper_house import NAME, POLICY, House, JumpingClock, house, started

__all__ = ["house", "started"]

ZERO_S = POLICY.scale_to_zero_window.total_seconds()
HOUR = timedelta(hours=1)
JUMPS = [timedelta(0), HOUR, 3000 * HOUR, -3000 * HOUR]
POISON = b'{"prompt": "a secret that ends replicas"}'


@dataclass
class Chain:
    """The engines on one folder, each killed before the next one starts."""

    now: House

    async def next_engine(self, down_s: float = 1.0, jump: timedelta = timedelta(0), boot: str | None = None) -> House:
        """The wall clock is set by `jump` while no engine runs; with a `boot` the machine starts anew."""
        former, clock = self.now, JumpingClock()
        clock.offset = former.clock.offset + jump
        if boot is None:
            clock.advance(former.clock.monotonic() + down_s)
        else:
            clock.offset += timedelta(seconds=former.clock.monotonic() + down_s)
        rooms = Rooms(former.driver, former.store, former.keeper._rooms.library, clock)
        rooms.lived._boot = boot or rooms.lived._boot
        await rooms.lived.open()
        await rooms.lived.beat()
        [stored] = await former.store.deployments()
        keeper = Keeper(stored.deployment, rooms, lambda: 1)
        restore(keeper, stored, rooms.lived)
        self.now = House(keeper, clock, former.driver, former.store)
        return self.now

    async def rest(self, seconds: float, step_s: float = 10.0) -> None:
        """Looks at a deployment that nobody asks, and a beat a minute as the fleet has it."""
        clock, lived = self.now.clock, self.now.keeper._rooms.lived
        until, beat_at = clock.monotonic() + seconds, 0.0
        while clock.monotonic() < until:
            await self.now.look(step_s)
            if clock.monotonic() >= beat_at:
                beat_at = clock.monotonic() + SWEEP_EVERY_S
                await lived.beat()


@pytest.fixture
async def chain(house: House, started: list) -> Chain:
    await house.keeper._rooms.lived.beat()
    await house.change(min_replica_count=0)
    house.add("r", house.generation())
    await house.look()
    return Chain(house)


async def crash_under(house: House, name: str, digest: str) -> None:
    """A replica crashes under this request, and is buried."""
    replica = house.add(name, house.generation())
    house.driver.dead.add(name)
    await house.keeper.suspects.autopsy(replica, digest)
    await house.look()


@pytest.mark.parametrize("boot", [None, "another"])
@pytest.mark.parametrize("jump", JUMPS)
async def test_a_refused_request_stays_refused_until_its_time_has_really_gone_by(chain, jump, boot):
    digest = digest_of(POISON)
    for name in ("r1", "r2"):
        await crash_under(chain.now, name, digest)
    await chain.rest(100)
    known = chain.now.keeper.suspects.quarantined()
    later = await chain.next_engine(jump=jump, boot=boot)
    with pytest.raises(FailedPrecondition, match=r"ended 2 replicas \(r1, r2\)"):
        later.keeper.suspects.refuse_quarantined(digest)
    assert [(one.digest, one.replicas) for one in later.keeper.suspects.quarantined()] == [(digest, known[0].replicas)]
    [stored] = await later.store.deployments()
    assert b"secret" not in stored.faults.encode()
    await chain.rest(KEPT_S - 110)
    assert later.keeper.suspects.quarantined()
    await chain.rest(110)
    later.keeper.suspects.refuse_quarantined(digest)
    [stored] = await later.store.deployments()
    assert json.loads(stored.faults)["marks"] == [], "what has expired is not kept"


async def test_a_suspect_is_found_out_by_its_second_crash_though_the_engine_was_killed_between(chain):
    await crash_under(chain.now, "r1", digest_of(POISON))
    later = await chain.next_engine()
    later.keeper.suspects.refuse_quarantined(digest_of(POISON))
    await crash_under(later, "r2", digest_of(POISON))
    with pytest.raises(FailedPrecondition):
        later.keeper.suspects.refuse_quarantined(digest_of(POISON))


@pytest.mark.parametrize("jump", JUMPS)
async def test_failures_in_a_row_and_the_count_of_deaths_go_on_and_no_wait_ends_early(chain, jump):
    for n in range(FAILURES_UNTIL_FAILED):
        house = chain.now
        generation = house.generation()
        house.add(f"young{n}", generation)
        house.driver.dead |= {"r", f"young{n}"}
        await house.look()
        before = house.keeper.replicas.backoff(generation)
        later = await chain.next_engine(jump=jump)
        after = later.keeper.replicas.backoff(generation)
        assert (after.failures, after.reason) == (before.failures, before.reason) == (n + 2, before.reason)
        assert after.holds_until() == pytest.approx(before.holds_until())
        assert later.keeper.replicas.obituaries.restarts == n + 2
    await later.look()
    assert later.keeper.deployment.state == "FAILED"


async def test_failures_that_somebody_has_forgiven_are_not_brought_back(chain):
    chain.now.driver.dead.add("r")
    await chain.now.look()
    assert chain.now.keeper.replicas.starts.all()
    chain.now.keeper.retry_now()
    await chain.now.look()
    later = await chain.next_engine()
    assert later.keeper.replicas.starts.all() == {}


async def to_zero_after_s(chain: Chain) -> float:
    """Looks with a ready replica until none is wanted any more."""
    began = chain.now.clock.monotonic()
    while chain.now.keeper.deployment.desired_replica_count:
        await chain.now.look(5)
    return chain.now.clock.monotonic() - began


async def taken_over(chain: Chain, **how) -> None:
    """The next engine, with the replica of the one before: it is asked for a token first."""
    house = await chain.next_engine(**how)
    replica = house.add("r", house.generation(), Stage.INITIALIZING)
    await chain.rest(10)
    replica.enter(Stage.READY)


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("boot", [None, "another"])
async def test_idle_time_goes_on_over_kills_and_counts_only_while_an_engine_was_there_to_see_it(chain, jump, boot):
    seen_s = 0.0
    for _ in range(2):
        await chain.rest(1200)
        seen_s += 1200
        await taken_over(chain, down_s=5000, jump=jump, boot=boot)
        boot = boot and boot + "s"
    left_s = await to_zero_after_s(chain)
    least_s = ZERO_S - seen_s - 2 * 10  # each of them was asked for a token for 10 s
    assert least_s <= left_s <= ZERO_S - seen_s + 2 * (TOUCH_INTERVAL_S + SWEEP_EVERY_S)


async def test_the_first_request_after_a_while_is_never_forgotten(chain):
    await chain.rest(ZERO_S - 30)
    chain.now.keeper.meter.began(synthetic=False)
    await chain.now.look()
    await chain.rest(3, step_s=0.5)
    await taken_over(chain)
    assert await to_zero_after_s(chain) >= ZERO_S - 15


async def test_requests_that_follow_each_other_cost_a_write_now_and_then_and_idle_time_begins_with_the_last(chain):
    written = []
    touch = chain.now.store.touch_deployment

    async def counted(*row: object) -> None:
        written.append(row)
        await touch(*row)

    chain.now.store.touch_deployment = counted
    for _ in range(120):
        chain.now.keeper.meter.began(synthetic=False)
        await chain.rest(0.5, step_s=0.5)
    assert len(written) <= 60 / TOUCH_INTERVAL_S + 1
    await taken_over(chain)
    assert await to_zero_after_s(chain) >= ZERO_S - 15


async def test_idle_time_stands_still_while_a_replica_is_on_its_way(chain):
    await chain.rest(1000)
    loading = chain.now.keeper.replicas.replicas["r"]
    loading.enter(Stage.INITIALIZING)
    await chain.rest(500)
    loading.enter(Stage.READY)
    left_s = await to_zero_after_s(chain)
    assert ZERO_S - 1010 <= left_s <= ZERO_S - 990


async def test_scaling_by_hand_begins_a_whole_window(chain):
    await chain.rest(ZERO_S - 100)
    chain.now.keeper.scale_to(1)
    assert await to_zero_after_s(chain) >= ZERO_S


@pytest.mark.parametrize("doc", ["", "[]", "{}", '{"restarts": 1, "starts": {"g": {"odd": 1}}, "marks": []}'])
async def test_what_another_firedeck_wrote_is_forgotten(chain, doc, caplog):
    await chain.now.store.put_faults(NAME, doc)
    later = await chain.next_engine()
    assert (later.keeper.replicas.obituaries.restarts, later.keeper.replicas.starts.all()) == (0, {})
    assert "cannot be read any more" in caplog.text


async def test_what_a_full_disk_did_not_take_is_written_once_it_does(chain, monkeypatch):
    async def refuse(*_args: object) -> None:
        tries.append(None)
        raise Unavailable("the disk is full")

    tries: list[None] = []
    with monkeypatch.context() as failing:
        failing.setattr(chain.now.store, "put_faults", refuse)
        chain.now.driver.dead.add("r")
        await chain.rest(30, step_s=0.5)
        assert chain.now.keeper.faults.unwritten == "the disk is full"
        assert len(tries) <= 4
    await chain.rest(15)
    assert chain.now.keeper.faults.unwritten == ""
    later = await chain.next_engine()
    assert later.keeper.replicas.obituaries.restarts == 1
