"""Routers through a whole engine in this process: REST, gateway, explanation, roll-back and command line.

The fleet is simulated: two quick deployments, one whose first tokens are late, and one that is switched off. Sockets
between client, gateway and replicas are real.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from client.cli.main import main
from client.errors import FailedPrecondition, NotFound, PermissionDenied
from client.resources import Client
from client.router_types import Router, RouterShift, RouterShiftSpec, RouterSpec
from client.types import DeploymentSpec
from engine.control.split import draw, table
from tests.conftest import until_ready
from tests.house import Home, served
from tests.processes import PATIENCE_S
from tests.simulated_models import SIMULATED_8B

MODEL = "accounts/fireworks/models/simulated-8b"
BLUE, GREEN, SLOW, OFF = (f"accounts/local/deployments/{one}" for one in ("blue", "green", "slow", "off"))
NAME = "accounts/local/routers/r"
PATH = "/firedeck/v1/accounts/local/routers"
CANARY = "canary-session-51d0"
FLEET = f"""
seed = 7
start_delay = "0s"
[latency]
first_token = "1ms"
prompt_tokens_per_second = 100000
tokens_per_second = 2000
[latency.NVIDIA_L4_24GB]
first_token = "600ms"
[[node]]
name = "n"
accelerator_type = "NVIDIA_H100_80GB"
accelerators = 8
memory = "1024GiB"
threads = 96
[[node]]
name = "late"
accelerator_type = "NVIDIA_L4_24GB"
accelerators = 8
memory = "1024GiB"
threads = 96
{SIMULATED_8B}"""
NINE_TO_ONE = RouterSpec.model_validate(
    {"weighted": {"targets": [{"deployment": "blue", "weight": 90}, {"deployment": "green", "weight": 10}]}}
)
ALL_BLUE = RouterSpec.model_validate({"weighted": {"targets": [{"deployment": "blue", "weight": 1}]}})


@dataclass
class Stage:
    url: str
    home: Home
    client: Client
    http: httpx.AsyncClient

    async def ask(self, model: str = NAME, **more: Any) -> httpx.Response:
        headers = more.pop("headers", None)
        body = {"model": model, "prompt": "x", "max_tokens": 1} | more
        return await self.http.post("/v1/completions", json=body, headers=headers)

    async def asked(self, bodies: Sequence[dict[str, Any]], at_once: int = 8) -> list[int]:
        """The statuses of many requests, in order."""
        places = asyncio.Semaphore(at_once)

        async def one(body: dict[str, Any]) -> int:
            async with places:
                return (await self.ask(**body)).status_code

        return await asyncio.gather(*map(one, bodies))

    async def explained(self, answer: httpx.Response) -> dict[str, Any]:
        """The whole trace of an answer, once it is over: the client may be told before the last is noted."""
        path = f"/firedeck/v1/accounts/local/requests/{answer.headers['x-request-id']}"
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found: dict[str, Any] = (await self.http.get(path)).raise_for_status().json()
                if "status" in found["request"]:
                    return found
                await asyncio.sleep(0.02)

    async def cli(self, words: str) -> Result:
        shared = ["--base-url", self.url, "--api-key", self.home.admin_key]
        return await asyncio.to_thread(CliRunner().invoke, main, [*words.split(), *shared])

    async def requests(self) -> dict[str, int]:
        """By target, as the router has counted them."""
        return {one.deployment: one.requests for one in (await self.client.routers.get("r")).shares or ()}


@asynccontextmanager
async def acting(folder: Path, *deployments: str) -> AsyncIterator[Stage]:
    """An engine on a folder, with those of the deployments that it does not have yet."""
    fleet = folder / "fleet.toml"
    fleet.write_text(FLEET)
    async with served(folder / "data", simulate=fleet) as (url, home), home.client() as client:
        there = {one.id for one in await client.deployments.list()}
        for one in deployments:
            if one not in there:
                await client.deployments.create(_spec(one), one)
        for one in deployments:
            if one != "off":
                await until_ready(client, one)
        headers = {"authorization": f"Bearer {home.admin_key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S) as http:
            yield Stage(url, home, client, http)


def _spec(name: str) -> DeploymentSpec:
    if name == "off":
        return DeploymentSpec(base_model=MODEL, max_replica_count=0)
    where = "NVIDIA_L4_24GB" if name == "slow" else "NVIDIA_H100_80GB"
    return DeploymentSpec(base_model=MODEL, min_replica_count=1, max_replica_count=1, accelerator_type=where)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with acting(tmp_path, "blue", "green") as found:
        yield found


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_sessions_go_where_their_bucket_says_every_time_and_the_shares_are_measured(stage: Stage) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r")
    split = table([(BLUE, 90), (GREEN, 10)])
    bodies = [{"headers": {"x-session-affinity": f"s{n}"}} for n in range(100)]
    drawn = Counter(draw(split, NAME, f"session s{n}", lambda _: True).target for n in range(100))
    assert set(drawn) == {BLUE, GREEN}
    for again in (1, 2, 3):
        assert set(await stage.asked(bodies)) == {200}
        assert await stage.requests() == {one: again * count for one, count in drawn.items()}, "sticky, every one"
    [blue, green] = (await stage.client.routers.get("r")).shares or ()
    assert (blue.wanted, green.wanted) == (0.9, 0.1)
    assert (blue.measured, green.measured) == (drawn[BLUE] / 100, drawn[GREEN] / 100)
    text = (await stage.http.get("/metrics")).text
    assert f'firedeck_router_requests_total{{router="{NAME}",target="{GREEN}"}}' in text


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_ten_thousand_sessions_split_as_wanted_to_a_hundredth_over_the_wire(stage: Stage) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r")
    assert set(await stage.asked([{"headers": {"x-session-affinity": f"s{n}"}} for n in range(10_000)])) == {200}
    assert abs((await stage.requests())[BLUE] / 10_000 - 0.90) <= 0.01


async def test_requests_without_a_session_are_drawn_one_by_one(stage: Stage) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r")
    assert set(await stage.asked([{}] * 300)) == {200}
    found = await stage.requests()
    assert sum(found.values()) == 300
    assert 0 < found[GREEN] < 75, "30 are to be expected, 9 standard deviations are allowed for"
    answered = Counter()
    for keeper in stage.home.engine.house.fleet.keepers("local"):
        answered[keeper.name] = keeper.meter.requests
    assert answered == found, "it is those deployments that have answered"


@pytest.mark.parametrize("field", ["prompt_cache_key", "user"])
async def test_what_names_a_session_in_the_body_keeps_it_together(stage: Stage, field: str) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r")
    await stage.asked([{field: "one"}] * 20)
    assert sorted((await stage.requests()).values()) == [0, 20]


async def test_a_routed_request_says_which_router_which_bucket_and_which_weights(stage: Stage) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r")
    answer = await stage.ask(headers={"x-session-affinity": CANARY}, user=CANARY)
    assert answer.json()["model"] == NAME, "as the replica gives it: what was asked for"
    found = await stage.explained(answer)
    request, root = found["request"], found["spans"][0]["attributes"]
    assert request["router"] == root["firedeck.router"] == NAME
    assert request["deployment"] == root["firedeck.deployment"]
    reason = root["firedeck.router.reason"]
    short = request["deployment"].rpartition("/")[2]
    assert reason.startswith(f"to {short}, by weight (90 % blue, 10 % green): the session's bucket ")
    assert reason.endswith(f" of 10000 is {short}'s")
    assert f"Router {NAME} sent it {reason}." in found["explanation"]
    [admit, routed] = [one for one in found["spans"] if one["name"] in ("admit", "router r")]
    assert routed["parentSpanId"] == admit["spanId"]
    assert routed["attributes"] == {"firedeck.router": NAME, "firedeck.router.reason": reason}
    assert CANARY not in json.dumps(found)
    shown = (await stage.cli("requests --filter router:r")).stdout.splitlines()
    assert re.split(r"  +", shown[1])[2:4] == ["r", short], shown
    plain = await stage.explained(await stage.ask(BLUE))
    assert "router" not in plain["request"]
    assert "firedeck.router" not in plain["spans"][0]["attributes"]
    assert not any(one["name"].startswith("router") for one in plain["spans"])


async def test_a_rule_of_complexity_sends_what_is_simple_to_the_small_one(stage: Stage) -> None:
    rule = {"small": "blue", "large": "green", "maxPromptChars": 20, "maxTokens": 4, "maxTurns": 1}
    await stage.client.routers.create(RouterSpec.model_validate({"complexity": rule}), "r")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    for more, target, why in (
        (
            {},
            BLUE,
            "to blue, by complexity: simple, as 1 of at most 20 characters of prompt, max_tokens 1 of at most 4",
        ),
        (
            {"prompt": "x" * 21},
            GREEN,
            "to green, by complexity: not simple, as 21 characters of prompt are more than 20",
        ),
        ({"max_tokens": 5}, GREEN, "max_tokens 5 is more than 4"),
        ({"tools": [tool]}, GREEN, "it has tools"),
        ({"response_format": {"type": "json_object"}}, GREEN, "it has a response_format"),
    ):
        found = await stage.explained(await stage.ask(**more))
        assert found["request"]["deployment"] == target
        assert why in found["spans"][0]["attributes"]["firedeck.router.reason"]
    shares = (await stage.client.routers.get("r")).shares or ()
    assert [(one.requests, one.measured, one.wanted) for one in shares] == [(1, 0.2, None), (4, 0.8, None)]


async def test_a_router_is_among_the_models_as_long_as_it_has_a_deployment(stage: Stage) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r")
    listed = {one["id"]: one for one in (await stage.http.get("/v1/models")).json()["data"]}
    direct, routed = listed[BLUE], listed[NAME]
    assert routed == direct | {"id": NAME, "kind": "ROUTER", "created": routed["created"]}
    assert (await stage.http.get(f"/v1/models/{NAME}")).json() == routed
    for one in ("blue", "green"):
        await stage.client.deployments.delete(one, ignore_checks=True)
    assert NAME not in {one["id"] for one in (await stage.http.get("/v1/models")).json()["data"]}


async def test_another_accounts_router_is_as_little_there_as_one_that_was_never_made(stage: Stage) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r")
    headers = {"authorization": f"Bearer {await stage.home.stranger()}"}
    answers = [await stage.ask(model, headers=headers) for model in (NAME, "accounts/local/routers/nope")]
    assert [one.status_code for one in answers] == [404, 404]
    assert answers[0].json()["error"] == answers[1].json()["error"]
    assert await stage.requests() == {BLUE: 0, GREEN: 0}
    assert (await stage.http.get("/v1/models", headers=headers)).json()["data"] == []
    for model in (f"{NAME}#{BLUE}", f"{MODEL}#{NAME}", "local/routers/r", f"{NAME}/", NAME.upper()):
        assert (await stage.ask(model)).status_code == 404, model


async def test_a_deployment_with_a_router_is_not_deleted_by_mistake_and_is_passed_over_when_it_is(stage) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r")
    assert (await stage.ask(GREEN)).status_code == 200
    with pytest.raises(FailedPrecondition) as refused:  # that it was asked a moment ago is said after that
        await stage.client.deployments.delete("green")
    assert f"is a target of {NAME}" in refused.value.text
    assert "firedeck router update r" in refused.value.text
    assert "ignoreChecks=true" in refused.value.text
    await stage.client.deployments.delete("green", ignore_checks=True)
    assert set(await stage.asked([{"user": f"u{n}"} for n in range(30)])) == {200}
    found = {one.deployment: one for one in (await stage.client.routers.get("r")).shares or ()}
    assert (found[BLUE].requests, found[GREEN].requests, found[GREEN].gone) == (30, 0, True)
    moved = next(
        n for n in range(100) if draw(table([(BLUE, 90), (GREEN, 10)]), NAME, f"session u{n}", bool).target == GREEN
    )
    told = await stage.explained(await stage.ask(user=f"u{moved}"))
    assert "drawn again because green is gone" in " ".join(told["explanation"])
    await stage.client.deployments.delete("blue", ignore_checks=True)
    none = await stage.ask()
    assert none.status_code == 404
    assert "has no deployment left" in none.json()["error"]["message"]
    assert "firedeck router update r" in none.json()["error"]["message"]
    nowhere = f"Router {NAME} sent it nowhere: none of its deployments is left."
    assert nowhere in (await stage.explained(none))["explanation"]
    await stage.client.deployments.undelete("blue")
    await until_ready(stage.client, "blue")
    assert (await stage.ask()).status_code == 200, "it came back by itself"


async def test_what_somebody_made_is_theirs_to_change_and_every_change_is_in_the_audit_log(stage: Stage) -> None:
    keys = {
        name: await stage.home.person(name, role) for name, role in (("ada", "contributor"), ("bob", "contributor"))
    }
    async with stage.home.client(keys["ada"]) as ada, stage.home.client(keys["bob"]) as bob:
        assert (await ada.routers.create(NINE_TO_ONE, "r")).created_by == "ada"
        spec = RouterShiftSpec(to="green")
        for refused in (
            bob.routers.update("r", RouterSpec(description="x")),
            bob.routers.shift("r", spec),
            bob.routers.delete("r"),
        ):
            with pytest.raises(PermissionDenied, match="on what another user owns needs the role user"):
                await refused
        assert (await bob.routers.get("r")).name == NAME
        await ada.routers.update("r", RouterSpec(description="x"))
        await ada.routers.shift("r", spec)
        await ada.routers.delete("r")
    logged = await stage.client.audit_logs.list(filter=f'resource="{NAME}"')
    told = [(one.principal, one.message, one.status.code) for one in logged[::-1] if one.status]
    verbs = ("UpdateRouter", "ShiftRouter", "DeleteRouter")
    denied = [("bob", verb, "PERMISSION_DENIED") for verb in verbs]
    made = [("ada", verb, "OK") for verb in verbs]
    assert told == [("ada", "CreateRouter", "OK"), *denied, ("bob", "GetRouter", "OK"), *made]


async def test_lists_and_dry_runs_and_masks_are_as_of_other_resources(stage: Stage) -> None:
    await stage.client.routers.create(NINE_TO_ONE, "r", validate_only=True)
    assert await stage.client.routers.list() == []
    for one in ("a", "b", "c"):
        await stage.client.routers.create(NINE_TO_ONE if one != "b" else ALL_BLUE, one)
    listed = await stage.client.routers.list(order_by="name desc", page_size=2)
    assert ([one.id for one in listed], listed.total_size) == (["c", "b"], 3)
    assert [one.id for one in await stage.client.routers.list(filter='name="*/b"')] == ["b"]
    masked = await stage.http.get(PATH, params={"readMask": "name"})
    assert masked.json()["routers"][0] == {"name": "accounts/local/routers/a"}
    mask = {"updateMask": "description"}
    body = {"description": "new", "displayName": "left alone", "name": "output only"}
    changed = (await stage.http.patch(f"{PATH}/a", json=body, params=mask)).raise_for_status().json()
    assert (changed["description"], changed["displayName"], changed["name"]) == ("new", "a", "accounts/local/routers/a")
    for bad in ({"weighted": 1}, {"unknown": 1}, {"shift": "x"}):
        answer = await stage.http.patch(f"{PATH}/a", json=bad)
        assert (answer.status_code, set(answer.json())) == (400, {"code", "message", "details"})
    with pytest.raises(NotFound, match="firedeck router list"):
        await stage.client.routers.get("nope")


SWIFT = RouterShiftSpec(to="green", over=timedelta(seconds=3), step_percent=34, min_requests=3)


async def shifted(stage: Stage, state: str) -> RouterShift:
    """Ask on until the shift has ended so; then how it went."""

    async def over() -> bool:
        await stage.asked([{}] * 12, at_once=4)
        found = (await stage.client.routers.get("r")).shift
        return found is not None and found.state != "SHIFTING"

    await until(over)
    found = (await stage.client.routers.get("r")).shift
    assert found is not None
    assert found.state == state, found
    return found


async def events(stage: Stage, deployment: str, count: int) -> list[Any]:
    """The deployment's events of routers, once there are so many."""
    found: list[Any] = []

    async def there() -> bool:
        found[:] = [one for one in await stage.client.fleet.events(deployment) if one.reason.startswith("Router")]
        return len(found) >= count

    await until(there)
    return found


async def test_a_shift_takes_all_its_steps_and_each_is_an_event_with_its_figures(stage: Stage) -> None:
    await stage.client.routers.create(ALL_BLUE, "r")
    begun = await stage.client.routers.shift("r", SWIFT)
    assert begun.shift is not None
    assert (begun.shift.share, begun.shift.steps) == (0.34, 3)
    done = await shifted(stage, "COMPLETED")
    assert [one.reason for one in done.events] == [
        "RouterShiftBegan", "RouterShifted", "RouterShifted", "RouterShiftCompleted"
    ]  # fmt: skip
    assert [one.share for one in done.events] == [0.34, 0.68, 1.0, 1.0]
    assert all(" requests, 0 % failed, TTFT p95 " in one.message for one in done.events[1:])
    told = await events(stage, "green", 4)
    assert [one.message for one in told] == [f"router r: {one.message}" for one in done.events]
    assert (await stage.client.routers.get("r")).targets == [GREEN]
    assert (await stage.explained(await stage.ask()))["request"]["deployment"] == GREEN


@pytest.mark.parametrize(
    ("to", "spec", "why"),
    [
        (
            "slow",
            {"max_ttft_p95": timedelta(milliseconds=300)},
            r"TTFT p95 of \d+ requests is \d+ ms, more than 300 ms",
        ),
        ("off", {}, r"100 % of \d+ requests failed, more than 5 %"),
    ],
)
async def test_traffic_goes_back_by_itself_from_a_deployment_that_is_late_or_fails(tmp_path, to, spec, why) -> None:
    async with acting(tmp_path, "blue", to) as stage:
        await stage.client.routers.create(ALL_BLUE, "r")
        changed = {"to": to, "over": timedelta(hours=1), "step_percent": 50.0} | spec
        await stage.client.routers.shift("r", SWIFT.model_copy(update=changed))
        back = await shifted(stage, "ROLLED_BACK")
        assert (back.share, back.step_number, back.figures is not None) == (0.0, 1, True)
        assert re.fullmatch(why, back.reason), back.reason
        assert set(await stage.asked([{}] * 30)) == {200}
        [blue] = (await stage.client.routers.get("r")).shares or ()
        assert (blue.deployment, blue.wanted, blue.measured) == (BLUE, 1.0, 1.0)
        [_, warned] = await events(stage, to, 2)
        assert (warned.kind, warned.reason) == ("Warning", "RouterRolledBack")
        assert warned.message == f"router r: {back.reason}"


async def test_a_shift_and_its_steps_outlive_the_engine(tmp_path: Path) -> None:
    async with acting(tmp_path, "blue", "green") as stage:
        await stage.client.routers.create(ALL_BLUE, "r")
        await stage.client.routers.shift("r", SWIFT.model_copy(update={"over": timedelta(hours=1)}))
        before = await stage.client.routers.get("r")
    async with acting(tmp_path, "blue", "green") as stage:
        after = await stage.client.routers.get("r")
        assert before.shift is not None
        assert after.shift is not None
        assert after.shift.events == before.shift.events
        assert (after.shift.state, after.shift.share) == ("SHIFTING", 0.34)
        explained = await stage.explained(await stage.ask())
        assert "by weight (66 % blue, 34 % green)" in " ".join(explained["explanation"])
        await stage.client.routers.shift("r", RouterShiftSpec(abort=True))
        assert set(await stage.asked([{}] * 10)) == {200}
        assert await stage.requests() == {BLUE: 10}


async def test_the_command_line_has_both_word_orders_and_dry_runs_that_say_so(stage: Stage) -> None:
    dry = await stage.cli("router create r --target blue=90 --target green=10 --dry-run")
    assert dry.stderr == f"dry run: nothing was changed; {NAME} would be created\nSIMULATED: no model answers here\n"
    assert "/deployments/blue weight=90, deployment=" in dry.stdout
    assert (await stage.cli("router list -q")).stdout == ""
    made = await stage.cli("create router r --target blue=90 --target green=10 -o json")
    assert json.loads(made.stdout)["name"] == NAME
    await stage.asked([{"user": f"u{n}"} for n in range(50)])
    got = await stage.cli("get router r")
    assert "Kind: weighted\nSticky: by session\nTarget blue: wanted 90 %, measured " in got.stdout
    assert "requests)\nTarget green: wanted 10 %, measured " in got.stdout
    listed = await stage.cli("list routers")
    assert "blue 90 %, green 10 %" in listed.stdout
    assert listed.stdout.endswith("Total size: 1\nSIMULATED: no model answers here\n")
    assert got.stdout.endswith("\n\nSIMULATED: no model answers here\n")
    planned = await stage.cli("router shift r --to green --over 40m --step 30 --dry-run")
    assert "\nShift Steps: unset -> 3\n" in planned.stdout
    assert "\nShift Over: unset -> 40m0s\n" in planned.stdout
    assert (await stage.client.routers.get("r")).shift is None
    began = await stage.cli("shift router r --to green --over 40m --step 30 --max-ttft-p95 500ms")
    assert (
        "Thresholds: at most 5 % failed, TTFT p95 at most 500ms, judged by 20 requests of a step or more"
        in began.stdout
    )
    assert "RouterShiftBegan  40 %   by admin: to accounts/local/deployments/green in 3 steps of 800 s" in began.stdout
    busy = await stage.cli("router update r --target blue=1")
    assert busy.exit_code == 1
    assert "firedeck router shift r --abort" in busy.stderr
    aborted = await stage.cli("router shift r --abort --wait")
    assert "Shift: ABORTED from green at step 1 of 3: it has 10 % again\n" in aborted.stdout
    small = await stage.cli("router create s --small blue --large green --max-prompt-chars 100 --allow-tools")
    assert "Simple: at most 100 characters of prompt, no response_format" in small.stdout
    changed = await stage.cli("update router s --max-turns 2 -o json")
    rule = json.loads(changed.stdout)["complexity"]
    assert (rule["maxTurns"], rule["maxPromptChars"], rule["allowTools"]) == (2, 100, True)
    gone = await stage.cli("delete router r s nope")
    assert gone.exit_code == 1
    assert "deleted r\ndeleted s\nerror: router 'accounts/local/routers/nope' does not exist" in gone.stderr


@pytest.mark.parametrize(
    "words",
    [
        "router create r --target blue", "router create r --target blue=x", "router create r --target =1",
        "router create r --target blue=-1", "router shift r", "router shift r --to a --abort", "router update r",
    ],
)  # fmt: skip
def test_a_slip_on_the_command_line_is_told_before_anything_is_asked(words: str) -> None:
    assert CliRunner().invoke(main, words.split()).exit_code == 2


def test_what_a_router_of_a_later_version_says_more_is_read_over() -> None:
    assert Router.model_validate({"name": NAME, "newer": {"field": 1}}).id == "r"
