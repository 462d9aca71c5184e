"""Models, adapters and speculation as rows: who uses what, and when drafting pays."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.addon_types import DeployedModel
from client.fleet_types import DeploymentStats, DeploymentStatus, EngineInfo, FleetSnapshot
from client.model_types import BaseModelDetails, ModelFile, PeftDetails
from client.types import Deployment, Model, Status
from client.usage_tokens_types import TokenRow
from tui.core import model_page, speculation_page, units
from tui.core.snapshot import Picture

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHAT, GONE = "accounts/local/deployments/chat", "accounts/local/deployments/gone"
BASE, VOICE = "accounts/fireworks/models/base", "accounts/local/models/voice"


def status(name=CHAT, state="READY", **spec):
    deployment = Deployment(name=name, state=state, base_model=BASE, **spec)
    return DeploymentStatus(deployment=deployment, stats=DeploymentStats(window_s=60))


def picture(*found):
    engine = EngineInfo(version="1", started_at=NOW, cores=2)
    return Picture().seen(FleetSnapshot(time=NOW, engine=engine, deployments=list(found)), NOW)


def cells(listing, row):
    return {column.key: column.cell(row) for column in listing.columns}


def on_chat(**given):
    return DeployedModel(**{"name": "accounts/local/deployedModels/v1", "model": VOICE, "deployment": CHAT, **given})


def test_a_model_is_used_by_what_runs_it_and_by_where_it_is_an_adapter():
    base = Model(name=BASE, firedeck=ModelFile(size_bytes=94 << 20, quantization="Q4_0", licence="MIT"))
    voice = Model(name=VOICE, kind="HF_PEFT_ADDON", peft_details=PeftDetails(base_model=BASE, r=8, target_modules=[]))
    fleet = picture(status(), status(GONE, "DELETED"))
    first, second = (
        cells(model_page.MODELS, row) for row in model_page.models([base, voice], [on_chat(state="DEPLOYED")], fleet)
    )
    assert (first["used"], first["size"], first["precision"], first["from"]) == ("chat", "94MiB", "Q4_0", "library")
    assert (second["used"], second["kind"], second["from"]) == ("chat", "LoRA r8 of base", "own")
    assert second["size"] == second["precision"] == units.UNKNOWN
    declared = Model(name=BASE, base_model_details=BaseModelDetails(default_precision="BF16"))
    (row,) = model_page.models([declared], [], picture())
    assert (cells(model_page.MODELS, row)["precision"], cells(model_page.MODELS, row)["used"]) == ("BF16", "nobody")


def test_an_adapter_has_its_requests_and_why_it_failed_and_a_base_model_is_none():
    failed = on_chat(name="accounts/local/deployedModels/v2", state="FAILED", status=Status(message="rank 200"))
    own = on_chat(name="accounts/local/deployedModels/b", model=BASE)
    asked = [
        TokenRow(deployment=CHAT, adapter=VOICE, requests=7, failed_requests=2),
        TokenRow(deployment=CHAT, requests=9),
    ]
    one, two = model_page.adapters([on_chat(state="DEPLOYED"), failed, own], asked, picture(status()))
    assert (cells(model_page.ADAPTERS, one)["requests"], cells(model_page.ADAPTERS, one)["failed"]) == ("7", "2")
    assert cells(model_page.ADAPTERS, two)["problem"] == "rank 200"
    (alone,) = model_page.adapters([on_chat()], [], picture(status()))
    assert cells(model_page.ADAPTERS, alone)["requests"] == units.UNKNOWN, "not counted is not zero"


@given(st.integers(1, 31), st.floats(0.0, 2.0))
def test_at_break_even_a_step_costs_what_it_yields(drafted, cost):
    limit = speculation_page.break_even(drafted, cost)
    if limit is None:
        assert cost >= 1 - 1e-9
    else:
        assert 0 <= limit <= 1
        assert (
            speculation_page.tokens_per_step(limit, drafted) == pytest.approx(1 + drafted * cost, abs=1e-6)
            or limit < 1e-9
        )


def advice(drafted=(0, 0), draft_size=None, **spec):
    models = [Model(name=BASE, firedeck=ModelFile(size_bytes=1000))]
    models += [Model(name="a/m/tiny", firedeck=ModelFile(size_bytes=draft_size))] if draft_size else []
    accepted, rejected = drafted
    asked = [TokenRow(deployment=CHAT, accepted_draft_tokens=accepted, rejected_draft_tokens=rejected)]
    (row,) = speculation_page.rows([status(**spec), status(GONE, "DELETED")], models, asked)
    return row.what


def test_what_is_measured_is_put_beside_what_it_must_reach():
    spec = {"draft_model": "a/m/tiny", "draft_token_count": 4, "draft_size": 200}
    good, bad = advice((800, 200), **spec), advice((200, 800), **spec)
    assert good.break_even == bad.break_even
    assert (good.acceptance, good.verdict) == (0.8, "pays, as estimated by sizes")
    assert bad.verdict == "slower than off, as estimated by sizes: try 3 a step, or off"
    assert advice((800, 200), **{**spec, "draft_size": 2000}).verdict.startswith("slower than off even if")


def test_nothing_is_said_on_too_little_or_without_the_sizes():
    spec = {"draft_model": "a/m/tiny", "draft_token_count": 4}
    assert advice((9, 1), draft_size=200, **spec).verdict.startswith("too little drafted today to tell (10 of 200")
    unknown = advice((800, 200), **spec)
    assert (unknown.break_even, unknown.tone) == (None, "neutral")
    assert advice().how == "off"
    assert advice((500, 500), ngram_speculation_length=3, draft_token_count=4).break_even == pytest.approx(
        0.0, abs=1e-6
    )
