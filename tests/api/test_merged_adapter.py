"""A deployment whose base model is an adapter: served by a file with the adapter merged into the weights."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from client.errors import FailedPrecondition, InvalidArgument
from client.resources import Client
from client.types import DeploymentSpec
from tests import adapter_files
from tests.conftest import SHARED, removed_afterwards, until_ready
from tests.processes import SMOLLM2, EngineProcess

pytestmark = pytest.mark.model
LORA = "accounts/local/models/melted"
PROMPT = "The lighthouse keeper"


async def test_an_adapter_is_deployed_by_itself(
    engine: EngineProcess, fleet: Client, openai_client: openai.OpenAI, tmp_path: Path
) -> None:
    base = (await fleet.models.get(SMOLLM2)).firedeck
    assert base is not None
    assert base.file is not None
    file = adapter_files.make(tmp_path / "lora.gguf", Path(base.file), seed=7, strength=0.3)
    await fleet.models.create_from_file("melted", str(file), base_model=SMOLLM2)
    try:
        async with removed_afterwards(fleet, "melted"):
            for changes, error in (
                ({"enable_addons": True}, InvalidArgument), ({"precision": "FP16"}, FailedPrecondition)
            ):  # fmt: skip
                with pytest.raises(error, match=r"merged into"):
                    await fleet.deployments.create(DeploymentSpec(base_model=LORA, **changes), "melted")
            await fleet.deployments.create(DeploymentSpec(base_model=LORA, min_replica_count=1), "melted")
            await until_ready(fleet, "melted")
            command = next(
                one.cmdline() for one in engine.replicas() if "accounts/local/deployments/melted" in one.cmdline()
            )
            served = Path(command[command.index("--model") + 1])
            assert served.is_relative_to(engine.data_dir / "merged")

            def text(model: str) -> str:
                answer = openai_client.completions.create(model=model, prompt=PROMPT, max_tokens=12, temperature=0)
                return answer.choices[0].text

            assert text(LORA) == text("accounts/local/deployments/melted")
            assert text(LORA) != text(f"accounts/local/deployments/{SHARED}")
            with pytest.raises(FailedPrecondition, match="is used by"):
                await fleet.models.delete(LORA)
    finally:
        await fleet.models.delete(LORA)
    assert not served.exists()
