"""Every line and flag of `firectl` that the documents show, with `firedeck` in its place, on a simulated fleet."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from client.cli.grammar import reorder
from client.cli.main import main
from client.errors import NotFound
from client.model_types import Model, PeftDetails
from client.types import DeploymentSpec
from engine.library import Library
from tests.house import Home, served
from tests.placement.test_simulated_engine import quick_fleet
from tests.product.documents import run_here

BASE, DRAFT = "accounts/fireworks/models/simulated-8b", "accounts/fireworks/models/simulated-70b"
LORA = "accounts/local/models/mine"

# As the documents have them, in their order.
CREATE = "firectl create deployment accounts/fireworks/models/<MODEL_ID> --wait"
CREATE_OWN = "firectl create deployment <MODEL_ID>"
GET = "firectl get deployment <DEPLOYMENT_ID>"
DELETE = "firectl delete deployment <DEPLOYMENT_ID>"
QUANTIZED = """firectl create deployment <MODEL_NAME> \\
    --accelerator-type="NVIDIA_H100_80GB" \\
    --precision="FP8\""""
DEPLOY = "firectl deploy <MODEL_ID> --deployment <DEPLOYMENT_ID>"
CREATE_WORD = "firectl deployment create"
LINES = (CREATE, CREATE_OWN, GET, DELETE, QUANTIZED, DEPLOY, CREATE_WORD)

# What each flag makes of a deployment, by paths of the wire; a flag that the documents show bare is given a value.
Fields = dict[str, Any]
FLAGS: dict[str, tuple[list[str], Fields]] = {
    "--region": (["US_IOWA_1"], {"placement": {"region": "US_IOWA_1"}}),
    "--region GLOBAL": ([], {"placement": {"multiRegion": "GLOBAL"}}),
    "--deployment-shape": (["shape"], {"deploymentShape": "shape"}),
    "--enable-addons": ([], {"enableAddons": True}),
    "--kv-cache-fraction": (["0.57"], {"kvCacheMemoryPct": 57}),
    "--max-replica-count": (["3"], {"maxReplicaCount": 3}),
    "--min-replica-count": (["2"], {"minReplicaCount": 2, "maxReplicaCount": 2}),
    "--min-replica-count=0": ([], {"minReplicaCount": 0, "maxReplicaCount": 1}),
    "--scale-up-window": (["1m30s"], {"autoscalingPolicy": {"scaleUpWindow": "90s"}}),
    "--scale-down-window": (["10m"], {"autoscalingPolicy": {"scaleDownWindow": "600s"}}),
    "--scale-to-zero-window": (["5m"], {"autoscalingPolicy": {"scaleToZeroWindow": "300s"}}),
    "--accelerator-count": (["2"], {"acceleratorCount": 2}),
    "--accelerator-type": (["NVIDIA_H100_80GB"], {"acceleratorType": "NVIDIA_H100_80GB"}),
    "--draft-model": ([DRAFT, "--draft-token-count=4"], {"draftModel": DRAFT, "draftTokenCount": 4}),
    "--draft-token-count": (["4", "--draft-model", DRAFT], {"draftTokenCount": 4}),
    "--draft-token-count=0": ([], {"draftTokenCount": 0}),
    "—draft-token-count=3": (["--draft-model", DRAFT], {"draftTokenCount": 3}),
    "—draft-token-count=4": (["--draft-model", DRAFT], {"draftTokenCount": 4}),
    "--ngram-speculation-length": (["3", "--draft-token-count=4"], {"ngramSpeculationLength": 3}),
    "--precision": (["FP8"], {"precision": "FP8"}),
    "--long-prompt": (["--accelerator-count=2"], {"autoTune": {"longPrompt": True}}),
    "--long-prompt=false": ([], {"autoTune": {"longPrompt": False}}),
}
IN_LINES = {"--wait", "--deployment"}  # are no settings; CREATE and DEPLOY have them


def words(line: str, **filled: str) -> list[str]:
    """The arguments of a line, with names in place of `<NAMES>`."""
    for name, value in filled.items():
        line = line.replace(f"<{name}>", value)
    return shlex.split(line.replace("\\\n", " "))[1:]


def other_order(given: list[str]) -> list[str]:
    return [given[1], given[0], *given[2:]]


def test_every_line_and_every_flag_of_the_documents_is_tried() -> None:
    assert {line for line in run_here("command") if line.startswith("firectl")} == set(LINES)
    assert set(run_here("flag")) == FLAGS.keys() | IN_LINES


@pytest.mark.parametrize("line", LINES)
def test_both_word_orders_of_a_line_are_one_command(line: str) -> None:
    given = words(line, MODEL_ID="m", MODEL_NAME="m", DEPLOYMENT_ID="d")
    if given[0] == "deploy":
        assert reorder(given)[0] == "load-lora"
    else:
        assert (
            reorder(given)
            == reorder(other_order(given))
            == ["deployment", ({*given[:2]} - {"deployment"}).pop(), *given[2:]]
        )


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[tuple[str, Home]]:
    """An engine on a simulated fleet, whose replicas start soon."""
    shapes = tmp_path / "shapes.toml"
    shapes.write_text(
        f'[[shape]]\nid = "shape"\nbase_model = "{BASE}"\n[[shape.version]]\nid = "v1"\nprecision = "FP8"\n'
    )
    async with served(tmp_path / "data", simulate=quick_fleet(tmp_path), shapes=(shapes,)) as opened:
        yield opened


async def type_in(here: tuple[str, Home], *typed: str) -> Result:
    url, home = here
    own = {"FIREDECK_API_KEY": home.admin_key, "FIREWORKS_BASE_URL": url}
    return await asyncio.to_thread(CliRunner(env=own).invoke, main, list(typed))


async def test_the_lines_do_what_the_page_says(here: tuple[str, Home]) -> None:
    _, home = here
    async with home.client() as client:
        for order in (list, other_order):
            made = await type_in(here, *order(words(CREATE, MODEL_ID="simulated-8b")), "--deployment-id", "d")
            assert made.exit_code == 0, made.output
            found = await client.deployments.get("d")
            assert (found.state, found.base_model) == ("READY", BASE)
            shown = await type_in(here, *order(words(GET, DEPLOYMENT_ID="d")))
            assert (shown.exit_code, "State: READY" in shown.output) == (0, True), shown.output
            gone = await type_in(here, *order(words(DELETE, DEPLOYMENT_ID="d")))
            assert gone.exit_code == 0, gone.output
            assert (await client.deployments.get("d")).delete_time is not None
            await client.deployments.delete("d", hard=True, ignore_checks=True)

        before = {one.name for one in await client.deployments.list()}
        assert (await type_in(here, *words(CREATE_OWN, MODEL_ID="simulated-8b"))).exit_code == 0
        quantized = await type_in(here, *words(QUANTIZED, MODEL_NAME=BASE))
        assert quantized.exit_code == 0, quantized.output
        fresh = [one for one in await client.deployments.list() if one.name not in before]
        asked = {(one.accelerator_type, one.precision) for one in fresh}
        assert asked == {(None, None), ("NVIDIA_H100_80GB", "FP8")}
        assert all(len(one.id) == 8 for one in fresh)


async def test_every_flag_of_the_documents_declares_what_it_says(here: tuple[str, Home]) -> None:
    wrong = {}
    for flag, (value, fields) in FLAGS.items():
        typed = [*words(f"{CREATE_WORD} {BASE}"), *flag.replace("—", "--").split(), *value]
        said = await type_in(here, *typed, "--dry-run", "-o", "json")
        shown = json.loads(said.stdout) if said.exit_code == 0 else said.output
        if not isinstance(shown, dict) or not _holds(shown, fields):
            wrong[flag] = shown
    assert not wrong


def _holds(found: Fields, wanted: Fields) -> bool:
    """Whether all that is wanted is there; of names the end."""
    return all(
        _holds(found.get(key, {}), value) if isinstance(value, dict)
        else str(found.get(key)).partition("/versions/")[0].endswith(value) if key == "deploymentShape"
        else found.get(key) == value
        for key, value in wanted.items()
    )  # fmt: skip


async def test_long_prompts_are_turned_off_by_an_update_as_the_page_has_it(here: tuple[str, Home]) -> None:
    _, home = here
    async with home.client() as client:
        await type_in(
            here, *words(f"{CREATE_WORD} {BASE}"), "--long-prompt", "--max-replica-count=0", "--deployment-id=d"
        )
        before = (await client.deployments.get("d")).auto_tune
        changed = await type_in(here, "deployment", "update", "d", "--long-prompt=false")
        assert changed.exit_code == 0, changed.output
        after = (await client.deployments.get("d")).auto_tune
    assert before is not None
    assert (before.long_prompt, after.long_prompt if after else False) == (True, False)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--draft-model", DRAFT], "draft-token-count must be set"),
        (["--ngram-speculation-length=3"], "draft-token-count must be set"),
        (["--draft-model", DRAFT, "--ngram-speculation-length=3", "--draft-token-count=4"], "cannot be used together"),
        (["--scale-to-zero-window=4m"], "--scale-to-zero-window must be at least 5 minutes"),
        (["--kv-cache-fraction=0.5", "--kv-cache-memory-pct=50"], "one setting"),
        (["--kv-cache-fraction=0.95"], "0<=x<=0.9"),
    ],
)  # fmt: skip
async def test_what_the_documents_say_cannot_be_is_refused_by_name(
    here: tuple[str, Home], typed: list[str], says: str
) -> None:
    said = await type_in(here, *words(f"{CREATE_WORD} {BASE}"), *typed)
    assert (said.exit_code in (1, 2), says in said.output) == (True, True), said.output


async def test_a_precision_that_the_model_is_not_prepared_in_is_refused(here: tuple[str, Home]) -> None:
    line = words(QUANTIZED.replace("FP8", "FP4"), MODEL_NAME=BASE)
    refused = await type_in(here, *line)
    assert (refused.exit_code, "not prepared in FP4: it has FP16, FP8" in refused.output) == (1, True), refused.output


async def test_deploy_is_load_lora_and_says_why_it_cannot(here: tuple[str, Home]) -> None:
    _, home = here
    library: Library = home.engine.house.library
    details = PeftDetails(base_model=BASE, r=8, target_modules=["q_proj"])
    await library.put(Model(name=LORA, kind="HF_PEFT_ADDON", peft_details=details))
    async with home.client() as client:
        await client.deployments.create(DeploymentSpec(base_model=BASE, max_replica_count=0), "d")
        refused = await type_in(here, *words(DEPLOY, MODEL_ID="mine", DEPLOYMENT_ID="d"))
        assert (refused.exit_code, "--enable-addons" in refused.output) == (1, True), refused.output
        refused = await type_in(here, *words(DEPLOY, MODEL_ID="other", DEPLOYMENT_ID="d"))
        assert (refused.exit_code, "does not exist" in refused.output) == (1, True), refused.output
        with pytest.raises(NotFound):
            await client.deployed_models.get("mine")
