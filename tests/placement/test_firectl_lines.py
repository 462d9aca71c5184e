"""Every `firectl` line of the product's page on on-demand deployments, with `firedeck` in its place."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

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

BASE = "accounts/fireworks/models/simulated-8b"
LORA = "accounts/local/models/mine"

# As the page has them, in its order.
CREATE = "firectl create deployment accounts/fireworks/models/<MODEL_ID> --wait"
CREATE_OWN = "firectl create deployment <MODEL_ID>"
GET = "firectl get deployment <DEPLOYMENT_ID>"
DELETE = "firectl delete deployment <DEPLOYMENT_ID>"
QUANTIZED = """firectl create deployment <MODEL_NAME> \\
    --accelerator-type="NVIDIA_H100_80GB" \\
    --precision="FP8"
"""
DEPLOY = "firectl deploy <MODEL_ID> --deployment <DEPLOYMENT_ID>"
LINES = (CREATE, CREATE_OWN, GET, DELETE, QUANTIZED, DEPLOY)


def words(line: str, **filled: str) -> list[str]:
    """The arguments of a line, with names in place of `<NAMES>`."""
    for name, value in filled.items():
        line = line.replace(f"<{name}>", value)
    return shlex.split(line.replace("\\\n", " "))[1:]


def other_order(given: list[str]) -> list[str]:
    return [given[1], given[0], *given[2:]]


@pytest.mark.parametrize("line", LINES)
def test_both_word_orders_of_a_line_are_one_command(line: str) -> None:
    given = words(line, MODEL_ID="m", MODEL_NAME="m", DEPLOYMENT_ID="d")
    if given[0] == "deploy":
        assert reorder(given)[0] == "load-lora"
    else:
        assert reorder(given) == reorder(other_order(given)) == other_order(given)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[tuple[str, Home]]:
    """An engine on a simulated fleet, whose replicas start soon."""
    async with served(tmp_path / "data", simulate=quick_fleet(tmp_path)) as opened:
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
