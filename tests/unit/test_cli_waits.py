"""What each command waits for: the change that was asked for, never the state from before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from client import waiting
from client.addon_types import DeployedModel
from client.cli.waiting import teller
from client.errors import DeadlineExceeded, FailedPrecondition, FiredeckError, NotFound, Unavailable
from client.fleet_types import AutoscalerView, DeploymentStats, DeploymentStatus, Reason
from client.router_types import Router, RouterShift
from client.types import Deployment, Model, ModelFile, PreparedPrecision, ReplicaStats, Status
from client.waiting import Waits

NAME, ADAPTER = "accounts/local/deployments/d", "accounts/local/deployedModels/a-1"
LONG = timedelta(days=365)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
EVENTS = "firedeck event list --deployment d"


class Gone:
    """What is found where there is nothing."""


class Looks:
    """A client that finds these, one a look; the last one for ever."""

    def __init__(self, *found: Any) -> None:
        self._found = iter(found)
        self._now: Any = Gone()
        self.asked = 0

    async def __call__(self, name: str) -> Any:
        self.asked += 1
        self._now = next(self._found, self._now)
        if isinstance(self._now, Gone):
            raise NotFound(f"{name} does not exist")
        return self._now


def client(**looks: Looks) -> Any:
    """Of `status`, `deployment` and `deployed`, those that are asked."""
    return SimpleNamespace(
        fleet=SimpleNamespace(status=looks.get("status")),
        deployments=SimpleNamespace(get=looks.get("deployment")),
        deployed_models=SimpleNamespace(get=looks.get("deployed")),
    )


def deployment(state: str, ready: int = 0, count: int = 0, wanted: int = 0, **more: Any) -> Deployment:
    stats = ReplicaStats(ready_replica_count=ready)
    return Deployment(
        name=NAME, state=state, replica_count=count, desired_replica_count=wanted, replica_stats=stats, **more
    )


def status(state: str, ready: int = 0, count: int = 0, wanted: int = 0, why: str = "", **more: Any) -> DeploymentStatus:
    view = AutoscalerView(desired=wanted, current=ready, reasons=[Reason(code="LOAD", text=why)] if why else [])
    return DeploymentStatus(
        deployment=deployment(state, ready, count, wanted, **more), stats=DeploymentStats(window_s=60), autoscaler=view
    )


def adapter(state: str, why: str = "") -> DeployedModel:
    return DeployedModel(name=ADAPTER, model="accounts/local/models/a", state=state, status=Status(message=why))


BROKEN: dict[str, Any] = {"status": Status(code="UNAVAILABLE", message="no chat template")}
DELETED: dict[str, Any] = {"delete_time": NOW}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two looks, and no look is ever late: what was there before goes on being believed possible."""
    monkeypatch.setattr(waiting, "POLL_S", 0.0)
    monkeypatch.setattr(waiting, "SETTLING_S", LONG.total_seconds())


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look is one after the settling time."""
    monkeypatch.setattr(waiting, "SETTLING_S", 0.0)


async def refusal_of(wait: Any, kind: type[FiredeckError], *told: str) -> None:
    with pytest.raises(kind) as refused:
        await wait
    assert all(words in refused.value.text for words in told), refused.value.text
    assert refused.value.hint


async def test_a_new_deployment_is_waited_for_until_it_is_ready() -> None:
    looks = Looks(status("CREATING", 0, 0, 1), status("CREATING", 0, 1, 1), status("READY", 1, 1, 1))
    await Waits(client(status=looks)).ready(NAME, LONG)
    assert looks.asked == 3


async def test_a_failure_ends_the_wait_with_its_reason_and_where_to_read_on() -> None:
    looks = Looks(status("CREATING", 0, 1, 1), status("FAILED", 0, 0, 1, **BROKEN))
    await refusal_of(Waits(client(status=looks)).ready(NAME, LONG), Unavailable, "no chat template", EVENTS)


async def test_a_failure_from_before_the_change_ends_no_wait() -> None:
    before = status("FAILED", 0, 0, 1, **BROKEN)
    looks = Looks(before, before, status("READY"))
    await Waits(client(status=looks)).scaled(NAME, 0, LONG)
    looks = Looks(before, status("CREATING", 0, 0, 1), status("READY", 1, 1, 1))
    await Waits(client(status=looks)).ready(NAME, LONG)
    assert looks.asked == 3


async def test_a_failure_counts_again_once_another_state_was_seen() -> None:
    broken = status("FAILED", 0, 0, 2, **BROKEN)
    looks = Looks(broken, status("CREATING", 0, 1, 2), broken, status("READY", 2, 2, 2))
    await refusal_of(Waits(client(status=looks)).scaled(NAME, 2, LONG), Unavailable, "no chat template", EVENTS)
    assert looks.asked == 3


@pytest.mark.usefixtures("settled")
async def test_a_failure_that_stays_is_one_after_the_settling_time() -> None:
    looks = Looks(status("FAILED", 0, 0, 1, **BROKEN))
    await refusal_of(Waits(client(status=looks)).ready(NAME, LONG), Unavailable, "no chat template", EVENTS)


async def test_whoever_waits_learns_that_it_was_deleted_meanwhile() -> None:
    for wait in (Waits(client(status=Looks(status("DELETING", **DELETED)))).ready(NAME, LONG),
                 Waits(client(status=Looks(status("DELETING", **DELETED)))).scaled(NAME, 1, LONG)):  # fmt: skip
        await refusal_of(wait, NotFound, "deleted meanwhile", "firedeck undelete deployment d")


async def test_the_count_from_before_the_scaling_is_not_the_one_that_was_asked_for() -> None:
    looks = Looks(
        status("READY", 1, 1, 1), status("READY", 1, 1, 3), status("READY", 1, 1, 1), status("READY", 1, 3, 3),
        status("READY", 2, 3, 3), status("READY", 3, 3, 3),
    )  # fmt: skip
    await Waits(client(status=looks)).scaled(NAME, 3, LONG)
    assert looks.asked == 6


async def test_replicas_that_are_too_many_are_waited_for_too() -> None:
    looks = Looks(status("READY", 1, 2, 1), status("READY", 1, 1, 1))
    await Waits(client(status=looks)).scaled(NAME, 1, LONG)
    assert looks.asked == 2


@pytest.mark.usefixtures("settled")
async def test_another_number_wanted_meanwhile_ends_the_wait_with_its_reason() -> None:
    looks = Looks(status("READY", 1, 3, 3), status("READY", 1, 1, 1, why="no request for 10m0s"))
    wait = Waits(client(status=looks)).scaled(NAME, 3, LONG)
    await refusal_of(wait, FailedPrecondition, "wanted is 1 meanwhile, not 3: no request for 10m0s", EVENTS)


@pytest.mark.usefixtures("settled")
async def test_what_was_asked_for_is_reached_even_if_something_else_is_wanted_next() -> None:
    looks = Looks(status("READY", 1, 3, 3), status("READY", 3, 3, 1))
    await Waits(client(status=looks)).scaled(NAME, 3, LONG)
    assert looks.asked == 2


async def test_a_delete_is_over_when_no_replica_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    looks = Looks(deployment("DELETING", 1, 1, **DELETED), deployment("DELETED", **DELETED))
    await Waits(client(deployment=looks)).deleted(NAME, LONG, teller())
    assert capsys.readouterr().err == "DELETING: 1 replica left\nDELETED: 0 replicas left\n"


async def test_a_hard_delete_is_over_when_nothing_is_found_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    looks = Looks(deployment("DELETING", 2, 2, **DELETED), Gone())
    await Waits(client(deployment=looks)).deleted(NAME, LONG, teller())
    assert capsys.readouterr().err == "DELETING: 2 replicas left\ngone\n"


async def test_whoever_waits_for_a_delete_learns_that_it_was_brought_back() -> None:
    looks = Looks(deployment("DELETING", 1, 1, **DELETED), deployment("CREATING", 1, 1, 1))
    wait = Waits(client(deployment=looks)).deleted(NAME, LONG)
    await refusal_of(wait, FailedPrecondition, "brought back meanwhile", EVENTS)


async def test_an_adapter_is_waited_for_until_every_replica_has_it() -> None:
    deployed = Looks(adapter("DEPLOYING"), adapter("DEPLOYED"))
    seen = client(deployed=deployed, status=Looks(status("READY", 1, 1, 1)))
    await Waits(seen).loaded(ADAPTER, NAME, LONG)
    assert deployed.asked == 2


async def test_an_adapter_that_is_refused_ends_the_wait_with_its_reason() -> None:
    seen = client(deployed=Looks(adapter("FAILED", "rank 64")), status=Looks(status("READY", 1, 1, 1)))
    wait = Waits(seen).loaded(ADAPTER, NAME, LONG)
    await refusal_of(wait, Unavailable, "rank 64", "firedeck unload-lora accounts/local/models/a --deployment d")


@pytest.mark.usefixtures("settled")
async def test_an_adapter_on_a_deployment_that_has_failed_is_not_waited_for() -> None:
    seen = client(deployed=Looks(adapter("DEPLOYING")), status=Looks(status("FAILED", 0, 0, 1, **BROKEN)))
    wait = Waits(seen).loaded(ADAPTER, NAME, LONG)
    await refusal_of(wait, Unavailable, f"{NAME} failed: no chat template", EVENTS)


async def test_an_adapter_unloaded_meanwhile_or_with_its_deployment_is_not_waited_for() -> None:
    seen = client(deployed=Looks(adapter("DEPLOYING"), Gone()), status=Looks(status("READY", 1, 1, 1)))
    with pytest.raises(NotFound, match=ADAPTER):
        await Waits(seen).loaded(ADAPTER, NAME, LONG)
    seen = client(deployed=Looks(adapter("DEPLOYING")), status=Looks(status("DELETING", **DELETED)))
    await refusal_of(Waits(seen).loaded(ADAPTER, NAME, LONG), NotFound, f"{NAME} was deleted meanwhile")


async def test_an_unload_is_over_when_the_adapter_is_gone() -> None:
    deployed = Looks(adapter("UNDEPLOYING"), adapter("UNDEPLOYING"), Gone())
    await Waits(client(deployed=deployed)).unloaded(ADAPTER, LONG)
    assert deployed.asked == 3


async def test_the_end_of_patience_names_what_shows_how_far_it_is() -> None:
    none, stays = timedelta(0), Looks(status("CREATING", 0, 1, 1))
    deleting = client(deployment=Looks(deployment("DELETING", 1, 1, **DELETED)))
    loading = client(deployed=Looks(adapter("DEPLOYING")), status=Looks(status("READY", 1, 1, 1)))
    for wait, hint in (
        (Waits(client(status=stays)).ready(NAME, none), EVENTS),
        (Waits(client(status=stays)).scaled(NAME, 1, none), EVENTS),
        (Waits(deleting).deleted(NAME, none), "firedeck list deployments --show-deleted"),
        (Waits(loading).loaded(ADAPTER, NAME, none), "firedeck deployed-model get a-1"),
        (Waits(client(deployed=Looks(adapter("UNDEPLOYING")))).unloaded(ADAPTER, none), "finds nothing"),
    ):
        await refusal_of(wait, DeadlineExceeded, "it is not given up", hint)


def shifting(state: str, step: int = 1, share: float = 0.1, begun: datetime = NOW, why: str = "") -> Router:
    shift = RouterShift(
        to=NAME, over=timedelta(minutes=10), step_percent=10, max_error_rate=0.05, min_requests=20, state=state,
        start_share=0, share=share, step_number=step, steps=10, start_time=begun, step_time=begun, reason=why,
    )  # fmt: skip
    return Router(name="accounts/local/routers/r", shift=shift)


BEGUN = shifting("SHIFTING")


async def wait_for_shift(*found: Any, patience: timedelta = LONG) -> Router:
    looks: Any = SimpleNamespace(routers=SimpleNamespace(get=Looks(*found)))
    return await Waits(looks).shifted(BEGUN, patience, teller())


async def test_a_shift_is_waited_for_until_all_traffic_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    over = shifting("COMPLETED", 10, 1.0)
    assert await wait_for_shift(BEGUN, BEGUN, shifting("SHIFTING", 2, 0.2), over) == over
    assert capsys.readouterr().err.splitlines() == [
        "SHIFTING to d at 10 %, step 1 of 10", "SHIFTING to d at 20 %, step 2 of 10",
        "COMPLETED: d has all of the traffic",
    ]  # fmt: skip


async def test_a_shift_that_went_back_or_was_replaced_ends_the_wait_with_the_reason() -> None:
    with pytest.raises(Unavailable) as ended:
        await wait_for_shift(BEGUN, shifting("ROLLED_BACK", 3, 0.0, why="9 % of 40 requests failed, more than 5 %"))
    assert ended.value.text == (
        "ROLLED_BACK from d at step 3 of 10: it has 0 % again: 9 % of 40 requests failed, more than 5 %"
        " (see firedeck router get r)"
    )
    with pytest.raises(Unavailable, match="ABORTED from d at step 1 of 10: it has 0 % again: by ada"):
        await wait_for_shift(shifting("ABORTED", 1, 0.0, why="by ada"))
    with pytest.raises(FailedPrecondition, match="another shift of r was begun meanwhile"):
        await wait_for_shift(BEGUN, shifting("SHIFTING", begun=NOW + timedelta(seconds=1)))
    with pytest.raises(DeadlineExceeded, match="the shift of r was not COMPLETED within 0s: SHIFTING to d at 10 %"):
        await wait_for_shift(BEGUN, patience=timedelta(0))


def prepared_in(**states: str) -> Model:
    made = [PreparedPrecision(precision=name, quantization="x", state=state) for name, state in states.items()]
    return Model(name="accounts/local/models/m", firedeck=ModelFile(prepared=made))


async def wait_for_precision(precision: str | None, *found: Any) -> Model:
    looks: Any = SimpleNamespace(models=SimpleNamespace(get=Looks(*found)))
    return await Waits(looks).prepared("m", precision, LONG, teller())


async def test_whoever_waits_for_a_precision_is_not_told_that_another_one_failed_before() -> None:
    at_work = prepared_in(NF4="FAILED", FP8="PREPARING", FP4="PREPARING")
    assert await wait_for_precision("FP8", at_work, over := prepared_in(NF4="FAILED", FP8="READY")) == over
    assert (
        await wait_for_precision("AUTO", at_work, over := prepared_in(NF4="FAILED", FP8="READY", FP4="READY")) == over
    )
    broken = prepared_in(FP8="READY", FP4="FAILED")
    await refusal_of(wait_for_precision("AUTO", at_work, broken), Unavailable, "was not prepared in FP4")
    await refusal_of(wait_for_precision(None, at_work), Unavailable, "was not prepared in NF4")
