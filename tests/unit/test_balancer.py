"""What a deployment knows of its replicas, and the choices made of it, on a clock that tests turn."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import FakeClock
from engine.control.outliers import IN_A_ROW, KNOWN_AFTER, OUT_FIRST_S, OUT_MAX_S, TIMES
from engine.control.prefix import BLOCK_CHARACTERS, links_of
from engine.control.retries import FLOOR_MIN
from engine.control.route import PREFETCH, Prompt, home
from engine.fleet.balancer import EXPECTED_MIN_S, Balancer
from engine.fleet.lobby import Lobby
from engine.fleet.prefix_cache import Cache, cache_of
from engine.fleet.report import Report
from tests.unit.places import counted

NOBODY = frozenset[str]()


class Told:
    def __init__(self) -> None:
        self.rules: list[str] = []
        self.ejections = 0

    def routed(self, rule: str) -> None:
        self.rules.append(rule)

    def ejected(self) -> None:
        self.ejections += 1


class House:
    """A balancer and a lobby over replicas that are only counted."""

    def __init__(self, count: int = 2, **report: object) -> None:
        self.clock, self.told = FakeClock(), Told()
        self.replicas = [counted(f"r{n}", 4, **report) for n in range(count)]
        self.balancer = Balancer(self.clock, self.told)
        self.lobby = Lobby(lambda: self.replicas, lambda: None, self.clock, balancer=self.balancer)

    def named(self, name: str):
        return next(r for r in self.replicas if r.id == name)

    async def ask(self, prompt: Prompt, avoid: frozenset[str] = NOBODY, timeout_s: float = 0.0) -> str:
        async with self.lobby.place(timeout_s, avoid, None, prompt) as replica:
            return replica.id

    def fail(self, name: str, times: int = IN_A_ROW) -> None:
        for _ in range(times):
            self.balancer.failed(self.named(name))


def text(characters: str) -> Prompt:
    whole = "".join(c * BLOCK_CHARACTERS for c in characters)
    return Prompt(links_of(whole, None), len(whole))


async def test_conversations_stay_where_their_prefix_is_and_new_ones_use_the_memory_of_all() -> None:
    house = House(3)
    at = {c: await house.ask(text(f"s{c}")) for c in "abc"}
    assert len(set(at.values())) == 1, "the system prompt that they share is read already there"
    house = House(3)
    at = {c: await house.ask(text(c)) for c in "abc"}
    assert sorted(at.values()) == ["r0", "r1", "r2"]
    for turn in range(1, 5):
        for c in "bac":
            prompt = text(c + "abcd"[:turn])
            assert await house.ask(prompt) == at[c]
            assert prompt.taken is not None
            assert (prompt.taken.rule, prompt.taken.cached) == ("prefix", turn * BLOCK_CHARACTERS)
            assert "had read the first" in prompt.taken.why
    assert house.told.rules == ["load"] * 3 + ["prefix"] * 12


async def test_chance_in_what_replicas_measured_of_themselves_gives_no_one_all_the_memory() -> None:
    house = House(2)
    for replica, token_ms in zip(house.replicas, (1.0, 1.2), strict=True):
        replica.report = Report({"prefill_token_ms": token_ms})
    assert {await house.ask(text(c)) for c in "abcd"} == {"r0", "r1"}


async def test_a_prefix_is_not_looked_for_at_replicas_that_are_gone() -> None:
    house = House()
    at = await house.ask(text("a"))
    house.balancer.keep({r.id for r in house.replicas} - {at})
    prompt = text("ab")
    await house.ask(prompt)
    assert prompt.taken is not None
    assert prompt.taken.cached == 0


async def test_a_session_has_its_home_whatever_it_says_and_gets_it_back() -> None:
    house = House(4)
    names = [r.id for r in house.replicas]
    for number in range(20):
        session = f"s{number}"
        assert {await house.ask(Prompt(text(c).links, 256, session)) for c in "abc"} == {home(session, names)}
    assert set(house.told.rules) == {"affinity"}
    at = home("s0", names)
    moved = await house.ask(Prompt((), 9, "s0"), frozenset({at}))
    assert moved == home("s0", set(names) - {at})
    assert await house.ask(Prompt((), 9, "s0")) == at


async def test_an_ejected_replica_gets_nothing_until_its_time_is_over() -> None:
    house = House()
    house.fail("r0")
    assert house.told.ejections == 1
    prompt = Prompt()
    assert {await house.ask(prompt) for _ in range(20)} == {"r1"}
    assert prompt.taken is not None
    assert prompt.taken.why == "the only replica that took requests; 1 replica that failed other requests got none"
    house.clock.advance(OUT_FIRST_S)
    assert await house.ask(Prompt()) == "r0"


async def test_who_waits_gets_no_place_at_one_that_is_ejected_and_one_there_when_it_is_back() -> None:
    house = House()
    house.fail("r0")
    house.named("r1").in_flight = 4 + PREFETCH
    waiting = asyncio.create_task(house.ask(Prompt(), timeout_s=3600.0))
    await asyncio.sleep(0)
    house.lobby.serve()
    assert (house.lobby.held, house.named("r0").in_flight) == (1, 0)
    house.clock.advance(OUT_FIRST_S)
    house.lobby.serve()
    assert await waiting == "r0"


async def test_one_that_is_ejected_is_better_than_one_that_has_failed_this_very_request() -> None:
    house = House()
    house.fail("r0")
    assert await house.ask(Prompt(), frozenset({"r1"})) == "r0"


async def test_one_replica_alone_is_never_ejected_nor_are_all() -> None:
    alone, both = House(1), House(2)
    alone.fail("r0")
    assert await alone.ask(Prompt()) == "r0"
    both.fail("r0")
    both.clock.advance(1)
    both.fail("r1")
    assert await both.ask(Prompt()) == "r0", "the one that is back sooner"


async def test_answers_far_slower_than_expected_eject_and_those_of_long_prompts_do_not() -> None:
    for slow in (False, True):
        house = House(prefill_token_ms=4.0)  # a millisecond a character
        for _ in range(KNOWN_AFTER + 1):
            for name, characters in (("r0", 60_000), ("r1", 100)):
                prompt = Prompt((), characters)
                await house.ask(prompt, frozenset({"r0", "r1"} - {name}))
                expected_s = max(EXPECTED_MIN_S, characters / 1000)
                took_s = expected_s * (TIMES + 1 if slow and name == "r0" else 1)
                house.balancer.answered(house.named(name), prompt, took_s)
        assert house.told.ejections == int(slow)


async def test_text_that_is_still_to_be_read_counts_against_a_replica() -> None:
    house = House()
    house.named("r0").unread = 100_000
    assert await house.ask(text("a")) == "r1"
    assert await house.ask(text("ab")) == "r1"


def test_each_replica_may_be_lost_once_without_a_request_that_is_not_tried_again() -> None:
    house = House(6)
    floor = 6 * (4 + PREFETCH)
    assert floor > FLOOR_MIN
    assert sum(house.balancer.allow_retry(house.replicas) for _ in range(2 * floor)) == floor
    for _ in range(100):
        house.balancer.asked()
    assert sum(house.balancer.allow_retry(house.replicas) for _ in range(2 * floor)) == 20


@given(
    st.lists(st.tuples(st.sampled_from(["fail", "ask", "answer", "pass"]), st.integers(0, 4)), max_size=80),
    st.integers(1, 5),
)
def test_whatever_fails_somebody_takes_requests_and_all_come_back(events, count) -> None:
    house = House(count)

    async def rehearse() -> None:
        for what, number in events:
            replica = house.replicas[number % count]
            if what == "fail":
                house.balancer.failed(replica)
            elif what == "answer":
                house.balancer.answered(replica, Prompt(), float(number))
            elif what == "pass":
                house.clock.advance(number * 5)
            else:
                assert await house.ask(text("ab"[: number % 3]))
        house.clock.advance(OUT_MAX_S)
        for replica in house.replicas:
            others = frozenset(r.id for r in house.replicas if r is not replica)
            assert await house.ask(Prompt(), others) == replica.id

    asyncio.run(rehearse())


@pytest.mark.parametrize(
    ("said", "cache"),
    [
        ({}, Cache(0.0, 0.0, None)),
        ({"prefill_token_ms": 2.0}, Cache(0.002, 0.0, None)),
        ({"kv_used_tokens": 50, "kv_capacity_tokens": 100}, Cache(0.0, 0.5, 100)),
        (
            {
                "kv_used_tokens": 90,
                "kv_capacity_tokens": 100,
                "prefix_cache": {"ram_bytes": 10, "ram_budget_bytes": 40, "ram_tokens": 5},
            },
            Cache(0.0, 0.25, 120),
        ),
        (
            {"kv_capacity_tokens": 100, "prefix_cache": {"ram_bytes": 0, "ram_budget_bytes": 40}},
            Cache(0.0, 0.0, None),
        ),
    ],
)
def test_how_much_a_replica_may_keep_is_read_from_its_report(said: dict[str, object], cache: Cache) -> None:
    assert cache_of(said) == cache
