"""LoRA adapters on a real model: loaded and unloaded while it serves, chosen and scaled per request, never mixed up."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from client.errors import FailedPrecondition
from engine.replica import llama
from engine.replica.adapters import Adapters
from engine.replica.llama import Adapter, Context, LoadError, Logits, Model, Shape
from tests import adapter_files
from tests.engine.conftest import ROOT, SMOLLM2, Launch, Replica, model_file

pytestmark = pytest.mark.model

PROMPT = "The capital of France is"
Uses = list[tuple[str, float]]


class Files(NamedTuple):
    a: Path
    b: Path
    zero: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Two random adapters of SmolLM2 and one that does nothing."""
    folder, model = tmp_path_factory.mktemp("adapters"), model_file(SMOLLM2)
    return Files(
        adapter_files.make(folder / "a.gguf", model, seed=1),
        adapter_files.make(folder / "b.gguf", model, seed=2, rank=8, strength=0.2),
        adapter_files.make(folder / "zero.gguf", model, seed=3, strength=0.0),
    )


# In this process: the registry over llama.cpp


class Bench:
    """A model with one context and a registry, asked for the logits of a few greedy steps."""

    def __init__(self, path: Path, max_cached: int) -> None:
        llama.start_backend()
        self.model = Model(str(path), gpu_layers=0, progress=lambda _fraction: True)
        self.context = Context(self.model, Shape(slots=1, context=256, threads=1))
        self.registry = Adapters(self.model, path, max_cached=max_cached)

    def logits(self, uses: Uses) -> Logits:
        """(8, n_vocab), of the prompt's last token and seven greedy steps."""
        self.registry.activate(self.context, self.registry.resolve(uses), set())
        self.context.keep(0, 0)
        prompt = self.model.vocabulary.tokenize(PROMPT, add_special=True, parse_special=False)
        assert self.context.prefill(0, np.asarray(prompt, np.int32), 0, rows="last") == 0
        rows = [self.context.logits(1)[0].copy()]
        for position in range(len(prompt), len(prompt) + 7):
            assert self.context.decode_step([0], [int(np.argmax(rows[-1]))], [position]) == 0
            rows.append(self.context.logits(1)[0].copy())
        return np.stack(rows)

    def close(self) -> None:
        self.context.close()
        self.model.close()


@pytest.fixture
def bench(smollm2: Path, files: Files) -> Iterator[Bench]:
    bench = Bench(smollm2, max_cached=2)
    for name, path in files._asdict().items():
        bench.registry.register(name, path)
    yield bench
    bench.close()


def test_an_adapter_that_does_nothing_leaves_every_logit_as_it_is(bench: Bench) -> None:
    bare = bench.logits([])
    assert np.array_equal(bench.logits([("zero", 1.0)]), bare)
    assert np.array_equal(bench.logits([("a", 0.0)]), bare)


def test_a_change_of_adapters_leaves_nothing_behind(bench: Bench) -> None:
    bare, a, b = bench.logits([]), bench.logits([("a", 1.0)]), bench.logits([("b", 1.0)])
    assert not np.allclose(a, bare, atol=0.5)
    assert not np.allclose(b, a, atol=0.5)
    for _ in range(2):
        assert np.array_equal(bench.logits([("a", 1.0)]), a)
        assert np.array_equal(bench.logits([("b", 1.0)]), b)
        assert np.array_equal(bench.logits([]), bare)


def test_logits_under_an_adapter_do_not_depend_on_how_a_prompt_is_cut(bench: Bench) -> None:
    bench.registry.activate(bench.context, bench.registry.resolve([("a", 1.0)]), set())
    prompt = np.asarray(bench.model.vocabulary.tokenize(PROMPT, add_special=True, parse_special=False), np.int32)

    def last(chunks: list[int]) -> Logits:
        bench.context.keep(0, 0)
        at = 0
        for chunk in chunks:
            assert bench.context.prefill(0, prompt[at : at + chunk], at, rows="last") == 0
            at += chunk
        return bench.context.logits(1)[0].copy()

    whole = last([len(prompt)])
    for chunks in ([len(prompt) - 1, 1], [1] * len(prompt), [2, len(prompt) - 2]):
        assert np.array_equal(last(chunks), whole)


def test_half_the_scale_is_another_model(bench: Bench) -> None:
    whole, half = bench.logits([("a", 1.0)]), bench.logits([("a", 0.5)])
    assert not np.allclose(whole, half, atol=0.5)
    assert np.array_equal(bench.logits([("a", 1.0)]), whole)


def test_two_adapters_at_once_are_the_same_in_either_order(bench: Bench) -> None:
    both = bench.logits([("a", 1.0), ("b", 0.5)])
    assert not np.allclose(both, bench.logits([("a", 1.0)]), atol=0.5)
    assert np.array_equal(bench.logits([("b", 0.5), ("a", 1.0)]), both)


def test_an_adapter_that_had_to_go_comes_back_the_same(smollm2: Path, files: Files) -> None:
    bench = Bench(smollm2, max_cached=1)
    bench.registry.register("a", files.a)
    bench.registry.register("b", files.b)
    first = bench.logits([("a", 1.0)])
    for name in ("b", "a", "b"):
        bench.logits([(name, 1.0)])
        assert [info.name for info in bench.registry.infos() if info.state == "cached"] == [name]
    assert np.array_equal(bench.logits([("a", 1.0)]), first)
    bench.registry.unregister("a")
    bench.registry.sweep(set())
    bench.logits([])
    bench.close()


def test_a_gemma_takes_adapters_too(gemma: Path, tmp_path: Path) -> None:
    bench = Bench(gemma, max_cached=1)
    bench.registry.register("a", adapter_files.make(tmp_path / "a.gguf", gemma, seed=1))
    bare = bench.logits([])
    assert not np.allclose(bench.logits([("a", 1.0)]), bare, atol=0.5)
    assert np.array_equal(bench.logits([]), bare)
    bench.close()


def test_an_adapter_of_another_model_is_refused_with_the_reason(bench: Bench, gemma: Path, tmp_path: Path) -> None:
    foreign = adapter_files.make(tmp_path / "gemma.gguf", gemma, seed=1)
    with pytest.raises(FailedPrecondition, match="architecture 'gemma3', the base is 'llama'"):
        bench.registry.register("gemma", foreign)


def test_what_llama_cpp_itself_refuses_is_an_error_with_its_reason(bench: Bench, gemma: Path, tmp_path: Path) -> None:
    foreign = adapter_files.make(tmp_path / "gemma.gguf", gemma, seed=1)
    with pytest.raises(LoadError, match="model arch and LoRA arch mismatch"):
        Adapter(bench.model, str(foreign))
    small = [(f"blk.0.attn_q.weight.lora_{side}", np.ones((4, 4), np.float32)) for side in "ab"]
    wrong = adapter_files.write(tmp_path / "small.gguf", small)
    with pytest.raises(LoadError, match="incorrect shape"):
        Adapter(bench.model, str(wrong))
    with pytest.raises(LoadError, match="failed to open"):
        Adapter(bench.model, str(tmp_path / "none.gguf"))


def test_an_adapter_tells_its_metadata(bench: Bench, files: Files) -> None:
    adapter = Adapter(bench.model, str(files.a))
    assert adapter.meta("adapter.type") == "lora"
    assert adapter.meta("no.such.key") is None
    adapter.close()
    with pytest.raises(ValueError, match="closed"):
        llama.set_adapters(bench.context, [(adapter, 1.0)])


FEED_DAMAGED = """
import random, sys
from pathlib import Path
from client.errors import InvalidArgument
from tests.engine.test_replica_adapters import Bench
whole, bench = Path(sys.argv[2]).read_bytes(), Bench(Path(sys.argv[1]), 1)
damaged, chance, served = Path(sys.argv[3]), random.Random(7), 0
for number in range(120):
    content = bytearray(whole)
    for _ in range(chance.choice([1, 1, 4])):
        content[chance.randrange(2000 if number % 2 else len(content))] ^= 1 << chance.randrange(8)
    damaged.write_bytes(content)
    try:
        bench.registry.register("x", damaged)
        bench.logits([("x", 1.0)])
        bench.registry.unregister("x")
        served += 1
    except InvalidArgument:
        pass
print(served)
"""


def test_a_damaged_adapter_that_passes_the_check_never_ends_the_process(smollm2: Path, tmp_path: Path) -> None:
    whole = adapter_files.make(tmp_path / "whole.gguf", smollm2, seed=1, rank=1, layers=1)
    command = [sys.executable, "-c", FEED_DAMAGED, str(smollm2), str(whole), str(tmp_path / "damaged.gguf")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0 < int(done.stdout) < 120


# Over HTTP: one replica process


@pytest.fixture
def serving(launch: Launch, q4_0: Path) -> Replica:
    replica = launch(q4_0, "--slots", "4", "--context", "512")
    replica.wait_ready()
    return replica


def register(client: httpx.Client, name: str, path: Path) -> dict[str, Any]:
    answer = client.put(f"/adapters/{quote(name, safe='')}", json={"path": str(path)})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def body_of(uses: Uses, **more: Any) -> dict[str, Any]:
    lora = [{"id": name, "scale": scale} for name, scale in uses]
    return {"prompt": PROMPT, "max_tokens": 24, "temperature": 0, "ignore_eos": True, "lora": lora} | more


def text_of(client: httpx.Client, uses: Uses, **more: Any) -> str:
    answer = client.post("/v1/completions", json=body_of(uses, **more))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def cold(launch: Launch, model: Path, files: Files, uses: Uses) -> str:
    """What a process that has served nothing else answers."""
    replica = launch(model, "--slots", "4", "--context", "512")
    replica.wait_ready()
    with replica.client() as client:
        for name, path in files._asdict().items():
            register(client, name, path)
        text = text_of(client, uses)
    replica.process.terminate()
    replica.process.wait(60)
    return text


def test_a_then_b_then_none_each_answer_as_a_cold_process_does(
    launch: Launch, serving: Replica, q4_0: Path, files: Files
) -> None:
    asked: list[Uses] = [[("a", 1.0)], [("b", 1.0)], [], [("a", 0.5)], [("zero", 1.0)]]
    with serving.client() as client:
        for name, path in files._asdict().items():
            register(client, name, path)
        warm = [text_of(client, uses) for _ in range(2) for uses in asked]
    assert warm[:5] == warm[5:]
    assert warm[:4] == [cold(launch, q4_0, files, uses) for uses in asked[:4]]
    assert warm[4] == warm[2]
    assert len(set(warm)) == 4


def test_requests_under_different_adapters_at_once_all_get_their_own_answer(serving: Replica, files: Files) -> None:
    asked: list[Uses] = [[("a", 1.0)], [("b", 1.0)], [], [("a", 0.5)], [("a", 1.0), ("b", 0.5)], [("b", 1.0)]]
    with serving.client() as client:
        for name, path in files._asdict().items():
            register(client, name, path)
        alone = [text_of(client, uses) for uses in asked]
    together: dict[int, str] = {}

    def ask(number: int) -> None:
        with serving.client() as client:
            together[number] = text_of(client, asked[number % len(asked)])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3 * len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(len(threads))] == 3 * alone


def test_an_adapter_unloaded_while_a_stream_runs_under_it_lets_the_stream_finish(
    serving: Replica, files: Files
) -> None:
    name = "accounts/local/models/tone"
    with serving.client() as client, serving.client() as other:
        assert register(client, name, files.a)["name"] == name
        whole = text_of(client, [(name, 1.0)], max_tokens=200)
        body = body_of([(name, 1.0)], max_tokens=200, stream=True)
        with client.stream("POST", "/v1/completions", json=body) as stream:
            lines = stream.iter_lines()
            events = [next(line for line in lines if line)]
            assert other.delete(f"/adapters/{quote(name, safe='')}").json() == {}
            assert other.get("/adapters").json() == {"adapters": []}
            refused = other.post("/v1/completions", json=body_of([(name, 1.0)]))
            assert refused.status_code == 404
            assert refused.json()["error"]["code"] == "NOT_FOUND"
            events += [line for line in lines if line]
        assert events[-1] == "data: [DONE]"
        texts = [choice["text"] for e in events[:-1] for choice in json.loads(e.removeprefix("data: "))["choices"]]
        assert "".join(texts) == whole
        assert other.delete(f"/adapters/{quote(name, safe='')}").status_code == 404


def test_a_name_loaded_again_with_other_weights_never_answers_from_the_old_ones(serving: Replica, files: Files) -> None:
    with serving.client() as client:
        register(client, "b", files.b)
        register(client, "tone", files.a)
        old = text_of(client, [("tone", 1.0)])
        register(client, "tone", files.b)
        new = text_of(client, [("tone", 1.0)])
        assert new == text_of(client, [("b", 1.0)])
        assert new != old


def test_more_adapters_than_places_all_get_their_turn(launch: Launch, q4_0: Path, files: Files) -> None:
    replica = launch(q4_0, "--slots", "4", "--context", "512", "--adapters-cached", "1")
    replica.wait_ready()
    with replica.client() as client:
        register(client, "a", files.a)
        register(client, "b", files.b)
        alone = {name: text_of(client, [(name, 1.0)]) for name in ("a", "b")}
        cached = [one["name"] for one in client.get("/adapters").json()["adapters"] if one["state"] == "cached"]
        assert cached == ["b"]
    answers: list[tuple[str, str]] = []

    def ask(name: str) -> None:
        with replica.client() as client:
            answers.append((name, text_of(client, [(name, 1.0)])))

    threads = [threading.Thread(target=ask, args=("ab"[number % 2],)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    assert all(text == alone[name] for name, text in answers)


def test_files_and_uses_that_cannot_be_served_are_refused_with_the_reason(
    serving: Replica, files: Files, gemma: Path, tmp_path: Path
) -> None:
    foreign = adapter_files.make(tmp_path / "gemma.gguf", gemma, seed=1)
    with serving.client() as client:
        for path, reason in ((foreign, "the base is 'llama'"), (gemma, "not an adapter"), (tmp_path, "not a file")):
            answer = client.put("/adapters/x", json={"path": str(path)})
            assert answer.status_code == 400
            assert reason in answer.json()["error"]["message"]
        register(client, "a", files.a)
        for scale in (1e9, -101):
            assert client.post("/v1/completions", json=body_of([("a", scale)])).status_code == 400
        twice = client.post("/v1/completions", json=body_of([("a", 1), ("a", 1)]))
        assert twice.status_code == 400
        assert client.get("/adapters", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_a_file_that_vanished_fails_only_the_requests_that_need_it(
    serving: Replica, files: Files, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.gguf"
    gone.write_bytes(files.a.read_bytes())
    with serving.client() as client:
        register(client, "gone", gone)
        gone.unlink()
        refused = client.post("/v1/completions", json=body_of([("gone", 1.0)]))
        assert refused.status_code == 400
        assert "cannot be loaded" in refused.json()["error"]["message"]
        assert "/adapters" not in refused.json()["error"]["message"].replace("the adapter", "")
        assert text_of(client, [])


def test_an_adapter_whose_products_are_no_numbers_spoils_no_later_answer(
    launch: Launch, q4_0: Path, tmp_path: Path
) -> None:
    huge = adapter_files.make(tmp_path / "huge.gguf", q4_0, seed=1, strength=1e6, layers=None)
    long = {"prompt": "The capital of France is " * 30, "max_tokens": 8}
    replica = launch(q4_0, "--slots", "1", "--context", "512")
    replica.wait_ready()
    with replica.client() as client:
        register(client, "huge", huge)
        before = text_of(client, [], **long)
        for _ in range(4):
            failed = client.post("/v1/completions", json=body_of([("huge", 1.0)], **long))
            assert (failed.status_code, failed.json()["error"]["code"]) == (500, "INTERNAL")
        assert [text_of(client, [], **long, prompt_cache_isolation_key=str(n)) for n in range(4)] == 4 * [before]


@pytest.mark.parametrize("options", [("--slots", "3"), ("--slots", "3", "--kv-tokens", "1024")], ids=["own", "shared"])
def test_requests_beside_one_whose_numbers_overflow_are_answered(
    launch: Launch, q4_0: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    huge = adapter_files.make(tmp_path / "huge.gguf", q4_0, seed=1, strength=1e6, layers=None)
    replica = launch(q4_0, "--context", "512", *options)
    replica.wait_ready()
    statuses: list[int] = []

    def beside() -> None:
        with replica.client() as client:
            statuses.append(client.post("/v1/completions", json=body_of([], max_tokens=300)).status_code)

    with replica.client() as client:
        register(client, "huge", huge)
        threads = [threading.Thread(target=beside) for _ in range(2)]
        for thread in threads:
            thread.start()
        long = "The capital of France is " * 30
        failed = [client.post("/v1/completions", json=body_of([("huge", 1.0)], prompt=long)) for _ in range(6)]
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in failed} == {500}
        assert statuses == [200, 200]
        for n in range(6):
            assert text_of(client, [], prompt=long, prompt_cache_isolation_key=str(n))
