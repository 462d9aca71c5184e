"""A position in a GBNF grammar that masks logits."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp.llama_cpp as C
import numpy as np

from engine.replica.llama.context import Logits
from engine.replica.llama.vocabulary import Vocabulary


class Grammar:
    """A position in a GBNF grammar. Owns llama.cpp's state of it."""

    def __init__(self, pointer: Any, vocabulary_size: int) -> None:
        self.pointer = pointer
        self._one = (C.llama_token_data * 1)()
        self._size = vocabulary_size

    @classmethod
    def parse(cls, vocabulary: Vocabulary, gbnf: str) -> Grammar:
        """The beginning of a grammar; ValueError for text that does not parse."""
        pointer = C.llama_sampler_init_grammar(vocabulary.pointer, gbnf.encode(), b"root")
        if not pointer:
            raise ValueError("llama.cpp cannot parse the grammar")
        return cls(pointer, vocabulary.size)

    def clone(self) -> Grammar:
        """Another reader at the same position (cheaper than parsing anew)."""
        return Grammar(C.llama_sampler_clone(self.pointer), self._size)

    def allows(self, token: int) -> bool:
        """Whether `token` may come next (one candidate: microseconds, where masking the vocabulary takes ms)."""
        self._one[0] = C.llama_token_data(token, 0.0, 0.0)
        array = C.llama_token_data_array(self._one, 1, -1, False)
        C.llama_sampler_apply(self.pointer, ctypes.byref(array))
        return bool(self._one[0].logit > -1e30)

    def mask(self, logits: Logits) -> Logits:
        """A copy of one row of logits with -inf where the grammar forbids the token."""
        data = np.empty(self._size, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        data["id"], data["logit"], data["p"] = np.arange(self._size), logits, 0.0
        pointer = data.ctypes.data_as(C.llama_token_data_p)
        array = C.llama_token_data_array(pointer, self._size, -1, False)
        C.llama_sampler_apply(self.pointer, ctypes.byref(array))
        masked = np.full(self._size, -np.inf, np.float32)
        masked[data["id"]] = data["logit"]
        return masked

    def accept(self, token: int) -> None:
        """Move past `token`. The caller has checked `allows`: llama.cpp aborts on a token that does not fit."""
        C.llama_sampler_accept(self.pointer, token)

    def close(self) -> None:
        if self.pointer:
            C.llama_sampler_free(self.pointer)
        self.pointer = None

    def __del__(self) -> None:
        self.close()
