"""Adapters by deployments: where each is, could be and cannot be; plans that load and unload, and their undoing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from client.addon_types import DeployedModel
from client.fleet_types import DeploymentStats, DeploymentStatus, EngineInfo, FleetSnapshot
from client.model_types import PeftDetails
from client.types import Deployment, Model, Status
from client.usage_tokens_types import TokenRow
from tui.core import adapter_plan, matrix_page, units
from tui.core.snapshot import Picture

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BASE, OTHER, VOICE = "accounts/fireworks/models/base", "accounts/fireworks/models/other", "accounts/local/models/voice"


def deployment(name, model=BASE, **spec):
    return Deployment(
        name=f"accounts/local/deployments/{name}", state="READY", base_model=model, create_time=NOW,
        **{"enable_addons": True, **spec},
    )  # fmt: skip


CHAT, SPARE, WRONG = deployment("chat"), deployment("spare"), deployment("wrong", OTHER)
CLOSED = deployment("closed", enable_addons=False)
FLEET = (CHAT, SPARE, WRONG, CLOSED)


def status(one):
    return DeploymentStatus(deployment=one, stats=DeploymentStats(window_s=60))


def picture():
    engine = EngineInfo(version="1", started_at=NOW, cores=2)
    return Picture().seen(FleetSnapshot(time=NOW, engine=engine, deployments=[status(one) for one in FLEET]), NOW)


def on_chat(**given):
    one = {"name": "accounts/local/deployedModels/v1", "model": VOICE, "deployment": CHAT.name, "state": "DEPLOYED"}
    return DeployedModel(**{**one, "create_time": NOW, **given})


def model(name=VOICE, base=BASE):
    return Model(name=name, kind="HF_PEFT_ADDON", peft_details=PeftDetails(base_model=base, r=8, target_modules=[]))


def matrix(loaded=(), asked=(), seconds=300.0, models=None):
    adapters = matrix_page.placed(picture(), loaded)
    takers = matrix_page.takers(picture(), adapters)
    found = matrix_page.rows([model()] if models is None else models, adapters, asked, seconds, takers)
    columns = matrix_page.listing(takers).columns
    return [{column.key: column.cell(row) for column in columns} for row in found], found


def test_each_deployment_that_takes_adapters_is_a_column():
    assert [one.id for one in matrix_page.takers(picture(), [])] == ["chat", "spare", "wrong"]
    odd = on_chat(deployment=CLOSED.name)
    assert [one.id for one in matrix_page.takers(picture(), [odd])] == ["chat", "spare", "wrong", "closed"]


def test_what_a_deployment_runs_is_no_adapter_wherever_it_is():
    own = [DeployedModel(name="n", model=one.base_model, deployment=one.name) for one in FLEET]
    cells, _ = matrix(own)
    assert [one["adapter"] for one in cells] == ["voice"]


def test_a_cell_tells_the_state_and_the_rate_or_whether_it_could_be_loaded():
    asked = [TokenRow(deployment=CHAT.name, adapter="voice", requests=600, failed_requests=3)]
    (cells,), _ = matrix([on_chat()], asked)
    assert (cells["chat"], cells["spare"], cells["wrong"]) == ("● 2.0 ✖3", "+", "")
    assert (cells["total"], cells["base"]) == ("2.0", "base")
    (quiet,), _ = matrix([on_chat(state="DEPLOYING")])
    assert quiet["chat"] == "◐ 0"


def test_where_nobody_counts_requests_there_is_no_rate():
    (cells,), _ = matrix([on_chat()], seconds=0.0)
    assert (cells["chat"], cells["total"]) == ("●", units.UNKNOWN)


def test_an_adapter_that_is_loaded_but_not_listed_has_a_row_and_why_it_failed_is_told():
    failed = on_chat(state="FAILED", status=Status(message="rank 200"))
    (cells,), (row,) = matrix([failed], models=[])
    assert (cells["adapter"], cells["base"]) == ("voice", units.UNKNOWN)
    assert "chat: rank 200" in matrix_page.listing(()).detail(row, NOW)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("spare", ""), ("chat", "it is on chat already"), ("nosuch", "there is no deployment nosuch"),
        ("closed", "closed takes no adapters (enableAddons is not set)"),
        ("wrong", "it is for base; wrong has other"), ("", None),
    ],
)  # fmt: skip
def test_an_adapter_is_loaded_where_it_fits_and_else_it_is_said_why_not(wanted, why):
    _, (row,) = matrix([on_chat()])
    plan = adapter_plan.load(row.what, wanted, {one.id: status(one) for one in FLEET})
    assert [problem.text for problem in plan.problems] == ([why] if why else [])
    assert plan.ready == (why == "")
    assert plan.command == f"firedeck load-lora voice --deployment {wanted or 'ID'}"
    if plan.ready:
        assert (plan.target, plan.model, plan.seen_created) == (SPARE.name, VOICE, NOW)


def test_who_asks_for_an_adapter_is_told_before_it_goes():
    plan = adapter_plan.unload(on_chat(), 1.5)
    assert plan.ready
    assert plan.blast[0] == "1.5 req/s ask for it now"
    assert adapter_plan.unload(on_chat(), None).blast[0] == "how often it is asked for now is not known"
    assert (plan.command, plan.target) == ("firedeck unload-lora v1", "accounts/local/deployedModels/v1")


def test_each_is_the_way_back_of_the_other():
    _, (row,) = matrix([])
    loaded = adapter_plan.load(row.what, "chat", {"chat": status(CHAT)})
    away = adapter_plan.back(loaded, on_chat())
    assert (away.verb, away.target) == ("unload", "accounts/local/deployedModels/v1")
    again = adapter_plan.back(away, on_chat())
    assert (again.verb, again.target, again.model) == ("load", CHAT.name, VOICE)
    assert again.command == loaded.command
