"""A folder with a fireworks.json on a whole engine: its template makes the prompts, its defaults end the answers."""

from __future__ import annotations

import json
from pathlib import Path

import openai
import pytest

from client.errors import FailedPrecondition
from client.resources import Client
from client.types import DeploymentSpec
from tests import hugging_face_files as hf
from tests.conftest import removed_afterwards, until_ready
from tests.house import Home

pytestmark = pytest.mark.model
NAME = "accounts/local/models/spoken"
CUSTOM = {
    "conversation_config": {
        "style": "jinja",
        "args": {"template": "S:{{ messages[0].content }} U:{{ messages[-1].content }}", "system": "be kind"},
    },
    "defaults": {"stop": ["aaa"], "temperature": 0},
}
ALWAYS_A = {str(ord("a")): 100}  # the tokens of tiny models are bytes


async def test_its_template_and_its_defaults_are_those_of_every_request(
    fleet: Client, openai_client: openai.OpenAI, tmp_path: Path
) -> None:
    folder = hf.tiny(tmp_path / "hf")
    hf.save(folder, "fireworks.json", CUSTOM)
    made = await fleet.models.create_from_file("spoken", str(folder))
    try:
        assert made.conversation_config is not None
        assert (made.conversation_config.style, made.conversation_config.system) == ("jinja", "be kind")
        assert made.default_sampling_params == {"temperature": 0.0}
        async with removed_afterwards(fleet, "spoken"):
            await fleet.deployments.create(DeploymentSpec(base_model=NAME, min_replica_count=1), "spoken")
            await until_ready(fleet, "spoken")

            def ask(**more: object) -> tuple[str, str]:
                answer = openai_client.completions.create(
                    model=NAME,
                    prompt="x",
                    max_tokens=8,
                    logit_bias=ALWAYS_A,
                    **more,  # type: ignore[call-overload]
                )
                return answer.choices[0].text, answer.choices[0].finish_reason

            assert (ask(), ask(stop=["zz"])) == (("", "stop"), ("a" * 8, "length"))
            ids = {"return_token_ids": True}
            chat = openai_client.chat.completions.create(
                model=NAME, messages=[{"role": "user", "content": "hi"}], max_tokens=1, extra_body=ids
            )
            text = openai_client.completions.create(model=NAME, prompt="S:be kind U:hi", max_tokens=1, extra_body=ids)
            assert _prompt(chat) == _prompt(text)
    finally:
        await fleet.models.delete(NAME)


def _prompt(answer: object) -> list[int]:
    """Its tokens, without the opening one."""
    whole = answer.model_dump()  # type: ignore[attr-defined]
    found = whole.get("prompt_token_ids") or whole["choices"][0]["prompt_token_ids"]
    return [token for token in found if token != 260]


async def test_what_is_not_understood_is_refused_at_the_folder_and_beside_a_gguf_file(
    own: Home, tmp_path: Path
) -> None:
    folder = hf.tiny(tmp_path / "hf")
    hf.save(folder, "fireworks.json", {"conversation_config": {"style": "alpaca"}})
    async with own.client() as client, own.http(own.admin_key) as http:
        with pytest.raises(FailedPrecondition, match="'alpaca' is not served"):
            await client.models.create_from_file("bad", str(folder))
        body = {"modelId": "bad", "model": {"conversationConfig": {"style": "chatml"}}}
        assert (await http.post("/v1/accounts/local/models", json=body)).status_code == 200
        hf.save(folder, "fireworks.json", CUSTOM)
        with pytest.raises(FailedPrecondition, match="and the model a conversationConfig"):
            await client.models.upload("bad", folder)
        assert json.loads((folder / "fireworks.json").read_text()) == CUSTOM
        await client.models.delete("bad")
