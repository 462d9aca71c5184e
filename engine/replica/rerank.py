"""The wire of POST /v1/rerank: documents ordered by how relevant a cross-encoder finds them for a query.

Source: https://docs.fireworks.ai/api-reference/rerank-documents
The answer says the same under `data` (Fireworks' API) and under `results` (Fireworks' older SDK, Cohere, Jina).
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any

import numpy as np

from engine.replica.pooler import Pooler
from engine.replica.pooling_fields import NOT_WITH_RERANK, RerankRequest
from engine.replica.template import Rendered, Segment
from engine.replica.wire_types import read


async def rerank(pooler: Pooler, raw: bytes, gone: threading.Event) -> tuple[bytes, int]:
    """The answer's body and the tokens read. Raises FiredeckError for what is wrong, ClientGone once `gone` is set."""
    pooler.require_relevance()
    request, pairs = await asyncio.to_thread(_prepare, pooler, raw)
    scores = await pooler.relevance(pairs, gone)
    tokens = sum(map(len, pairs))
    order = np.argsort(-scores, kind="stable")[: request.top_n]  # equals stay in the client's order
    ranked = [_result(request, int(index), float(scores[index])) for index in order]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "model": request.model, "data": ranked, "results": ranked, "usage": usage}
    return json.dumps(answer).encode(), tokens


def _result(request: RerankRequest, index: int, score: float) -> dict[str, Any]:
    result: dict[str, Any] = {"index": index, "relevance_score": score}
    if request.return_documents is not False:
        result["document"] = request.documents[index]
    return result


def _prepare(pooler: Pooler, raw: bytes) -> tuple[RerankRequest, list[list[int]]]:
    request = read(RerankRequest, raw, NOT_WITH_RERANK)
    template = pooler.model.rerank_template
    if template is not None:
        filled_in = (filled(template, request.query, document) for document in request.documents)
        pairs = [pooler.prompts.filled(rendered, "documents") for rendered in filled_in]
    else:
        query = _plain(pooler, request.query, "query")
        pairs = [
            pooler.model.vocabulary.pair(query, _plain(pooler, document, "documents")) for document in request.documents
        ]
    pooler.check(pairs, "documents")
    return request, pairs


def _plain(pooler: Pooler, text: str, field: str) -> list[int]:
    return pooler.prompts.text(text, parse_special=False, add_special=False, field=field)


def filled(template: str, query: str, document: str) -> Rendered:
    """The template with both texts in place, marked as content: a control token spelled out in them stays text."""
    texts = {"{query}": query, "{document}": document}
    pieces = re.split(r"(\{query\}|\{document\})", template)
    return Rendered(tuple(Segment(texts.get(piece, piece), piece in texts) for piece in pieces if piece))
