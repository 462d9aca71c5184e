"""Embeddings of real models, and of a small BERT whose vectors and scores numpy can check."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from client.errors import FailedPrecondition, InvalidArgument
from engine.replica import llama
from engine.replica.call import ClientGone
from engine.replica.embeddings import embed
from engine.replica.pooler import Pooler
from engine.replica.rerank import rerank
from tests.encoders import CLS, LENGTH, RANK, SEP, Bert, ids
from tests.engine.conftest import KEY, Launch, Replica

pytestmark = pytest.mark.model

CAT, RUG = "The cat sits on the mat.", "A cat is sitting on a rug."
MONEY = "Quarterly revenue grew by nine percent because of cloud sales."
TEXTS = [CAT, RUG, MONEY, "Hello there, how are you today, my friend?", CAT]
POOLED: dict[int | None, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    None: lambda hidden: hidden.mean(axis=0),
    0: lambda hidden: hidden.mean(axis=0),
    1: lambda hidden: hidden.mean(axis=0),
    2: lambda hidden: hidden[0],
    3: lambda hidden: hidden[-1],
}


def opened(path: Path, context: int = 192) -> Pooler:
    llama.start_backend()
    model = llama.Model(str(path), gpu_layers=0, progress=lambda _: True)
    return Pooler(model, threads=1, context=context)


@pytest.fixture(scope="module", params=["smollm2", "gemma"])
def generator(request: pytest.FixtureRequest) -> Iterator[Pooler]:
    pooler = opened(request.getfixturevalue(request.param))
    yield pooler
    pooler.close()
    pooler.model.close()


@pytest.fixture
async def encoder(tmp_path: Path) -> AsyncIterator[Callable[..., Pooler]]:
    made: list[Pooler] = []

    def make(bert: Bert, **options: Any) -> Pooler:
        made.append(opened(bert.write(tmp_path / f"{len(made)}.gguf", **options)))
        return made[-1]

    yield make
    for pooler in made:
        pooler.close()
        pooler.model.close()


async def vectors(pooler: Pooler, given: Any, **fields: Any) -> NDArray[np.float32]:
    raw = json.dumps({"model": "m", "input": given} | fields).encode()
    body, _tokens = await embed(pooler, raw, threading.Event())
    return np.array([item["embedding"] for item in json.loads(body)["data"]], np.float32)


async def test_the_same_text_gives_the_same_vector_of_length_one(generator: Pooler) -> None:
    once, twice = await vectors(generator, TEXTS), await vectors(generator, TEXTS)
    assert np.array_equal(once, twice)
    assert np.array_equal(once[0], once[4])
    assert np.allclose(np.linalg.norm(once, axis=1), 1, atol=1e-6)
    assert once.shape == (5, generator.model.dimensions)


async def test_a_text_gives_the_same_vector_alone_and_among_others(generator: Pooler) -> None:
    together = await vectors(generator, TEXTS)
    alone = np.concatenate([await vectors(generator, text) for text in TEXTS])
    assert np.array_equal(together, alone)


async def test_sentences_alike_are_closer_than_others(generator: Pooler) -> None:
    cat, rug, money = await vectors(generator, [CAT, RUG, MONEY])
    assert cat @ rug > cat @ money + 0.05
    assert cat @ rug > rug @ money + 0.05


async def test_token_ids_give_what_their_text_gives(generator: Pooler) -> None:
    tokens = generator.model.vocabulary.tokenize(CAT, add_special=True, parse_special=False)
    assert np.array_equal(await vectors(generator, CAT), await vectors(generator, tokens))
    assert np.array_equal(await vectors(generator, [CAT, CAT]), await vectors(generator, [tokens, tokens]))


async def test_a_vector_can_be_cut_or_left_as_it_is(generator: Pooler) -> None:
    whole, raw = await vectors(generator, CAT), await vectors(generator, CAT, normalize=False)
    cut = await vectors(generator, CAT, dimensions=64)
    assert np.linalg.norm(raw) > 1.5
    assert np.allclose(raw / np.linalg.norm(raw), whole, atol=1e-6)
    assert np.allclose(cut, whole[:, :64] / np.linalg.norm(whole[:, :64]), atol=1e-6)


async def assert_the_same_in_other_calls(pooler: Pooler) -> None:
    """The vector of a text as long as the limit, read in as few calls as possible and in calls of 24 tokens."""
    tokens = (pooler.model.vocabulary.tokenize(MONEY, add_special=True, parse_special=False) * 40)[: pooler.limit]
    assert len(tokens) == pooler.limit
    whole = await vectors(pooler, tokens)
    pooling = pooler._opened()
    calls, pooling._call = pooling._call, 24
    try:
        cut = await vectors(pooler, tokens)
    finally:
        pooling._call = calls
    assert (whole @ cut.T).item() > 0.9999  # kernels for few rows round otherwise


async def test_the_mean_of_a_long_text_does_not_depend_on_how_it_is_cut_into_calls(generator: Pooler) -> None:
    await assert_the_same_in_other_calls(generator)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["smollm2", "gemma"])
async def test_the_mean_of_a_text_of_several_batches_does_not_depend_on_how_it_is_cut_into_calls(
    request: pytest.FixtureRequest, name: str
) -> None:
    pooler = opened(request.getfixturevalue(name), context=512)
    try:
        await assert_the_same_in_other_calls(pooler)
    finally:
        pooler.close()
        pooler.model.close()


async def test_texts_packed_as_on_a_gpu_hardly_move(generator: Pooler) -> None:
    tokens = [generator.model.vocabulary.tokenize(t, add_special=True, parse_special=False) for t in TEXTS]
    packing = llama.Pooling(generator.model, threads=1, context=256, on_gpu=True)
    try:
        assert packing.slots > len(tokens)
        few = tokens if sum(map(len, tokens)) <= packing.batch else tokens[:3]
        packed = packing.embed(few, lambda: True)
        with pytest.raises(ValueError, match="token ids"):
            packing.embed([[generator.model.vocabulary.size]], lambda: True)
    finally:
        packing.close()
    packed /= np.linalg.norm(packed, axis=1, keepdims=True)
    alone = await vectors(generator, TEXTS[: len(few)])
    assert (packed * alone).sum(axis=1).min() > 0.999


async def test_a_text_beyond_the_limit_is_refused_and_never_cut(generator: Pooler) -> None:
    fits, too_long = [5] * generator.limit, [5] * (generator.limit + 1)
    assert np.isfinite(await vectors(generator, fits)).all()
    with pytest.raises(InvalidArgument, match=str(generator.limit)) as refused:
        await vectors(generator, [[5], too_long])
    assert refused.value.field == "input.1"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input.1"),
        ({"input": [[1], []]}, "input.1"),
        ({"input": [10**6]}, "input"),
        ({"input": "word " * 1_000_000}, "input"),
        ({"input": [[5] * 180] * 1700}, "input"),
        ({"dimensions": 10**6}, "dimensions"),
        ({"return_logits": []}, "return_logits"),
        ({"prompt_template": "{text}"}, "prompt_template"),
        ({"lora": [{"name": "a"}]}, "lora"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_embedded_is_refused_by_name(
    generator: Pooler, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await vectors(generator, "x", **fields)
    assert refused.value.field == field


async def test_a_client_that_left_stops_the_work(generator: Pooler) -> None:
    gone, before = threading.Event(), generator.prompt_tokens
    gone.set()
    with pytest.raises(ClientGone):
        await embed(generator, json.dumps({"input": TEXTS * 20}).encode(), gone)
    assert (generator.running, generator.prompt_tokens, generator.last_progress_age_s) == (0, before, 0.0)


async def test_a_model_that_generates_is_no_reranker(generator: Pooler) -> None:
    with pytest.raises(FailedPrecondition, match="no reranker"):
        await rerank(generator, b'{"query": "q", "documents": ["d"]}', threading.Event())


@pytest.mark.parametrize("pooling", POOLED)
async def test_an_encoder_pools_as_its_file_says(encoder: Callable[..., Pooler], pooling: int | None) -> None:
    bert = Bert.random()
    pooler = encoder(bert, pooling=pooling)
    texts = ["the cat sat on the mat", "bank raised rates today", "ice cream"]
    expected = [POOLED[pooling](bert.hidden([CLS, *ids(text), SEP])) for text in texts]
    found = await vectors(pooler, texts, normalize=False)
    assert np.allclose(found, expected, atol=0.01)  # llama.cpp's GELU is a table of half-precision values
    alone = np.concatenate([await vectors(pooler, text, normalize=False) for text in texts])
    assert np.allclose(found, alone, atol=1e-5)
    assert not pooler.model.generates


async def test_an_encoder_reads_as_many_tokens_as_it_has_positions(encoder: Callable[..., Pooler]) -> None:
    bert = Bert.random()
    pooler = encoder(bert, pooling=1)
    tokens = [5 + i % 20 for i in range(LENGTH)]
    found = await vectors(pooler, [tokens] * 3, normalize=False)
    assert np.allclose(found, bert.hidden(tokens).mean(axis=0), atol=0.01)
    with pytest.raises(InvalidArgument, match=f"limit is {LENGTH}"):
        await vectors(pooler, [*tokens, 5])


DOCUMENTS = ["the cat sat on the mat", "ice cream is cold", "bank raised rates", "a dog"]


async def ranked(pooler: Pooler, **fields: Any) -> dict[str, Any]:
    raw = json.dumps({"model": "m", "query": "cat on mat", "documents": DOCUMENTS} | fields).encode()
    body, _tokens = await rerank(pooler, raw, threading.Event())
    return json.loads(body)


def pair(document: str) -> list[int]:
    return [CLS, *ids("cat on mat"), SEP, *ids(document), SEP]


async def test_a_reranker_orders_documents_by_the_sigmoid_of_its_head(encoder: Callable[..., Pooler]) -> None:
    bert = Bert.random()
    answer = await ranked(encoder(bert, pooling=RANK))
    expected = [1 / (1 + np.exp(-bert.logits(pair(document))[0])) for document in DOCUMENTS]
    scores = {item["index"]: item["relevance_score"] for item in answer["data"]}
    assert np.allclose([scores[index] for index in range(4)], expected, atol=0.002)
    assert [item["index"] for item in answer["data"]] == sorted(range(4), key=lambda i: -expected[i])
    assert answer["data"] == answer["results"]
    assert all(item["document"] == DOCUMENTS[item["index"]] for item in answer["data"])
    assert answer["usage"]["prompt_tokens"] == sum(len(pair(document)) for document in DOCUMENTS)


async def test_a_head_with_labels_says_how_likely_yes_is(encoder: Callable[..., Pooler]) -> None:
    bert = Bert.random(outputs=2)
    answer = await ranked(encoder(bert, pooling=RANK, labels=["no", "yes"]))
    logits = np.array([bert.logits(pair(document)) for document in DOCUMENTS])
    expected = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    scores = {item["index"]: item["relevance_score"] for item in answer["data"]}
    assert np.allclose([scores[index] for index in range(4)], expected, atol=0.002)


async def test_top_n_and_return_documents_shorten_the_answer(encoder: Callable[..., Pooler]) -> None:
    answer = await ranked(encoder(Bert.random(), pooling=RANK), top_n=2, return_documents=False)
    assert len(answer["data"]) == 2
    assert "document" not in answer["data"][0]


async def test_an_unknown_pooling_type_is_told_at_the_first_request(encoder: Callable[..., Pooler]) -> None:
    with pytest.raises(FailedPrecondition, match="pooling type 9"):
        await vectors(encoder(Bert.random(), pooling=9), "cat")


async def test_a_head_for_other_classes_is_no_reranker(encoder: Callable[..., Pooler]) -> None:
    with pytest.raises(FailedPrecondition, match="no reranker"):
        await ranked(encoder(Bert.random(outputs=3), pooling=RANK, labels=["joy", "fear", "rage"]))


async def test_a_reranker_makes_no_embeddings_and_takes_no_task(encoder: Callable[..., Pooler]) -> None:
    pooler = encoder(Bert.random(), pooling=RANK)
    with pytest.raises(FailedPrecondition, match="rerank"):
        await vectors(pooler, "cat")
    with pytest.raises(InvalidArgument) as refused:
        await ranked(pooler, task="find cats")
    assert refused.value.field == "task"
    with pytest.raises(InvalidArgument) as refused:
        await ranked(pooler, documents=["cat " * LENGTH])
    assert refused.value.field == "documents"


# Through the process


def sdk(replica: Replica) -> openai.OpenAI:
    transport = httpx.HTTPTransport(uds=str(replica.socket))
    return openai.OpenAI(
        base_url="http://replica/v1", api_key=KEY, max_retries=0, http_client=httpx.Client(transport=transport)
    )


def test_the_openai_sdk_reads_embeddings_in_its_own_encoding_and_as_floats(replica: Replica) -> None:
    with sdk(replica) as client:
        packed = client.embeddings.create(model="m", input=[CAT, MONEY])  # base64, unless told otherwise
        floats = client.embeddings.create(model="m", input=[CAT, MONEY], encoding_format="float", dimensions=576)
    assert [item.index for item in packed.data] == [0, 1]
    assert np.array_equal(
        np.array([i.embedding for i in packed.data], np.float32),
        np.array([i.embedding for i in floats.data], np.float32),
    )
    assert packed.model == "m"
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 10


def test_embeddings_and_generation_share_a_replica(client: httpx.Client) -> None:
    asked = {"prompt": "One, two,", "max_tokens": 8, "temperature": 0}
    before = client.post("/v1/completions", json=asked).json()["choices"][0]["text"]
    answer = client.post("/v1/embeddings", json={"input": CAT, "encoding_format": "base64"})
    assert len(base64.b64decode(answer.json()["data"][0]["embedding"])) == 4 * 576
    assert int(answer.headers["fireworks-prompt-tokens"]) == answer.json()["usage"]["prompt_tokens"]
    assert client.post("/v1/completions", json=asked).json()["choices"][0]["text"] == before


def test_bad_pooling_requests_leave_the_replica_as_it_was(client: httpx.Client) -> None:
    for path, body in [
        ("/v1/embeddings", b"{"),
        ("/v1/embeddings", b'{"input": ["a", 1]}'),
        ("/v1/embeddings", b'{"input": [' + b"9" * 30 + b"]}"),
        ("/v1/embeddings", b'{"input": "\\ud800"}'),
        ("/v1/rerank", b'{"query": "q", "documents": ["d"]}'),
        ("/v1/rerank", b"[]"),
    ]:
        answer = client.post(path, content=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"]
    assert client.get("/v1/embeddings").status_code == 405
    assert client.post("/v1/embeddings", json={"input": CAT}).status_code == 200


def test_a_replica_of_an_encoder_is_ready_and_says_that_it_writes_no_text(launch: Launch, tmp_path: Path) -> None:
    bert = Bert.random()
    encoder = launch(bert.write(tmp_path / "bert.gguf", pooling=2))
    encoder.wait_ready()
    with encoder.client() as client:
        for path, body in [
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
            ("/v1/completions", {"prompt": "hi"}),
        ]:
            refused = client.post(path, json=body)
            assert refused.status_code == 400
            assert "embeddings" in refused.json()["error"]["message"]
        assert client.get("/stats").status_code == 200
        answer = client.post("/v1/embeddings", json={"input": "the cat", "normalize": False}).json()
    expected = bert.hidden([CLS, *ids("the cat"), SEP])[0]
    assert np.allclose(answer["data"][0]["embedding"], expected, atol=0.01)


def test_a_drain_lets_running_embeddings_end(launch: Launch, smollm2: Path) -> None:
    replica = launch(smollm2, "--context", "512")
    replica.wait_ready()
    answers: list[httpx.Response] = []

    def ask() -> None:
        with replica.client() as client:
            answers.append(client.post("/v1/embeddings", json={"input": [MONEY] * 24}))

    asking = threading.Thread(target=ask)
    asking.start()
    with replica.client() as client:
        while not client.get("/health").json()["running"]:
            if not asking.is_alive():  # it was over before somebody looked
                asking = threading.Thread(target=ask)
                asking.start()
            time.sleep(0.01)
    replica.process.terminate()
    asking.join()
    assert answers[-1].status_code == 200
    assert replica.process.wait(60) == 0
