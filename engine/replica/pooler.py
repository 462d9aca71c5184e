"""Whole texts through the model: a queue of their own beside the scheduler, first come first served, batch by batch.

The context for it is made with the first request: a replica that only generates pays nothing. Its thread shares the
cores with the scheduler's; requests take turns after each batch, so that a short one never waits for a long one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from client.errors import FailedPrecondition, Internal, InvalidArgument
from engine.replica.call import ClientGone
from engine.replica.llama import (
    Kind,
    LoadError,
    Model,
    Pooling,
    Stopped,
    Vectors,
    pooling_kind,
    relevance_column,
)
from engine.replica.prompt import PromptMaker

MAX_TOKENS = 300_000  # of one request, over all its texts (OpenAI's bound for embeddings)

Work = Callable[[Pooling, list[Sequence[int]], Callable[[], bool]], Vectors]


class Pooler:
    """One a replica, whatever its model: `running` requests are under way, `prompt_tokens` have been read so far.

    `limit` is the longest text in tokens, `prompts` makes such texts. The coroutines belong to one event loop.
    """

    def __init__(self, model: Model, *, threads: int, context: int, on_gpu: bool = False) -> None:
        self.model = model
        self.limit = min(context, model.context_trained)
        self.prompts = PromptMaker(model, self.limit)
        self.running = 0
        self.prompt_tokens = 0
        self._progress_at = time.monotonic()
        self._threads, self._context, self._on_gpu = threads, context, on_gpu
        self._pooling: Pooling | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pooling")

    @property
    def last_progress_age_s(self) -> float:
        """Seconds since the last decode call began while there is work, else 0: a wedge shows as a growing age."""
        return time.monotonic() - self._progress_at if self.running else 0.0

    def require_vectors(self) -> None:
        """Raises FailedPrecondition when the model makes no embeddings."""
        if self._kind() == "rank":
            raise FailedPrecondition(
                "this model is a reranker: it scores pairs and makes no embeddings",
                field="model",
                hint="use /v1/rerank",
            )

    def require_relevance(self) -> None:
        """Raises FailedPrecondition when the model is no reranker."""
        if self._kind() != "rank" or relevance_column(self.model) is None:
            raise FailedPrecondition(
                "this model is no reranker: its file has no head that scores relevance (pooling type RANK)",
                field="model",
                hint="deploy a reranker's GGUF, or compare embeddings from /v1/embeddings",
            )

    def _kind(self) -> Kind:
        try:
            return pooling_kind(self.model)
        except LoadError as error:
            raise FailedPrecondition(str(error), field="model", hint="deploy a file that says 0 to 4") from None

    def check(self, inputs: Sequence[Sequence[int]], field: str) -> None:
        """Raises InvalidArgument for token ids that the model cannot read. Nothing is ever cut to fit."""
        for index, tokens in enumerate(inputs):
            place = field if len(inputs) == 1 else f"{field}.{index}"
            if not tokens:
                raise InvalidArgument(f"{place} is empty", field=place)
            if len(tokens) > self.limit:
                raise InvalidArgument(f"{place} has {len(tokens)} tokens, the limit is {self.limit}", field=place)
            if max(tokens) >= self.model.vocabulary.size:
                raise InvalidArgument(f"token ids end at {self.model.vocabulary.size - 1}", field=place)
        if sum(map(len, inputs)) > MAX_TOKENS:
            raise InvalidArgument(f"{field}: more than {MAX_TOKENS} tokens together", field=field)

    async def vectors(self, inputs: Sequence[Sequence[int]], gone: threading.Event) -> Vectors:
        """One vector each, in order: (n, dimensions), not normalised. ClientGone when `gone` is set meanwhile."""
        return await self._run(inputs, gone, Pooling.embed)

    async def relevance(self, inputs: Sequence[Sequence[int]], gone: threading.Event) -> Vectors:
        """The relevance of each joined pair, in order: (n,), from 0 to 1. ClientGone when `gone` is set meanwhile."""
        return await self._run(inputs, gone, Pooling.rank)

    async def _run(self, inputs: Sequence[Sequence[int]], gone: threading.Event, work: Work) -> Vectors:
        def keep_on() -> bool:
            self._progress_at = time.monotonic()
            return not gone.is_set()

        loop = asyncio.get_running_loop()
        if not self.running:
            self._progress_at = time.monotonic()
        self.running += 1
        try:
            pooling = await loop.run_in_executor(self._thread, self._opened)
            rows: dict[int, Vectors] = {}
            for batch in pack([len(tokens) for tokens in inputs], tokens=pooling.batch, texts=pooling.slots):
                texts = [inputs[index] for index in batch]
                result = await loop.run_in_executor(self._thread, work, pooling, texts, keep_on)
                self.prompt_tokens += sum(map(len, texts))
                rows.update(zip(batch, result, strict=True))
            return np.stack([rows[index] for index in range(len(inputs))])
        except Stopped:
            raise ClientGone from None
        finally:
            self.running -= 1

    def _opened(self) -> Pooling:
        """The context, made at the first call. On the pooling thread."""
        if self._pooling is None:
            try:
                self._pooling = Pooling(self.model, threads=self._threads, context=self._context, on_gpu=self._on_gpu)
            except LoadError as error:
                raise Internal(str(error), hint="lower the deployment's context") from None
        return self._pooling

    def close(self) -> None:
        """End the thread (within a batch) and free the context: before the model is freed."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._pooling is not None:
            self._pooling.close()
            self._pooling = None


def pack(lengths: Sequence[int], *, tokens: int, texts: int) -> list[list[int]]:
    """Indices of `lengths` in batches of at most `texts`, and `tokens` together; a longer one is a batch of its own.

    Neighbours in length share a batch: llama.cpp splits a batch into runs of equal length.
    """
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not batches or lengths[index] > room or len(batches[-1]) >= texts:
            batches.append([])
            room = tokens
        batches[-1].append(index)
        room -= lengths[index]
    return batches
