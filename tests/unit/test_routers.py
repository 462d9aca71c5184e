"""Routers over a real store, on a clock of the test's own: what may be declared, how requests go, how a shift ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client.errors import AlreadyExists, FailedPrecondition, FiredeckError, InvalidArgument, NotFound, Unavailable
from client.router_types import Router, RouterShiftSpec
from engine import router_rules
from engine.clock import FakeClock
from engine.control.complexity import Facts
from engine.fleet import routers as module
from engine.fleet.live_router import ShiftTally
from engine.fleet.routers import Routers
from engine.store.store import Store
from engine.telemetry import router_metrics
from engine.telemetry.metrics import REGISTRY

A, B, C = (f"accounts/local/deployments/{one}" for one in "abc")
THEIRS = "accounts/elsewhere/deployments/d"
NAME = "accounts/local/routers/r"
HALVES = {"weighted": {"targets": [{"deployment": "a", "weight": 1}, {"deployment": "b", "weight": 1}]}}
ONLY_A = {"weighted": {"targets": [{"deployment": "a", "weight": 1}]}}
SIMPLE = {"complexity": {"small": "a", "large": "b", "maxPromptChars": 10}}
QUICK = RouterShiftSpec(
    to="b", over=timedelta(seconds=40), step_percent=25, min_requests=5, max_ttft_p95=timedelta(seconds=1)
)


class Keeper:
    """As much of a deployment as routers see."""

    def __init__(self, name: str, events: list[tuple[str, str, str]]) -> None:
        self.name, self.deleted, self._events = name, False, events

    async def announce(self, kind: str, reason: str, message: str, replica: str | None = None) -> None:
        self._events.append((kind, reason, message))


class House:
    """Routers on a folder; `reopened` is what the next engine on it would have."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock, self.events = path, FakeClock(), list[tuple[str, str, str]]()
        self.keepers = {name: Keeper(name, self.events) for name in (A, B, C, THEIRS)}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Routers]:
        self.store = await Store.open(self.path)
        rooms: Any = SimpleNamespace(clock=self.clock, store=self.store, driver=SimpleNamespace(simulated=False))
        routers = Routers(rooms, self._keeper)
        await routers.load()
        try:
            yield routers
        finally:
            await routers.close()
            await self.store.close()

    def _keeper(self, name: str) -> Any:
        if name not in self.keepers:
            raise NotFound(f"{name} is not there")
        return self.keepers[name]

    async def goes_by(self, until: Callable[[], object]) -> None:
        """Time, half a second at a time, until something has happened; whoever looks has a turn after each."""
        async with asyncio.timeout(60):
            while not until():
                self.clock.advance(0.5)
                await asyncio.sleep(0.002)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "db")


@pytest.fixture
async def routers(house: House) -> AsyncIterator[Routers]:
    async with house.open() as opened:
        yield opened


async def made(routers: Routers, body: dict[str, Any], router_id: str = "r") -> Router:
    return await routers.create("local", router_rules.read(body), router_id, by="ada")


def chosen(routers: Routers, count: int = 200, session: str | None = None) -> dict[str, int]:
    live = routers.find(NAME, "local")
    assert live is not None
    found = [live.choose(session, f"id {n}", Facts).deployment for n in range(count)]
    return {one: found.count(one) for one in (A, B, C) if one in found}


def tally(routers: Routers, deployment: str = B) -> ShiftTally:
    live = routers.find(NAME, "local")
    assert live is not None
    told = live.tally_of(deployment)
    assert told is not None
    return told


def shift(routers: Routers):
    found = routers.get(NAME).shift
    assert found is not None
    return found


async def test_a_router_has_its_names_in_full_and_every_default(routers: Routers) -> None:
    weighted = await made(routers, HALVES)
    assert (weighted.name, weighted.display_name, weighted.created_by) == (NAME, "r", "ada")
    assert weighted.targets == [A, B]
    assert weighted.weighted is not None
    assert weighted.weighted.sticky is True
    rule = (await made(routers, SIMPLE, "s")).complexity
    assert rule is not None
    assert (rule.small, rule.large, rule.allow_tools, rule.allow_response_format) == (A, B, False, False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "weighted"), (HALVES | SIMPLE, "weighted"), ({"weighted": {}}, "weighted.targets"),
        ({"weighted": {"targets": []}}, "weighted.targets"),
        ({"weighted": {"targets": [{"deployment": "a", "weight": 0}]}}, "weighted.targets"),
        ({"weighted": {"targets": [{"deployment": one, "weight": 1} for one in ("a", A)]}}, "weighted.targets"),
        ({"weighted": {"targets": [{"deployment": "a", "weight": -1}]}}, "weighted.targets.0.weight"),
        ({"weighted": {"targets": [{"deployment": "a", "weight": float("nan")}]}}, "weighted.targets.0.weight"),
        ({"weighted": {"targets": [{"deployment": "a", "weight": "1"}]}}, "weighted.targets.0.weight"),
        ({"weighted": {"targets": [{"deployment": "A!", "weight": 1}]}}, "weighted.targets.0.deployment"),
        ({"weighted": {"targets": [{"deployment": "a", "weight": 1}], "more": 1}}, "weighted.more"),
        ({"complexity": {"small": "a"}}, "complexity.large"),
        ({"complexity": {"small": "a", "large": A}}, "complexity.large"),
        ({"complexity": {"small": "a", "large": "b", "maxTurns": -1}}, "complexity.maxTurns"),
        ({"nonsense": 1}, "nonsense"),
    ],
)  # fmt: skip
async def test_what_makes_no_router_is_refused_by_the_name_of_the_field(routers: Routers, body, field) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await made(routers, body)
    assert refused.value.field == field
    assert routers.all("local") == []


@pytest.mark.parametrize("other", ["nope", THEIRS, "elsewhere/d"])
async def test_a_target_of_another_account_is_as_little_there_as_a_missing_one(routers: Routers, other) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        await made(routers, {"weighted": {"targets": [{"deployment": other, "weight": 1}]}})
    await made(routers, ONLY_A)
    with pytest.raises(NotFound, match="does not exist"):
        await routers.shift(NAME, RouterShiftSpec(to=other), by="ada")


async def test_an_id_is_taken_once_and_an_account_has_so_many(routers: Routers, monkeypatch) -> None:
    await made(routers, ONLY_A)
    with pytest.raises(AlreadyExists):
        await made(routers, ONLY_A)
    monkeypatch.setattr(module, "ROUTERS_MAX", 1)
    with pytest.raises(FailedPrecondition, match="has 1 routers"):
        await made(routers, ONLY_A, "s")


async def test_to_another_account_a_router_is_not_there(routers: Routers) -> None:
    await made(routers, ONLY_A)
    assert routers.find(NAME, "elsewhere") is None
    assert routers.all("elsewhere") == []


async def test_an_update_changes_what_it_names_and_nothing_else(routers: Routers) -> None:
    await made(routers, HALVES | {"description": "d"})
    read = router_rules.read
    changed = await routers.update(NAME, read({"weighted": {"sticky": False}}), None)
    assert changed.weighted is not None
    assert (changed.weighted.sticky, len(changed.weighted.targets or ()), changed.description) == (False, 2, "d")
    changed = await routers.update(NAME, read(ONLY_A | {"description": "e"}), frozenset({"weighted.targets"}))
    assert (changed.targets, changed.description) == ([A], "d")
    with pytest.raises(InvalidArgument, match="kind cannot be changed"):
        await routers.update(NAME, read(SIMPLE), None)
    for path in ("name", "nonsense", "shift.state", "createdBy"):
        with pytest.raises(InvalidArgument, match="update mask"):
            await routers.update(NAME, read({}), frozenset({path}))
    planned = await routers.update(NAME, read({"description": "f"}), None, validate_only=True)
    assert (planned.description, routers.get(NAME).description) == ("f", "d")


async def test_a_session_stays_and_shares_are_measured_since_the_last_change(routers: Routers) -> None:
    await made(routers, HALVES)
    assert len(chosen(routers, 50, session="s")) == 1
    found = chosen(routers, 1_000)
    assert set(found) == {A, B}
    shares = {one.deployment: one for one in routers.get(NAME).shares or ()}
    assert sum(one.requests for one in shares.values()) == 1_050
    assert abs((shares[A].measured or 0) - 0.5) < 0.06
    assert shares[A].wanted == 0.5
    await routers.update(NAME, router_rules.read({"description": "nothing goes otherwise for it"}), None)
    assert sum(one.requests for one in routers.get(NAME).shares or ()) == 1_050
    changed = {"targets": [{"deployment": "a", "weight": 3}, {"deployment": "b", "weight": 4}], "sticky": False}
    await routers.update(NAME, router_rules.read({"weighted": changed}), None)
    assert [one.measured for one in routers.get(NAME).shares or ()] == [None, None]
    assert set(chosen(routers, 50, session="s")) == {A, B}, "nothing sticks any more"


async def test_a_rule_sends_the_simple_ones_to_the_small_one_and_says_why(routers: Routers) -> None:
    await made(routers, SIMPLE)
    live = routers.find(NAME, "local")
    assert live is not None
    small, large = (live.choose("s", "id", lambda n=n: Facts(prompt_chars=n)) for n in (10, 11))
    assert (small.deployment, large.deployment) == (A, B)
    assert small.why == (
        "by complexity: simple, as 10 of at most 10 characters of prompt, no tools, no response_format"
    )
    assert large.why == "by complexity: not simple, as 11 characters of prompt are more than 10"
    assert [(one.wanted, one.measured) for one in routers.get(NAME).shares or ()] == [(None, 0.5), (None, 0.5)]


@pytest.mark.parametrize("body", [HALVES, SIMPLE])
async def test_a_target_that_is_gone_is_passed_over_until_none_is_left(house: House, routers: Routers, body) -> None:
    await made(routers, body)
    house.keepers[A].deleted = True
    assert set(chosen(routers)) == {B}
    assert [one.gone for one in routers.get(NAME).shares or ()] == [True, False]
    del house.keepers[B]
    with pytest.raises(NotFound, match="no deployment left") as none:
        chosen(routers)
    assert "firedeck router update r" in (none.value.hint or "")
    house.keepers[A].deleted = False
    assert set(chosen(routers)) == {A}


async def test_a_changed_router_may_keep_a_target_that_is_gone_but_get_no_new_one_that_is(house, routers) -> None:
    await made(routers, HALVES)
    house.keepers[B].deleted = house.keepers[C].deleted = True
    await routers.update(NAME, router_rules.read({"description": "x"} | HALVES), None)
    more = {"targets": [*HALVES["weighted"]["targets"], {"deployment": "c", "weight": 1}]}
    with pytest.raises(NotFound):
        await routers.update(NAME, router_rules.read({"weighted": more}), None)


async def test_who_routes_to_a_deployment_is_known_to_those_who_would_delete_it(routers: Routers) -> None:
    await made(routers, ONLY_A)
    await made(routers, SIMPLE, "s")
    assert routers.users_of(A) == [NAME, "accounts/local/routers/s"]
    assert routers.users_of(C) == []
    await routers.shift(NAME, RouterShiftSpec(to="c"), by="ada")
    assert routers.users_of(C) == [NAME]


async def test_what_was_declared_is_there_after_the_engine_and_what_was_deleted_is_not(house: House) -> None:
    async with house.open() as routers:
        first = await made(routers, HALVES)
        await made(routers, SIMPLE, "s")
        await routers.delete("accounts/local/routers/s")
        with pytest.raises(NotFound):
            await routers.delete("accounts/local/routers/s")
    async with house.open() as routers:
        [found] = routers.all("local")
        assert found.model_copy(update={"shares": None, "measured_since": None}) == first


async def test_a_shift_goes_through_all_its_steps_and_ends_with_everything(house: House, routers: Routers) -> None:
    await made(routers, ONLY_A)
    begun = await routers.shift(NAME, QUICK, by="ada")
    assert begun.shift is not None
    assert (begun.shift.state, begun.shift.share, begun.shift.step_number, begun.shift.steps) == (
        "SHIFTING",
        0.25,
        1,
        4,
    )

    def enough() -> bool:
        if shift(routers).state == "SHIFTING" and tally(routers).requests < 6:
            tally(routers).ended(200, 0.2)
        return shift(routers).state != "SHIFTING"

    await house.goes_by(enough)
    await house.goes_by(lambda: len(house.events) == 5)  # each is told once it is written
    done = shift(routers)
    assert (done.state, done.share, routers.get(NAME).targets) == ("COMPLETED", 1.0, [B])
    assert [(e.reason, e.share) for e in done.events] == [
        ("RouterShiftBegan", 0.25), ("RouterShifted", 0.5), ("RouterShifted", 0.75), ("RouterShifted", 1.0),
        ("RouterShiftCompleted", 1.0),
    ]  # fmt: skip
    assert "6 requests, 0 % failed, TTFT p95 200 ms" in done.events[1].message
    assert [reason for _, reason, _ in house.events] == [e.reason for e in done.events]
    assert set(chosen(routers)) == {B}
    assert routers.users_of(A) == []


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ([(503, None)] * 5, "100 % of 5 requests failed, more than 5 %"),
        ([(429, None), *[(200, 0.1)] * 4], "20 % of 5 requests failed, more than 5 %"),
        ([(200, 2.0)] * 5, "TTFT p95 of 5 requests is 2000 ms, more than 1000 ms"),
    ],
)
async def test_a_shift_goes_back_by_itself_when_its_target_does_badly(house, routers, outcomes, why) -> None:
    await made(routers, ONLY_A)
    await routers.shift(NAME, QUICK, by="ada")
    for status, ttft_s in outcomes:
        tally(routers).ended(status, ttft_s)
    await house.goes_by(lambda: shift(routers).state != "SHIFTING" and len(house.events) == 2)
    back = shift(routers)
    assert (back.state, back.share, back.reason, back.end_time is not None) == ("ROLLED_BACK", 0.0, why, True)
    assert [(e.reason, e.share, e.message) for e in back.events[1:]] == [("RouterRolledBack", 0.0, why)]
    assert house.events[-1] == ("Warning", "RouterRolledBack", f"router r: {why}")
    assert set(chosen(routers)) == {A}
    assert back.figures is not None
    assert back.figures.requests == 5


async def test_what_says_nothing_of_a_deployment_does_not_count(routers: Routers) -> None:
    await made(routers, ONLY_A)
    await routers.shift(NAME, QUICK, by="ada")
    for status in (400, 404, 413, 499):
        tally(routers).ended(status, None)
    assert tally(routers).requests == 0
    live = routers.find(NAME, "local")
    assert live is not None
    assert live.tally_of(A) is None, "only the one that is shifted to is judged"


async def test_a_shift_goes_on_in_the_next_engine_where_it_stood_and_judges_anew(house: House) -> None:
    async with house.open() as routers:
        await made(routers, ONLY_A)
        await routers.shift(NAME, QUICK, by="ada")
        for _ in range(6):
            tally(routers).ended(200, 0.1)
        await house.goes_by(lambda: shift(routers).step_number == 2)
        for _ in range(4):
            tally(routers).ended(503, None)
        share = shift(routers).share
    async with house.open() as routers:
        found = shift(routers)
        assert (found.state, found.step_number, found.share) == ("SHIFTING", 2, share)
        assert [e.reason for e in found.events] == ["RouterShiftBegan", "RouterShifted"]
        await house.goes_by(lambda: "waits for 5 requests" in shift(routers).reason)
        for _ in range(6):
            tally(routers).ended(200, 0.1)
        await house.goes_by(lambda: shift(routers).step_number == 3)


async def test_a_roll_back_holds_on_a_full_disk_and_is_written_once_there_is_room(house, monkeypatch) -> None:
    async with house.open() as routers:
        await made(routers, ONLY_A)
        await routers.shift(NAME, QUICK, by="ada")
        written, tries = house.store.transact, 0

        async def full(statements: Any) -> None:
            nonlocal tries
            tries += 1
            raise Unavailable("no space left on device")

        monkeypatch.setattr(house.store, "transact", full)
        for _ in range(5):
            tally(routers).ended(500, None)
        await house.goes_by(lambda: shift(routers).state == "ROLLED_BACK")
        assert set(chosen(routers)) == {A}
        await house.goes_by(lambda: tries > 3)
        monkeypatch.setattr(house.store, "transact", written)
        live = routers.find(NAME, "local")
        assert live is not None
        await house.goes_by(lambda: not live.unwritten)
    async with house.open() as routers:
        assert shift(routers).state == "ROLLED_BACK"


async def test_a_shift_is_taken_back_by_hand_and_is_in_nobodys_way_after(house: House, routers: Routers) -> None:
    await made(routers, HALVES)
    with pytest.raises(FailedPrecondition, match="is not shifting"):
        await routers.shift(NAME, RouterShiftSpec(abort=True), by="ada")
    await routers.shift(NAME, QUICK, by="ada")
    for refused in (routers.shift(NAME, QUICK, by="ada"), routers.update(NAME, router_rules.read(ONLY_A), None)):
        with pytest.raises(FailedPrecondition, match="is shifting"):
            await refused
    await routers.update(NAME, router_rules.read({"description": "another field may change"}), None)
    planned = await routers.shift(NAME, RouterShiftSpec(abort=True), by="ada", validate_only=True)
    assert planned.shift is not None
    assert planned.shift.state == "ABORTED" != shift(routers).state
    back = await routers.shift(NAME, RouterShiftSpec(abort=True), by="ada")
    assert back.shift is not None
    assert (back.shift.state, back.shift.share, back.shift.reason) == ("ABORTED", 0.5, "by ada")
    assert house.events[-1][1] == "RouterShiftAborted"
    await routers.update(NAME, router_rules.read(ONLY_A), None)
    assert (await routers.shift(NAME, QUICK, by="ada")).shift.state == "SHIFTING"  # type: ignore[union-attr]


async def test_a_shift_whose_target_is_deleted_goes_back(house: House, routers: Routers) -> None:
    await made(routers, ONLY_A)
    await routers.shift(NAME, QUICK, by="ada")
    house.keepers[B].deleted = True
    await house.goes_by(lambda: shift(routers).state == "ROLLED_BACK")
    assert shift(routers).reason == f"{B} is gone"


async def test_a_deleted_router_shifts_no_more(house: House, routers: Routers) -> None:
    await made(routers, ONLY_A)
    await routers.shift(NAME, QUICK, by="ada")
    await routers.delete(NAME, validate_only=True)
    assert routers.get(NAME)
    await routers.delete(NAME)
    assert routers.find(NAME, "local") is None
    assert not routers._moving


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (RouterShiftSpec(), "to"),
        (RouterShiftSpec(to="A!"), "to"),
        (RouterShiftSpec(to="a"), "to"),
        (RouterShiftSpec(to="b", over=timedelta(0)), "over"),
        (RouterShiftSpec(to="b", over=timedelta(days=31)), "over"),
        (RouterShiftSpec(to="b", max_ttft_p95=timedelta(0)), "maxTtftP95"),
        (RouterShiftSpec(to="b", abort=True), "to"),
    ],
)
async def test_a_shift_that_makes_no_sense_is_refused(routers: Routers, spec, field) -> None:
    await made(routers, ONLY_A)
    with pytest.raises(FiredeckError) as refused:
        await routers.shift(NAME, spec, by="ada")
    assert refused.value.field == field
    assert routers.get(NAME).shift is None


async def test_a_rule_of_complexity_does_not_shift(routers: Routers) -> None:
    await made(routers, SIMPLE)
    with pytest.raises(FailedPrecondition, match="rule of complexity"):
        await routers.shift(NAME, QUICK, by="ada")


def routed(router: str, target: str) -> float | None:
    return REGISTRY.get_sample_value("firedeck_router_requests_total", {"router": router, "target": target})


async def test_requests_are_counted_by_router_and_target_and_few_of_those_that_are_gone_stay(routers, monkeypatch):
    monkeypatch.setattr(router_metrics, "GONE_KEPT", 2)
    monkeypatch.setattr(router_metrics, "_gone", {})
    names = [f"accounts/local/routers/counted-{n}" for n in range(4)]
    for name in names:
        await made(routers, ONLY_A, name.rpartition("/")[2])
        live = routers.find(name, "local")
        assert live is not None
        live.choose(None, "id", Facts)
        assert routed(name, A) == 1
        await routers.delete(name)
    assert [routed(name, A) for name in names] == [None, None, 1, 1]
