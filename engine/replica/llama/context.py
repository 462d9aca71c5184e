"""The KV memory and the calls that fill it. One thread owns a context; nothing here locks."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from engine.replica.llama.backend import LoadError, watch_log, why_load_failed
from engine.replica.llama.batch import Batch, Tokens
from engine.replica.llama.model import Model

Logits: TypeAlias = NDArray[np.float32]
State: TypeAlias = NDArray[np.uint8]

FLASH_ATTENTION_ON = "Flash Attention enabled"  # llama.cpp tells what came of AUTO in its log alone


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a context is. `kv_tokens` below slots x context makes all sequences share that many cells."""

    slots: int
    context: int  # tokens one sequence may hold
    threads: int
    batch: int = 512  # tokens a decode call may carry
    rows: int = 32  # tokens of one sequence whose logits can be read after one call
    kv_tokens: int | None = None

    @property
    def unified(self) -> bool:
        return self.kv_tokens is not None and self.kv_tokens < self.slots * self.context


class Context:
    """Up to `slots` sequences, decoded together.

    Unless `shape.unified`, each sequence has cells of its own (`kv_unified=False`): quantized weights then give
    bit-identical logits whatever else is in the batch, which is what "same seed, same text" rests on. Its price: only
    runs of consecutive, ascending sequence ids share a step. Shared cells save memory and have neither the promise
    nor the price.
    """

    def __init__(self, model: Model, shape: Shape) -> None:
        params = C.llama_context_default_params()
        params.n_seq_max = shape.slots
        params.n_ctx = shape.kv_tokens if shape.unified else shape.slots * shape.context
        params.n_batch = params.n_ubatch = shape.batch  # on a GPU wide enough to fill it, see hardware.py
        # Bounds the logits buffer: 512 rows of gemma's 262k vocabulary would be half a gigabyte.
        params.n_outputs_max = max(shape.slots, shape.rows)
        params.n_threads = params.n_threads_batch = self.threads = shape.threads
        # On wherever the device has a kernel for it; demanded outright, attention without one would go to the CPU.
        params.flash_attn_type = C.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.kv_unified = shape.unified
        params.offload_kqv = params.op_offload = True
        with watch_log() as told:
            self.pointer = C.llama_init_from_model(model.pointer, params)
        self.flash_attention = any(FLASH_ATTENTION_ON in line for line in told)
        if not self.pointer:
            raise LoadError(f"no context of {shape.slots} x {shape.context} tokens: {why_load_failed()}")
        self.slots: int = C.llama_n_seq_max(self.pointer)
        self.unified = shape.unified
        self.capacity: int = C.llama_n_ctx(self.pointer)  # cells, over all sequences
        self.length: int = min(shape.context, self.capacity) if self.unified else C.llama_n_ctx_seq(self.pointer)
        self.batch: int = min(shape.batch, C.llama_n_batch(self.pointer))
        self.rows = max(shape.slots, shape.rows)
        self.vocabulary_size = model.vocabulary.size
        self._memory = C.llama_get_memory(self.pointer)
        self._views: dict[tuple[int, int], Logits] = {}  # by address and rows
        self._arriving: set[int] = set()  # copies that the next decode carries out: their targets
        self._leaving: set[int] = set()  # and their sources
        self._batch = Batch(self.batch)

    def decode_step(self, sequences: Sequence[int], tokens: Sequence[int], positions: Sequence[int]) -> int:
        """One token for each sequence (ids ascending). Returns llama_decode's code; 0 means `logits(n)` is ready."""
        n = len(sequences)
        if not 0 < n <= self.slots:
            raise ValueError(f"a step takes 1 to {self.slots} sequences, not {n}")
        batch = self._batch
        batch.sequences[:n], batch.tokens[:n], batch.positions[:n] = sequences, tokens, positions
        batch.outputs[:n] = 1
        return self._decode(n)

    def prefill(self, sequence: int, tokens: Tokens, start: int, *, rows: str) -> int:
        """Evaluate `tokens` at positions from `start`. `rows`: which logits to keep: "none", "last" or "all"."""
        n = len(tokens)
        if not 0 < n <= self.batch or (rows == "all" and n > self.rows):
            raise ValueError(f"a prefill chunk takes 1 to {self.batch} tokens, not {n}")
        self._batch.write(0, sequence, tokens, start)
        self._batch.outputs[:n] = rows == "all"
        self._batch.outputs[n - 1] = rows != "none"
        return self._decode(n)

    def _decode(self, n: int) -> int:
        self._arriving.clear()
        self._leaving.clear()
        return int(C.llama_decode(self.pointer, self._batch.first(n)))

    def logits(self, rows: int) -> Logits:
        """A view (rows, n_vocab) of the last decode's logits, in batch order; valid until the next decode."""
        address = ctypes.cast(C.llama_get_logits(self.pointer), ctypes.c_void_p).value
        if address is None:
            raise RuntimeError("llama.cpp has no logits to read")
        if (address, rows) not in self._views:  # making a view takes ten times as long as finding it again
            self._views = {key: view for key, view in self._views.items() if key[0] == address}
            pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
            self._views[address, rows] = np.ctypeslib.as_array(pointer, (rows, self.vocabulary_size))
        return self._views[address, rows]

    def keep(self, sequence: int, tokens: int) -> bool:
        """Forget everything of a sequence after its first `tokens`; False when the memory cannot (then it is empty)."""
        if C.llama_memory_seq_rm(self._memory, sequence, tokens, -1):
            return True
        C.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return False

    def copy(self, source: int, target: int) -> None:
        """Make `target` a copy of `source` (whole: a partial copy aborts the process). Data moves at next decode."""
        C.llama_memory_seq_rm(self._memory, target, -1, -1)
        C.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self._arriving.add(target)
        self._leaving.add(source)

    def save(self, sequence: int) -> State | None:
        """The KV state of a sequence as bytes, bit for bit; None while a copy into it has not been carried out."""
        if sequence in self._arriving:
            return None
        state = np.empty(C.llama_state_seq_get_size(self.pointer, sequence), np.uint8)
        pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        written = C.llama_state_seq_get_data(self.pointer, pointer, state.size, sequence)
        return state[:written] if written else None

    def load(self, sequence: int, state: State) -> bool:
        """Make a sequence what `state` holds; False when it does not fit (the sequence is then empty)."""
        if sequence in self._arriving or sequence in self._leaving:  # a copy under way would be spoilt
            return False
        C.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        pointer = np.ascontiguousarray(state).ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        if C.llama_state_seq_set_data(self.pointer, pointer, state.size, sequence):
            return True
        C.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return False

    def use_threads(self, count: int) -> None:
        """Take `count` CPU threads from the next call on."""
        C.llama_set_n_threads(self.pointer, count, count)
        self.threads = count

    def synchronize(self) -> None:
        C.llama_synchronize(self.pointer)

    def clear(self, *, wipe: bool = False) -> None:
        """Forget all sequences. Unless `wipe` the cells keep their bytes: zeroing hundreds of megabytes would be
        felt."""
        C.llama_memory_clear(self._memory, wipe)

    def close(self) -> None:
        C.llama_free(self.pointer)
        self.pointer = None
