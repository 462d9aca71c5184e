"""The wire of POST /v1/embeddings: OpenAI's request and answer, with Fireworks' `normalize`.

Source: https://docs.fireworks.ai/api-reference/creates-an-embedding-vector-representing-the-input-text
        https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading

import numpy as np

from client.errors import InvalidArgument
from engine.replica.llama import Vectors
from engine.replica.pooler import Pooler
from engine.replica.pooling_fields import NOT_WITH_EMBEDDINGS, EmbeddingRequest
from engine.replica.wire_types import read


async def embed(pooler: Pooler, raw: bytes, gone: threading.Event) -> tuple[bytes, int]:
    """The answer's body and the tokens read. Raises FiredeckError for what is wrong, ClientGone once `gone` is set."""
    pooler.require_vectors()
    request, inputs = await asyncio.to_thread(_prepare, pooler, raw)
    vectors = await pooler.vectors(inputs, gone)
    tokens = sum(map(len, inputs))
    return await asyncio.to_thread(_body, request, vectors, tokens), tokens


def _prepare(pooler: Pooler, raw: bytes) -> tuple[EmbeddingRequest, list[list[int]]]:
    request = read(EmbeddingRequest, raw, NOT_WITH_EMBEDDINGS)
    largest = pooler.model.dimensions
    if request.dimensions is not None and request.dimensions > largest:
        raise InvalidArgument(f"dimensions: this model's vectors have {largest}", field="dimensions")
    inputs = [_tokens(pooler, one) for one in request.input]
    pooler.check(inputs, "input")
    return request, inputs


def _tokens(pooler: Pooler, one: str | list[int]) -> list[int]:
    """Ids are taken as they are. An empty text is refused (as OpenAI does), though opening tokens would be left."""
    if isinstance(one, str) and one:
        return pooler.prompts.text(one, parse_special=False, field="input")
    return list(one) if isinstance(one, list) else []


def shaped(vectors: Vectors, dimensions: int | None, *, normalize: bool) -> Vectors:
    """Cut to the first `dimensions` (Matryoshka) and then brought to length 1, unless `normalize` is False."""
    cut = vectors[:, :dimensions]
    if not normalize:
        return cut
    lengths = np.linalg.norm(cut.astype(np.float64), axis=1, keepdims=True)
    return (cut / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _body(request: EmbeddingRequest, vectors: Vectors, tokens: int) -> bytes:
    """JSON made an embedding at a time: millions of numbers in one call would hold the interpreter's lock."""
    in_base64 = request.encoding_format == "base64"
    data = [
        json.dumps({"object": "embedding", "index": index, "embedding": _encoded(vector, in_base64=in_base64)})
        for index, vector in enumerate(shaped(vectors, request.dimensions, normalize=request.normalize is not False))
    ]
    usage = json.dumps({"prompt_tokens": tokens, "total_tokens": tokens})
    model = json.dumps(request.model)
    return f'{{"object":"list","data":[{",".join(data)}],"model":{model},"usage":{usage}}}'.encode()


def _encoded(vector: Vectors, *, in_base64: bool) -> str | list[float]:
    """A list of numbers, or base64 of little-endian float32 (what OpenAI's SDK asks for by default)."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if in_base64 else vector.tolist()
