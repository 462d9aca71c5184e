"""An operator's shapes through the API: whose they are, which can be had, and what is deployed by them."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.enums import PRESET_TYPES, said
from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.types import AutoTune, DeploymentSpec
from engine import serve
from engine.fleet.settings import Settings
from tests.house import Home, home
from tests.processes import SMOLLM2
from tests.unit.test_models_gguf import build

OWN, LARGE = "accounts/local/models/ours", "accounts/fireworks/models/llama-v3p1-8b-instruct"
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
        spec = DeploymentSpec(base_model="accounts/fireworks/models/gemma-3-270m", deployment_shape="chat")
        with pytest.raises(NotFound, match="has no shape for CHAT"):
            await client.deployments.create(spec, validate_only=True)


async def test_a_model_that_is_not_here_has_its_shapes_and_what_is_missing_is_told(own: Home) -> None:
    async with own.client() as client:
        presets = {shape.preset_type for shape in await client.shapes.list(LARGE)}
        assert presets == {*said(PRESET_TYPES), None}
        spec = DeploymentSpec(base_model=LARGE, deployment_shape="full-precision")
        with pytest.raises(FailedPrecondition, match="model pull llama-v3p1-8b-instruct, then firedeck model prepare"):
            await client.deployments.create(spec, validate_only=True)
        spec = DeploymentSpec(base_model=LARGE, deployment_shape="fast", max_replica_count=0)
        spec.disable_deployment_size_validation = True  # this machine may be small
        made = await client.deployments.create(spec, "later")
        assert (made.draft_model, made.draft_token_count) == (
            f"{LARGE.removesuffix('llama-v3p1-8b-instruct')}llama-v3p2-1b-instruct",
            4,
        )
        [told] = [e.message for e in await client.fleet.events("later") if e.reason == "FilesMissing"]
        assert "llama-v3p1-8b-instruct (about 4.49 GiB) and llama-v3p2-1b-instruct" in told
        assert "firedeck model pull llama-v3p1-8b-instruct && firedeck model pull llama-v3p2-1b-instruct" in told
        await client.deployments.delete("later", hard=True)
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "here")
        assert "FilesMissing" not in {e.reason for e in await client.fleet.events("here")}
        await client.deployments.delete("here", hard=True)


async def test_what_a_model_that_is_not_here_takes_is_told_by_its_caches_too(own: Home) -> None:
    async with own.client() as client:
        spec = DeploymentSpec(base_model=LARGE, max_context_length=131_072, max_batch_size=64)
        with pytest.raises(FailedPrecondition, match=r"1024\.00 KV cache"):
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
