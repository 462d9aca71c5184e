"""Models, adapters and speculation as rows: who uses what, and when drafting pays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.addon_types import DeployedModel
from client.fleet_types import DeploymentStats, DeploymentStatus, EngineInfo, FleetSnapshot, SpeculationView
from client.model_types import BaseModelDetails, ModelFile, PeftDetails, PreparedPrecision, TypeDate
from client.types import Deployment, Model, Status
from client.usage_tokens_types import TokenRow
from tui.core import columns, model_page, precisions, speculation_page, units
from tui.core.snapshot import Picture

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHAT, GONE = "accounts/local/deployments/chat", "accounts/local/deployments/gone"
BASE, VOICE = "accounts/fireworks/models/base", "accounts/local/models/voice"


def status(name=CHAT, state="READY", speculation=None, **spec):
    deployment = Deployment(name=name, state=state, base_model=BASE, **spec)
    return DeploymentStatus(deployment=deployment, stats=DeploymentStats(window_s=60), speculation=speculation)


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


def advice(drafted=(0, 0), draft_size=None, speculation=None, **spec):
    models = [Model(name=BASE, firedeck=ModelFile(size_bytes=1000))]
    models += [Model(name="a/m/tiny", firedeck=ModelFile(size_bytes=draft_size))] if draft_size else []
    accepted, rejected = drafted
    asked = [TokenRow(deployment=CHAT, accepted_draft_tokens=accepted, rejected_draft_tokens=rejected)]
    (row,) = speculation_page.rows([status(speculation=speculation, **spec), status(GONE, "DELETED")], models, asked)
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
    assert (advice().how, advice().count) == ("off", None)
    assert advice((500, 500), ngram_speculation_length=3, draft_token_count=4).break_even == pytest.approx(
        0.0, abs=1e-6
    )


def measured(accepted_at, drafts=1000, step_ms=10.0, verify_ms=None, draft_token_ms=None):
    at = [drafts] * len(accepted_at)
    return SpeculationView(
        drafts=drafts, drafted=sum(at), accepted=sum(accepted_at), drafted_at=at, accepted_at=accepted_at,
        step_ms=step_ms, verify_ms=verify_ms or {2: 11.0, 8: 17.0}, draft_token_ms=draft_token_ms,
    )  # fmt: skip


NGRAMS = {"ngram_speculation_length": 3, "draft_token_count": 4}


def said(accepted_at, drafted=(500, 500), **costs):
    """The advice on n-grams of four tokens a step, and the line that sets it."""
    one = status(speculation=measured(accepted_at, **costs), **NGRAMS)
    asked = [TokenRow(deployment=CHAT, accepted_draft_tokens=drafted[0], rejected_draft_tokens=drafted[1])]
    (row,) = speculation_page.rows([one], [], asked)
    return row.what, speculation_page.command(row)


def test_what_pays_by_measured_costs_is_left_as_it_is():
    advice, line = said([800, 640, 400, 100])
    assert (advice.verdict, advice.tone, line) == ("pays: 2.10x the speed without drafts", "healthy", "")
    assert advice.measured


def test_fewer_are_advised_where_the_last_positions_are_seldom_right():
    advice, line = said([600, 30, 0, 0], verify_ms={2: 10.0, 3: 14.0, 8: 30.0})
    assert advice.verdict == "0.80x as it is; 1 a step would give 1.60x"
    assert line == "firedeck deployment update chat --draft-token-count 1"


def test_one_more_is_advised_where_the_last_position_is_nearly_always_right():
    advice, line = said([980, 960, 950, 940], verify_ms={2: 10.1, 8: 10.4})
    assert advice.verdict.endswith("5 a step would give 5.59x")
    assert line.endswith("--draft-token-count 5")


def test_off_is_advised_where_no_count_pays():
    advice, line = said([50, 5, 0, 0], drafted=(10, 990))
    assert (advice.tone, advice.count) == ("attention", 0)
    assert line == "firedeck deployment update chat --draft-token-count 0"
    assert said([999] * 4, verify_ms={2: 25.0, 8: 100.0})[0].verdict.startswith("slower than off even if all")


def test_of_what_drafts_nothing_it_is_told_from_which_share_on_n_grams_would_pay():
    one = status(speculation=SpeculationView(step_ms=10.0, verify_ms={2: 10.5, 8: 12.0}))
    (row,) = speculation_page.rows([one], [], [])
    assert row.what.verdict == "nothing is drafted; n-grams would pay from 11% of their tokens on"
    line = "firedeck deployment update chat --ngram-speculation-length 3 --draft-token-count 4"
    assert speculation_page.command(row) == line
    dear = status(speculation=SpeculationView(step_ms=10.0, verify_ms={2: 20.0, 8: 90.0}))
    assert speculation_page.rows([dear], [], [])[0].what.count is None


def test_the_costs_of_a_draft_model_that_are_not_told_are_estimated():
    spec = {"draft_model": "a/m/tiny", "draft_token_count": 4, "draft_size": 200}
    assert not advice((800, 200), speculation=measured([800] * 4), **spec).measured
    assert advice((800, 200), speculation=measured([800] * 4, draft_token_ms=2.0), **spec).measured


def made(precision, state, quantization="Q8_0", **more):
    return PreparedPrecision(precision=precision, quantization=quantization, state=state, **more)


def test_a_model_shows_the_precisions_that_are_there_on_their_way_and_failed_and_how_others_are_made():
    prepared = [
        made("FP8", "READY"), made("FP4", "PREPARING", stage="measuring"),
        made("BF16", "FAILED", status=Status(code="INTERNAL", message="no room")),
    ]  # fmt: skip
    file = ModelFile(file="base.gguf", quantization="F16", prepared=prepared)
    model = Model(name=BASE, firedeck=file, supported_precisions=["FP16", "FP8"])
    (row,) = model_page.models([model], [], picture())
    assert cells(model_page.MODELS, row)["prepared"] == "FP8 ◐FP4 ✖BF16"
    told = " ".join(model_page.MODELS.detail(row, NOW))
    assert "FP4 is being prepared (measuring)" in told
    assert "BF16 failed: no room" in told
    assert "firedeck model prepare base --precision AUTO" in told
    assert [value for _, value in precisions.choices(model)] == ["FP16", "FP8", "AUTO"], "what is there alone"
    assert precisions.how(model) == "FP4: being prepared; others once prepared: " + precisions.command(model)


def test_a_model_without_prepared_precisions_offers_its_own_and_says_how_others_are_made():
    bare = Model(name=BASE, firedeck=ModelFile(file="base.gguf"), supported_precisions=["FP16"])
    assert precisions.choices(bare) == [("FP16 (its own file)", "FP16")]
    assert "firedeck model prepare base" in precisions.how(bare)
    for nothing in (None, Model(name=BASE), Model(name=VOICE, kind="HF_PEFT_ADDON")):
        assert precisions.choices(nothing) == []
        assert precisions.how(nothing) == ""


@pytest.mark.parametrize(
    ("day", "badge", "told"),
    [
        (TypeDate(year=2026, month=11, day=21), "▲ 2026-11-21", "in 1 day:"),
        (TypeDate(year=2026, month=11, day=20), "✖ 2026-11-20", "deprecated since 2026-11-20"),
        (TypeDate(year=2026, month=2, day=30), "", ""),
        (None, "", ""),
    ],
)
def test_a_model_that_ends_says_when_and_whether_it_has(day, badge, told):
    (row,) = model_page.models([Model(name=BASE, deprecation_date=day)], [], picture())
    assert cells(model_page.MODELS, row)["ends"] == badge
    assert told in " ".join(model_page.MODELS.detail(row, NOW))
    assert ("deprecated" in " ".join(model_page.MODELS.detail(row, NOW))) == bool(badge)


def test_one_that_leaves_serverless_says_so_and_that_it_can_be_deployed():
    model = Model(name=BASE, deprecation_date=TypeDate(year=2026, month=11, day=22), supports_serverless=True)
    (row,) = model_page.models([model], [], picture())
    told = " ".join(model_page.MODELS.detail(row, NOW))
    assert "leaves serverless on 2026-11-22, in 2 days: it can be deployed as before" in told
    assert "deprecated" not in told


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        (str(Path.home() / "models" / "chat.gguf"), "~/models/chat.gguf"), (None, "no file"),
        ("/m/a.gguf", "/m/a.gguf"),
        ("/srv/of/somebody/models/chat.gguf", "…/models/chat.gguf"),
    ],
)  # fmt: skip
def test_a_models_page_shows_its_file_without_the_machines_folders(file, shown):
    assert model_page._path(file) == shown


@pytest.mark.parametrize(
    ("name", "file", "state", "told"),
    [
        (BASE, ModelFile(file="/m.gguf"), "○ NOT FETCHED", "a replica fetches it first, or: firedeck model pull base"),
        (BASE, ModelFile(file="/m.gguf", on_disk=True), "● READY", "on disk"),
        (VOICE, ModelFile(file="/m.gguf"), "✖ NO FILE", "not on disk"), (BASE, None, "● READY", ""),
    ],
)  # fmt: skip
def test_a_model_whose_file_is_not_here_says_so_in_its_state(name, file, state, told):
    (row,) = model_page.models([Model(name=name, state="READY", firedeck=file)], [], picture())
    assert cells(model_page.MODELS, row)["state"] == state
    assert told in " ".join(model_page.MODELS.detail(row, NOW))
    needs = columns.measure(model_page.MODELS.columns, [tuple(cells(model_page.MODELS, row).values())])
    widths = {one.column.key: one.width for one in columns.fit(model_page.MODELS.columns, needs, 78)}
    assert widths["state"] >= units.width(state), "uncut on the narrowest screen"
