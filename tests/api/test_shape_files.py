"""An operator's shapes through the API: whose they are, which can be had, and what is deployed by them."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.types import AutoTune, DeploymentSpec
from engine import serve
from engine.fleet.settings import Settings
from tests.house import Home, home
from tests.processes import SMOLLM2
from tests.unit.test_models_gguf import build

OWN = "accounts/local/models/ours"
FILE = f"""
[[shape]]
id = "support"
base_model = "{OWN}"
preset_type = "CHAT"
[[shape.version]]
id = "v1"
max_context_length = 256
max_batch_size = 3
[[shape.version]]
id = "v2"
max_context_length = 100000

[[shape]]
id = "small"
base_model = "{SMOLLM2}"
[[shape.version]]
id = "v1"
max_batch_size = 1
"""


async def test_an_operators_shapes_are_listed_judged_and_deployed(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(build())
    (tmp_path / "shapes.toml").write_text(FILE)
    async with home(tmp_path / "data", shapes=(tmp_path / "shapes.toml",)) as own, own.client() as client:
        assert not any(version.validated for version in await client.shapes.versions(own=True))  # no such model yet
        await client.models.create_from_file("ours", str(tmp_path / "a.gguf"))
        versions = await client.shapes.versions("support", own=True)
        assert [(v.validated, v.latest_validated) for v in versions] == [(True, True), (False, False)]
        assert [shape.max_context_length for shape in await client.shapes.list(OWN, own=True)] == [256]
        assert [v.name.rpartition("/")[2] for v in await client.shapes.match(OWN)] == ["v1"]

        def spec(shape: str, model: str = OWN) -> DeploymentSpec:
            return DeploymentSpec(base_model=model, deployment_shape=shape)

        for shape in ("support", "default", "chat"):
            made = await client.deployments.create(spec(shape), validate_only=True)
            assert (made.deployment_shape, made.max_batch_size) == (versions[0].name, 3)
        with pytest.raises(InvalidArgument, match="maxContextLength 100000 is more than the model's"):
            await client.deployments.create(spec(versions[1].name), validate_only=True)
        made = await client.deployments.create(spec("default", SMOLLM2), validate_only=True)
        assert made.deployment_shape == "accounts/fireworks/deploymentShapes/small/versions/v1"
        await _others_see_none(own)


async def _others_see_none(own: Home) -> None:
    async with own.http(await own.stranger()) as stranger:
        for path in ("", "/support", "/support/versions", "/support/versions/v1", "/-/versions"):
            answer = await stranger.get(f"/v1/accounts/local/deploymentShapes{path}")
            assert answer.status_code in (403, 404), answer.text
        seen = (await stranger.get("/v1/accounts/fireworks/deploymentShapes?pageSize=200")).json()
        assert "support" not in {shape["name"].rpartition("/")[2] for shape in seen["deploymentShapes"]}


async def test_full_precision_is_to_be_prepared_first_and_says_so(own: Home) -> None:
    async with own.client() as client:
        [version] = await client.shapes.versions("smollm2-135m-instruct-full-precision")
        assert (version.validated, version.latest_validated) == (False, False)
        assert version.name not in {v.name for v in await client.shapes.match(SMOLLM2)}
        spec = DeploymentSpec(base_model=SMOLLM2, deployment_shape="full-precision")
        with pytest.raises(FailedPrecondition, match="firedeck model prepare"):
            await client.deployments.create(spec, validate_only=True)
        spec = DeploymentSpec(base_model="accounts/fireworks/models/gemma-3-270m", deployment_shape="fast")
        with pytest.raises(NotFound, match="has no shape for"):
            await client.deployments.create(spec, validate_only=True)


async def test_summarization_is_optimized_for_long_prompts(own: Home) -> None:
    async with own.client() as client:
        spec = DeploymentSpec(base_model=SMOLLM2, deployment_shape="summarization")
        made = await client.deployments.create(spec, validate_only=True)
        assert (made.auto_tune, made.max_context_length) == (AutoTune(long_prompt=True), 8192)


def test_a_file_that_is_wrong_is_told_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "shapes.toml").write_text('[[shape]]\nid = "a"\n')
    with pytest.raises(InvalidArgument, match="base_model of a"):
        serve.check(Settings(data_dir=tmp_path / "data", shapes=(tmp_path / "shapes.toml",)))
    assert not (tmp_path / "data").exists()
