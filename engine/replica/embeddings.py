"""The wire of POST /v1/embeddings: OpenAI's request and answer, with Fireworks' `normalize`.

Source: https://docs.fireworks.ai/api-reference/creates-an-embedding-vector-representing-the-input-text
        https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PlainValidator

from client.errors import InvalidArgument
from engine.replica.llama import Vectors
from engine.replica.pooler import Pooler
from engine.replica.wire_types import Body, Integer, Text, read, whole_text

MAX_INPUTS = 2048
MAX_INPUT_IDS = 2**20  # beyond any model's context
_NOT_BUILT = ("prompt_template", "return_logits", "lora")  # silently ignored they would change what the vectors mean


def _inputs(value: Any) -> list[str] | list[list[int]]:
    """Text, texts, token ids or lists of token ids, always as a list of inputs."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError("must be text, token ids, or a list of either, and not empty")
    if type(value[0]) is int:
        value = [value]
    if len(value) > MAX_INPUTS:
        raise ValueError(f"must be at most {MAX_INPUTS} inputs")
    if all(isinstance(one, str) for one in value):
        return [whole_text(one) for one in value]
    if any(isinstance(one, dict) for one in value):
        raise ValueError("objects need a prompt_template, which is not supported: send text")
    return [_ids(one) for one in value]


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or len(value) > MAX_INPUT_IDS:
        raise ValueError("must be text, token ids, or a list of either, not a mixture")
    if not all(type(token) is int and 0 <= token < 2**31 for token in value):
        raise ValueError("must be token ids: whole numbers from 0")
    return value


class EmbeddingRequest(Body):
    model: Text = ""
    input: Annotated[list[str] | list[list[int]], PlainValidator(_inputs)]
    dimensions: Annotated[Integer, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    normalize: bool | None = None
    user: Text | None = None


async def embed(pooler: Pooler, raw: bytes, gone: threading.Event) -> tuple[bytes, int]:
    """The answer's body and the tokens read. Raises FiredeckError for what is wrong, ClientGone once `gone` is set."""
    pooler.require_vectors()
    request, inputs = await asyncio.to_thread(_prepare, pooler, raw)
    vectors = await pooler.vectors(inputs, gone)
    tokens = sum(map(len, inputs))
    return await asyncio.to_thread(_body, request, vectors, tokens), tokens


def _prepare(pooler: Pooler, raw: bytes) -> tuple[EmbeddingRequest, list[list[int]]]:
    request = read(EmbeddingRequest, raw, _NOT_BUILT)
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
