"""What a replica answers against a reference: a process that has served nothing else, and llama.cpp called directly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import adapter_files, real_text
from tests.engine.conftest import ROOT, Launch, Replica
from tests.engine.promises import SIZE, SLOTS, Body, answer, ask_all, gather, real_prompts

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

# Adapters and isolation keys against cold processes

PROMPT = " ".join(real_text.sentences()[40:46])  # more than 64 tokens
ADAPTERS = ("a", "b", None)
KEYS = ("tenant-1", "tenant-2", None)


def body_of(adapter: str | None, key: str | None) -> Body:
    body: Body = {"prompt": PROMPT, "max_tokens": 16, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    body |= {"lora": [{"id": adapter}]} if adapter else {}
    return body | ({"prompt_cache_isolation_key": key} if key else {})


@pytest.fixture
def adapters(smollm2: Path, tmp_path: Path) -> Path:
    """A folder with two random adapters."""
    folder = tmp_path / "adapters"
    folder.mkdir()
    adapter_files.make(folder / "a.gguf", smollm2, seed=1, rank=8, strength=0.2)
    adapter_files.make(folder / "b.gguf", smollm2, seed=2, rank=8, strength=0.2)
    return folder


def fresh(replica: Replica, adapters: Path) -> Replica:
    replica.wait_ready()
    with replica.client() as client:
        for name in ("a", "b"):
            assert client.put(f"/adapters/{name}", json={"path": str(adapters / f"{name}.gguf")}).status_code == 200
    return replica


def test_every_adapter_under_every_isolation_key_answers_as_a_cold_process_does(
    launch: Launch, q4_0: Path, adapters: Path
) -> None:
    replica, *others = [launch(q4_0, *SIZE) for _ in (None, *ADAPTERS)]  # they load beside each other
    cold = {
        name: ask_all(fresh(one, adapters), [body_of(name, None)])[0].tokens
        for name, one in zip(ADAPTERS, others, strict=True)
    }
    assert len(set(cold.values())) == len(ADAPTERS)
    fresh(replica, adapters)
    pairs = [(name, key) for key in KEYS for name in ADAPTERS]
    bodies = [body_of(name, key) for name, key in pairs]
    first, second, together = ask_all(replica, bodies), ask_all(replica, bodies), ask_all(replica, bodies * 2, SLOTS)
    for answers in (first, second, together):
        assert [one.tokens for one in answers] == [cold[name] for name, _key in pairs] * (len(answers) // len(pairs))
    assert not any(one.cached for one in first)
    assert all(one.cached for one in second)


async def test_requests_under_different_keys_at_the_same_time_share_nothing(launch: Launch, q4_0: Path) -> None:
    replica = launch(q4_0, *SIZE)
    replica.wait_ready()
    async with replica.async_client() as client:
        alone = await answer(client, body_of(None, "first"))
        keys = [str(number) for number in range(SLOTS)]
        answers = await gather(client, [body_of(None, key) for key in keys], SLOTS)
        header = {"x-prompt-cache-isolation-key": "in a header"}
        in_header = (await client.post("/v1/completions", json=body_of(None, None), headers=header)).json()
    assert [one.tokens for one in answers] == SLOTS * [alone.tokens]
    assert not any(one.cached for one in answers)
    assert in_header["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert tuple(in_header["choices"][0]["token_ids"]) == alone.tokens


# Greedy text against llama.cpp itself

TOKENS = 16
# Attention as llama.cpp itself chooses ("auto" is flash attention on a CPU, too); the class below would switch it off.
DIRECT = """
import json, sys
from llama_cpp import Llama, llama_cpp

model = Llama(sys.argv[1], n_ctx=512, n_threads=1, n_threads_batch=1, flash_attn=True, verbose=False)
vocabulary = llama_cpp.llama_model_get_vocab(model._model.model)

def greedy(prompt):
    model.reset()
    made = []
    for token in model.generate(prompt, temp=0.0, repeat_penalty=1.0):
        if llama_cpp.llama_vocab_is_eog(vocabulary, token):
            break
        made.append(token)
        if len(made) == int(sys.argv[2]):
            break
    return made

print(json.dumps([greedy(prompt) for prompt in json.load(sys.stdin)]))
"""


def direct(model: Path, prompts: list[list[int]]) -> list[list[int]]:
    """The tokens that llama.cpp writes after each prompt."""
    command = [sys.executable, "-c", DIRECT, str(model), str(TOKENS)]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(prompts), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    texts: list[list[int]] = json.loads(done.stdout)
    return texts


def same_as_direct(launch: Launch, model: Path, prompts: list[list[int]]) -> None:
    replica = launch(model, *SIZE)
    replica.wait_ready()
    greedy = {"max_tokens": TOKENS, "temperature": 0, "return_token_ids": True}
    answers = ask_all(replica, [{"prompt": prompt} | greedy for prompt in prompts], at_once=SLOTS)
    assert [list(one.tokens) for one in answers] == direct(model, prompts)


@pytest.mark.parametrize("prompts", [52, pytest.param(100, marks=pytest.mark.soak)])
def test_greedy_text_is_that_of_llama_cpp_called_directly(launch: Launch, q4_0: Path, prompts: int) -> None:
    """A prompt is evaluated in one call there. Prompts have 8 to 200 tokens, eight are asked at the same time here."""
    same_as_direct(launch, q4_0, real_prompts(q4_0, prompts))


@pytest.mark.soak
def test_greedy_text_of_the_embedded_model_is_that_of_llama_cpp_called_directly(launch: Launch, smollm2: Path) -> None:
    same_as_direct(launch, smollm2, real_prompts(smollm2, 100))
