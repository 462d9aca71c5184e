"""What is turned away stands in the audit log: the first at once, the others as one number a minute, never a secret."""

from __future__ import annotations

import asyncio
import random

import pytest

from client.errors import Internal, ResourceExhausted
from engine.access.door import FILES, Door, ForeignHost, ForeignPage, HostMissing, NotJson, Refused
from engine.access.refusals import MINUTE_S, REMEMBERED_MAX, Refusals
from engine.access.sweeping import SWEEP_EVERY_S
from engine.asgi import Scope
from engine.clock import FakeClock
from engine.keys import EXPIRED_KEY, NO_KEY, REVOKED_KEY, WRONG_KEY, KeyRefused
from engine.store.store import KeyRecord
from engine.telemetry.audit import Seen

WRONG = KeyRefused(WRONG_KEY, "the API key you provided is invalid", hint="")
RECORD = KeyRecord(
    id="k7", hash="0" * 64, prefix="fd_12345", account="ada", user="ada", role="user", display_name="", create_time=""
)


class Room:
    """Refusals on a clock that stands still, and what they have put into the log."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log: list[Seen] = []
        self.refusals = Refusals(self.log.append, self.clock)

    def wrong_key(self, address: str = "192.0.2.1", path: str = "/v1/accounts/local/deployments") -> None:
        self.refusals.of_a_key(scope(path, address=address), WRONG)

    def later(self, seconds: float) -> None:
        """The clock goes on, with a look at it as often as the engine looks."""
        for _ in range(round(seconds / SWEEP_EVERY_S)):
            self.clock.advance(SWEEP_EVERY_S)
            self.refusals.sweep()

    @property
    def details(self) -> list[str]:
        return [seen.detail for seen in self.log]


def scope(path: str = "/v1/models", address: str = "192.0.2.1", method: str = "POST", **headers: str) -> Scope:
    given = {"host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    return {"type": "http", "method": method, "path": path, "client": (address, 1), "headers": raw}


def test_the_first_is_recorded_at_once_and_the_others_of_its_minute_as_one_number() -> None:
    room = Room()
    room.wrong_key()
    [first] = room.log
    assert (first.message, first.account, first.client_ip, first.code) == (
        WRONG_KEY, "local", "192.0.2.1", "UNAUTHENTICATED",
    )  # fmt: skip
    assert (first.method, first.resource, first.principal) == ("POST", "accounts/local/deployments", "")
    assert first.refused
    assert not first.change
    for _ in range(9_999):
        room.wrong_key(path="/v1/accounts/local/models")
    assert len(room.log) == 1
    room.later(MINUTE_S)
    assert room.details[1:] == ["9999 more in 60 s"]
    assert (room.log[1].message, room.log[1].client_ip) == (WRONG_KEY, "192.0.2.1")
    assert (room.log[1].method, room.log[1].resource) == ("", ""), "they may have asked for different things"


def test_a_flood_that_goes_on_is_one_record_a_minute_and_after_a_quiet_minute_there_is_a_first_again() -> None:
    room = Room()
    for _ in range(600):
        room.wrong_key()
        room.later(SWEEP_EVERY_S)
    minutes = 600 * SWEEP_EVERY_S / MINUTE_S
    assert len(room.log) == 1 + minutes
    assert sum(int(detail.split()[0]) for detail in room.details[1:]) == 599
    room.later(2 * MINUTE_S)
    told = len(room.log)
    room.wrong_key()
    assert room.details[told:] == [WRONG.message]


def test_reasons_addresses_keys_and_accounts_are_counted_apart() -> None:
    room = Room()
    refused = [
        KeyRefused(NO_KEY, "none", hint=""), WRONG, KeyRefused(REVOKED_KEY, "revoked", hint="", record=RECORD),
        KeyRefused(EXPIRED_KEY, "expired", hint="", record=RECORD),
    ]  # fmt: skip
    for address in ("192.0.2.1", "192.0.2.2"):
        for error in refused:
            room.refusals.of_a_key(scope(address=address), error)
        room.refusals.of_a_key(scope(address=address), WRONG, "elsewhere")
    assert len(room.log) == 10
    assert {(s.message, s.account, s.key_id) for s in room.log} == {
        (NO_KEY, "local", ""), (WRONG_KEY, "local", ""), (WRONG_KEY, "elsewhere", ""),
        (REVOKED_KEY, "ada", "k7"), (EXPIRED_KEY, "ada", "k7"),
    }  # fmt: skip


def test_whoever_is_told_to_slow_down_goes_on_being_counted() -> None:
    room = Room()
    room.wrong_key()
    slower = ResourceExhausted("more than 60 requests")
    slower.__cause__ = WRONG
    room.refusals.of_a_key(scope(), slower)
    room.later(MINUTE_S)
    assert room.details[1:] == ["1 more in 60 s"]


def test_an_engine_that_failed_before_it_knew_who_asks_has_refused_nobody() -> None:
    room = Room()
    room.refusals.of_a_key(scope(), Internal("the engine failed"))
    assert room.log == []


@pytest.mark.parametrize(
    ("headers", "method", "kind", "reason"),
    [
        ({"host": "evil.example"}, "GET", ForeignHost, "RefuseHost"),
        ({"origin": "https://evil.example"}, "GET", ForeignPage, "RefuseOrigin"),
        ({"sec_fetch_site": "cross-site"}, "POST", ForeignPage, "RefuseOrigin"),
        ({"content_type": "text/plain"}, "POST", NotJson, "RefuseContentType"),
    ],
)
def test_each_way_of_the_door_to_refuse_has_a_name_of_its_own(headers, method, kind, reason) -> None:
    room, asked = Room(), scope(method=method, **headers)
    with pytest.raises(kind) as refused:
        Door("127.0.0.1").check(method, asked["path"], asked["headers"])
    room.refusals.at_the_door(asked, refused.value)
    assert [(seen.message, seen.account, seen.method) for seen in room.log] == [(reason, "local", method)]


def test_a_request_without_a_host_is_one_of_them() -> None:
    room, asked = Room(), {**scope(), "headers": []}
    with pytest.raises(HostMissing) as refused:
        Door("127.0.0.1").check("GET", "/", [])
    room.refusals.at_the_door(asked, refused.value)
    assert room.log[0].message == "RefuseHost"


def test_ever_more_addresses_take_no_more_memory_and_no_more_records() -> None:
    room = Room()
    for number in range(20_000):
        room.wrong_key(f"2001:db8::{number:x}")
    assert len(room.log) == REMEMBERED_MAX + 1
    assert len(room.refusals._minutes) == REMEMBERED_MAX + 1
    assert room.log[-1].client_ip == ""
    assert f"more than {REMEMBERED_MAX} addresses" in room.log[-1].detail
    room.later(MINUTE_S)
    assert room.details[REMEMBERED_MAX + 1 :] == [f"{20_000 - REMEMBERED_MAX - 1} more in 60 s"]
    room.later(MINUTE_S)
    assert room.refusals._minutes == {}


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_every_refusal_is_counted_once_and_a_minute_has_few_records(seed: int) -> None:
    dice, room, sent = random.Random(seed), Room(), 0
    for _ in range(40):
        before = len(room.log)
        for _ in range(dice.randrange(2_000)):
            room.wrong_key(f"192.0.2.{dice.randrange(dice.choice([1, 20, 600]))}")
            sent += 1
        room.later(MINUTE_S)
        assert len(room.log) - before <= 2 * (REMEMBERED_MAX + 1), f"seed {seed}"
    room.later(MINUTE_S)
    counted = sum(int(detail.split()[0]) if " more in " in detail else 1 for detail in room.details)
    assert counted == sent, f"seed {seed}"


def test_no_key_ticket_host_type_or_query_is_in_any_record() -> None:
    room, canary = Room(), "c4n4ry"
    own, door = {"authorization": f"Bearer {canary}", "x_api_key": canary}, Door("127.0.0.1")
    for path, told in (
        (FILES + canary, {"host": canary}), (FILES + canary, {"origin": canary}),
        ("/v1/models", {"content_type": f"text/{canary}"}),
    ):  # fmt: skip
        asked = {**scope(path, **own, **told), "query_string": canary.encode()}
        with pytest.raises(Refused) as refused:
            door.check("POST", path, asked["headers"])
        room.refusals.at_the_door(asked, refused.value)
        room.refusals.of_a_key(asked, WRONG)
    assert {seen.message for seen in room.log} == {"RefuseHost", "RefuseOrigin", "RefuseContentType", WRONG_KEY}
    assert canary not in str(room.log)


async def test_minutes_are_summed_up_while_the_engine_runs_and_the_rest_when_it_ends() -> None:
    room = Room()
    room.refusals.open()
    for _ in range(5):
        room.wrong_key()
    while room.clock.monotonic() < 3 * MINUTE_S:
        await asyncio.sleep(0)
        room.clock.advance(SWEEP_EVERY_S)
    await asyncio.sleep(0)
    assert room.details[1:] == ["4 more in 60 s"]
    room.wrong_key()
    room.wrong_key()
    await room.refusals.close()
    await room.refusals.close()
    assert room.details[2:] == [WRONG.message, "1 more in 0 s"]
