"""The queue of one deployment: first come first served, bounded, and no place is ever lost."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.errors import NotFound, ResourceExhausted, Unavailable
from engine.clock import FakeClock
from engine.control.route import PREFETCH
from engine.fleet import lobby as lobby_room
from engine.fleet.lobby import Lobby
from tests.unit.places import counted

FOREVER_S = 3600.0
NOBODY = frozenset[str]()


class House:
    """A lobby over replicas that are only counted."""

    def __init__(self, *slots: int) -> None:
        self.replicas = [counted(f"r{i}", n) for i, n in enumerate(slots)]
        self.knocks = 0
        self.clock = FakeClock()
        self.waits: list[float] = []
        self.lobby = Lobby(lambda: self.replicas, self.knock, self.clock, self.waits.append)
        self.order: list[str] = []

    def knock(self) -> None:
        self.knocks += 1

    def room(self) -> int:
        return sum(r.slots + PREFETCH - r.in_flight for r in self.replicas)

    async def visit(self, name: str, leave: asyncio.Event, *, timeout_s: float = FOREVER_S, avoid=NOBODY) -> str:
        async with self.lobby.place(timeout_s, avoid) as replica:
            self.order.append(name)
            await leave.wait()
            return replica.id

    def send(self, name: str, leave: asyncio.Event, **known) -> asyncio.Task[str]:
        return asyncio.create_task(self.visit(name, leave, **known), name=name)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def end(*tasks: asyncio.Task) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_free_place_is_given_at_once_and_nobody_is_knocked_up():
    house = House(1)
    async with house.lobby.place(0.0) as replica:
        assert (replica.id, replica.in_flight) == ("r0", 1)
    assert (house.replicas[0].in_flight, house.knocks, house.lobby.held) == (0, 0, 0)


async def test_who_must_wait_knocks_and_is_counted_with_its_age():
    house = House()
    task = house.send("a", asyncio.Event())
    await settle()
    house.clock.advance(7)
    assert (house.knocks, house.lobby.held, house.lobby.oldest_s()) == (1, 1, 7)
    await end(task)
    assert (house.lobby.held, house.lobby.oldest_s()) == (0, 0.0)


async def test_how_long_each_one_waited_is_told_when_it_has_a_place_or_gives_up():
    house, leave = House(1), asyncio.Event()
    for number in range(house.room() + 2):
        house.send(f"v{number}", leave)
    leaver = house.send("leaver", leave)
    await settle()
    assert house.waits == [0.0] * len(house.order)
    house.clock.advance(2.0)
    leaver.cancel()
    await settle()
    assert house.waits[len(house.order) :] == [2.0]
    house.clock.advance(1.0)
    leave.set()
    await settle()
    assert sorted(house.waits)[-3:] == [2.0, 3.0, 3.0]


async def test_places_are_given_in_the_order_of_arrival():
    house, leave = House(), asyncio.Event()
    tasks = [house.send(str(i), leave) for i in range(6)]
    await settle()
    house.replicas.append(counted("late", 2))
    house.lobby.serve()
    await settle()
    assert house.order == ["0", "1", "2"]
    leave.set()
    await asyncio.gather(*tasks)
    assert house.order == [str(i) for i in range(6)]


async def test_a_newcomer_does_not_overtake_those_who_wait():
    house, leave = House(), asyncio.Event()
    first = house.send("first", leave)
    await settle()
    house.replicas.append(counted("late", in_flight=PREFETCH))  # one place, and nobody told the lobby
    second = house.send("second", leave)
    await settle()
    assert (house.order, house.lobby.held) == (["first"], 1)
    leave.set()
    await asyncio.gather(first, second)


async def test_beyond_its_bound_the_queue_answers_429_at_once_and_says_when_to_come_back(monkeypatch):
    monkeypatch.setattr(lobby_room, "QUEUE_MAX", 2)
    house = House(1)
    tasks = [house.send(str(i), asyncio.Event()) for i in range(2 + 1 + PREFETCH)]
    await settle()
    with pytest.raises(ResourceExhausted) as refused:
        async with house.lobby.place(FOREVER_S):
            pytest.fail("there is no place")
    assert refused.value.retry_after_s
    assert house.lobby.held == 2
    await end(*tasks)


async def test_a_full_queue_before_a_replica_that_is_not_there_yet_answers_503(monkeypatch):
    monkeypatch.setattr(lobby_room, "QUEUE_MAX", 2)
    house = House()
    tasks = [house.send(str(i), asyncio.Event()) for i in range(2)]
    await settle()
    with pytest.raises(Unavailable, match="no replica is ready yet, and 2 requests wait") as refused:
        async with house.lobby.place(FOREVER_S):
            pytest.fail("there is no place")
    assert (refused.value.status, bool(refused.value.retry_after_s)) == (503, True)
    await end(*tasks)


async def test_who_gets_no_place_in_time_is_told_to_retry_and_leaves_the_queue():
    house = House()
    with pytest.raises(Unavailable) as late:
        async with house.lobby.place(0.001):
            pytest.fail("there is no place")
    assert late.value.retry_after_s
    assert house.lobby.held == 0


async def test_a_replica_that_failed_this_request_is_avoided_while_there_is_another():
    house = House(4, 4)
    async with house.lobby.place(0.0, frozenset({"r0"})) as replica:
        assert replica.id == "r1"
    async with house.lobby.place(0.0, frozenset({"r0", "r1"})) as replica:
        assert replica.id in {"r0", "r1"}


async def test_refusing_turns_away_all_who_wait_and_all_who_come_until_it_opens_again():
    house, leave = House(), asyncio.Event()
    waiting = [house.send(str(i), leave) for i in range(3)]
    await settle()
    house.lobby.refuse(NotFound("deleted"))
    assert [type(e) for e in await asyncio.gather(*waiting, return_exceptions=True)] == [NotFound] * 3
    with pytest.raises(NotFound):
        await house.visit("late", leave)
    house.lobby.reopen()
    house.replicas.append(counted("r"))
    leave.set()
    assert await house.visit("again", leave) == "r"


async def test_refusing_does_not_touch_who_has_a_place():
    house, leave = House(1), asyncio.Event()
    task = house.send("in", leave)
    await settle()
    house.lobby.refuse(NotFound("deleted"))
    leave.set()
    assert await task == "r0"
    assert house.replicas[0].in_flight == 0


async def test_a_place_given_just_as_its_waiter_gives_up_goes_to_the_next():
    house, leave = House(), asyncio.Event()
    leaving, next_one = house.send("leaving", leave), house.send("next", leave)
    await settle()
    house.replicas.append(counted("r", in_flight=PREFETCH))
    house.lobby.serve()  # the place is granted ...
    assert (house.lobby.held, house.replicas[0].in_flight) == (1, 2)
    leaving.cancel()  # ... and not taken
    await settle()
    assert house.order == ["next"]
    leave.set()
    await next_one
    assert house.replicas[0].in_flight == PREFETCH


async def test_one_who_left_the_queue_does_not_take_a_place_from_who_stays():
    house, leave = House(), asyncio.Event()
    gone, stays = house.send("gone", leave), house.send("stays", leave)
    await settle()
    gone.cancel()
    house.replicas.append(counted("r", in_flight=PREFETCH))
    house.lobby.serve()  # before the cancelled one has run
    await settle()
    assert house.order == ["stays"]
    leave.set()
    await stays
    assert house.replicas[0].in_flight == PREFETCH


async def test_an_error_inside_gives_the_place_back():
    house = House(1)
    with pytest.raises(RuntimeError):
        async with house.lobby.place(0.0):
            raise RuntimeError
    assert house.replicas[0].in_flight == 0


async def test_a_knock_that_fails_leaves_nobody_in_the_queue():
    house = House()

    def broken() -> None:
        raise OSError

    house.lobby = Lobby(lambda: house.replicas, broken, house.clock)
    with pytest.raises(OSError):  # noqa: PT011
        async with house.lobby.place(FOREVER_S):
            pytest.fail("there is no place")
    assert house.lobby.held == 0


ACTIONS = st.lists(
    st.tuples(st.just("come"), st.booleans(), st.sets(st.sampled_from(["r0", "r1"])))
    | st.tuples(st.sampled_from(["leave", "cancel", "cancel at once"]), st.integers(0, 30))
    | st.tuples(st.sampled_from(["grow", "refuse", "settle", "serve"])),
    max_size=40,
)


@settings(deadline=None)
@given(st.lists(st.integers(1, 2), max_size=2), ACTIONS)
def test_whatever_comes_leaves_and_breaks_no_place_leaks_and_no_room_stays_empty_while_someone_waits(slots, actions):
    asyncio.run(rehearse(slots, actions))


async def rehearse(slots, actions) -> None:
    house = House(*slots)
    guests: list[tuple[asyncio.Task[str], asyncio.Event]] = []
    for action, *rest in actions:
        if action == "come":
            leave = asyncio.Event()
            timeout_s = 0.0 if rest[0] else FOREVER_S
            task = house.send(str(len(guests)), leave, timeout_s=timeout_s, avoid=frozenset(rest[1]))
            guests.append((task, leave))
        elif action in {"leave", "cancel", "cancel at once"} and guests:
            task, leave = guests[rest[0] % len(guests)]
            task.cancel() if action.startswith("cancel") else leave.set()
        elif action == "grow" and len(house.replicas) < 3:
            house.replicas.append(counted(f"r{len(house.replicas)}"))
            house.lobby.serve()
        elif action == "refuse":
            house.lobby.refuse(NotFound("deleted"))
            house.lobby.reopen()
        elif action == "serve":
            house.lobby.serve()
        if action not in {"come", "cancel at once"}:
            await settle()
            assert house.lobby.held == 0 or house.room() <= 0
        assert all(0 <= r.in_flight <= r.slots + PREFETCH for r in house.replicas)
    for _, leave in guests:
        leave.set()
    await settle()
    for task, _ in guests:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Unavailable, NotFound):
            await task
    assert [r.in_flight for r in house.replicas] == [0] * len(house.replicas)
    assert house.lobby.held == 0
