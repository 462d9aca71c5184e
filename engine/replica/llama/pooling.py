"""A second context on a loaded model, which reads whole texts and keeps one vector, or one score, of each.

Two ways, by what the model's attention allows:
- Causal models: rows of hidden states come out (pooling NONE) and are pooled here. So a text may take several decode
  calls, and each call's logits, which llama.cpp computes and stores for every row of an embedding context, stay small.
- Encoders, and rerankers of either kind: pooled by llama.cpp's graph. Attention without a direction has to see a text
  at once: n_ubatch is as long as the longest text, since llama.cpp aborts the process on a longer one.

Causal models on a CPU read one text a call. Packing several is up to 2.7 times faster for texts of a few tokens and
hardly for longer ones, but matrix kernels for K-quants treat left-over rows apart: on gemma Q4_K_M a unit vector then
moves by up to 0.02 with its neighbours (measured). Encoders, mostly F16 or F32, are packed: they move by some 1e-7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from engine.replica.llama.backend import LoadError, why_load_failed
from engine.replica.llama.batch import Batch
from engine.replica.llama.model import Model

Kind: TypeAlias = Literal["mean", "cls", "last", "rank"]
Vectors: TypeAlias = NDArray[np.float32]

KINDS: dict[str | None, Kind] = {
    None: "mean", "-1": "mean", "0": "mean", "1": "mean", "2": "cls", "3": "last", "4": "rank",
}  # fmt: skip
TYPES: dict[Kind, int] = {
    "mean": C.LLAMA_POOLING_TYPE_MEAN,
    "cls": C.LLAMA_POOLING_TYPE_CLS,
    "last": C.LLAMA_POOLING_TYPE_LAST,
    "rank": C.LLAMA_POOLING_TYPE_RANK,
}
BATCH_TOKENS, BATCH_TOKENS_MIN = 512, 32
LOGITS_BYTES = 64 << 20  # of one batch; llama.cpp holds them twice, in its graph and in its output
CELLS = 4096  # of KV memory, shared out among sequences; more only when a single text may be longer
SLOTS = 32  # sequences of a batch, at most
# llama.cpp ends these rerankers' graph with a softmax over their labels.
SOFTMAXED = frozenset({"qwen3", "qwen3vl"})


class Stopped(Exception):
    """`keep_on` said no: nobody waits for the result."""


def pooling_kind(model: Model) -> Kind:
    """How the model file wants its texts pooled; the mean when it does not say. LoadError for what is unknown."""
    said = model.meta(f"{model.architecture}.pooling_type")
    try:
        return KINDS[said]
    except KeyError:
        raise LoadError(f"pooling type {said} is unknown") from None


class Pooling:
    """Pools texts of up to `limit` tokens. One thread at a time; blocks.

    `batch` is how many tokens several texts may have together, `slots` how many texts there may be; one text alone
    may have `limit` tokens. `keep_on` is asked between decode calls; False raises Stopped.
    """

    def __init__(self, model: Model, *, threads: int, context: int, on_gpu: bool = False) -> None:
        self.kind = pooling_kind(model)
        self.limit = min(context, model.context_trained)  # position embeddings end there, and reading past them aborts
        packed = on_gpu or not model.generates
        self.slots = max(1, min(SLOTS, CELLS // self.limit)) if packed else 1
        self._n_vocab = model.vocabulary.size
        self.batch = max(BATCH_TOKENS_MIN, min(BATCH_TOKENS, LOGITS_BYTES // (4 * self._n_vocab)))
        self._in_graph = self.kind == "rank" or not model.generates
        self._call = self.batch if model.generates else max(self.batch, self.limit)  # tokens of one decode call
        self._model = model
        self.pointer = C.llama_init_from_model(model.pointer, self._params(threads))
        if not self.pointer:
            raise LoadError(f"no context for pooling texts of {self.limit} tokens: {why_load_failed()}")
        self._memory = C.llama_get_memory(self.pointer)
        self._encodes = not self._memory or C.llama_model_has_encoder(model.pointer)
        if self._call < self.limit and (self._encodes or not C.llama_get_causal_attn(self.pointer)):
            self.close()
            raise LoadError("the model file says that it generates, and its attention has no direction")
        self._width: int = C.llama_model_n_cls_out(model.pointer) if self.kind == "rank" else model.dimensions
        self._batch = Batch(self._call)
        self._batch.outputs[:] = 1

    def _params(self, threads: int) -> Any:
        params = C.llama_context_default_params()
        params.n_seq_max, params.n_ctx = self.slots, self.slots * self.limit
        params.n_batch = params.n_ubatch = self._call
        params.n_threads = params.n_threads_batch = threads
        params.embeddings, params.kv_unified, params.offload_kqv = True, False, True
        params.pooling_type = TYPES[self.kind] if self._in_graph else C.LLAMA_POOLING_TYPE_NONE
        return params

    def embed(self, inputs: Sequence[Sequence[int]], keep_on: Callable[[], bool]) -> Vectors:
        """One vector (float32, not normalised) for each input: an array (n, model.dimensions)."""
        if self.kind == "rank":
            raise ValueError("a reranker gives scores, not vectors")
        self._check(inputs)
        return self._graph_rows(inputs, keep_on) if self._in_graph else self._pooled(inputs, keep_on)

    def rank(self, inputs: Sequence[Sequence[int]], keep_on: Callable[[], bool]) -> Vectors:
        """The relevance of each input, a query and a document joined, from 0 to 1: an array (n,).

        A head with one output was trained as a logit, so the logistic function makes it a probability; heads with
        labels say how likely "yes" is.
        """
        column = relevance_column(self._model)
        if column is None:
            raise ValueError("the model is no reranker")
        self._check(inputs)
        outputs = self._graph_rows(inputs, keep_on).astype(np.float64)
        if self._width == 1:
            return (1 / (1 + np.exp(-outputs[:, 0]))).astype(np.float32)
        if self._model.architecture not in SOFTMAXED:
            outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs[:, column].astype(np.float32)

    def _check(self, inputs: Sequence[Sequence[int]]) -> None:
        lengths = [len(tokens) for tokens in inputs]
        if not 0 < len(inputs) <= self.slots or min(lengths) == 0:
            raise ValueError(f"a batch takes 1 to {self.slots} texts, none of them empty")
        if max(lengths) > self.limit or (len(inputs) > 1 and sum(lengths) > self.batch):
            raise ValueError(f"a text takes up to {self.limit} tokens, several together up to {self.batch}")
        if min(map(min, inputs)) < 0 or max(map(max, inputs)) >= self._n_vocab:
            raise ValueError(f"token ids are 0 to {self._n_vocab - 1}")

    def _graph_rows(self, inputs: Sequence[Sequence[int]], keep_on: Callable[[], bool]) -> Vectors:
        """What llama.cpp pooled of each input; of a text in several calls the last one holds it."""
        for pieces in self._calls(inputs):
            self._evaluate(pieces, keep_on)
        rows = []
        for sequence in range(len(inputs)):
            pointer = C.llama_get_embeddings_seq(self.pointer, sequence)
            if not pointer:
                raise RuntimeError("llama.cpp pooled nothing")
            rows.append(np.ctypeslib.as_array(pointer, (self._width,)).copy())
        return np.stack(rows)

    def _pooled(self, inputs: Sequence[Sequence[int]], keep_on: Callable[[], bool]) -> Vectors:
        """Hidden states pooled here, in double precision."""
        sums = np.zeros((len(inputs), self._width), np.float64)
        for pieces in self._calls(inputs):
            count = self._evaluate(pieces, keep_on)
            rows = np.ctypeslib.as_array(C.llama_get_embeddings(self.pointer), (count, self._width))
            at = 0
            for sequence, start, tokens in pieces:
                mine = rows[at : at + len(tokens)]
                at += len(tokens)
                if self.kind == "mean":
                    sums[sequence] += mine.sum(axis=0, dtype=np.float64) / len(inputs[sequence])
                elif self.kind == "last":
                    sums[sequence] = mine[-1]
                elif start == 0:
                    sums[sequence] = mine[0]
        return sums.astype(np.float32)

    def _calls(self, inputs: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, int, Sequence[int]]]]:
        """What each decode call reads, as (sequence, position, tokens): all inputs at once, or one piece by piece."""
        if self._memory:
            C.llama_memory_clear(self._memory, False)
        if len(inputs) > 1:
            yield [(sequence, 0, tokens) for sequence, tokens in enumerate(inputs)]
            return
        for start in range(0, len(inputs[0]), self._call):
            yield [(0, start, inputs[0][start : start + self._call])]

    def _evaluate(self, pieces: list[tuple[int, int, Sequence[int]]], keep_on: Callable[[], bool]) -> int:
        """One decode call. Returns how many tokens it read."""
        if not keep_on():
            raise Stopped
        count = 0
        for sequence, start, tokens in pieces:
            count = self._batch.write(count, sequence, tokens, start)
        code = (C.llama_encode if self._encodes else C.llama_decode)(self.pointer, self._batch.first(count))
        if code:
            raise RuntimeError(f"llama.cpp could not read the batch (code {code})")
        return count

    def close(self) -> None:
        C.llama_free(self.pointer)
        self.pointer = None


def relevance_column(model: Model) -> int | None:
    """Which output of the classification head says how relevant a document is; None: the model is no reranker."""
    if pooling_kind(model) != "rank":
        return None
    outputs = C.llama_model_n_cls_out(model.pointer)
    if outputs == 1:
        return None if model.architecture in SOFTMAXED else 0  # a softmax over one output is always 1
    labels = [(C.llama_model_cls_label(model.pointer, i) or b"").lower() for i in range(outputs)]
    return labels.index(b"yes") if labels.count(b"yes") == 1 else None
