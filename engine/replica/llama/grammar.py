"""A position in a GBNF grammar over one vocabulary. Runs in the grammar child process (engine.replica.grammar_child):
llama.cpp aborts on some grammars and needs seconds for others.

llama.cpp's automaton compares code points without looking whether the bytes are UTF-8, so `C0 A2` passes as a quote
and a control token as its spelling, while clients see replacement characters and nothing. Both are refused here.
"""

from __future__ import annotations

import codecs
import ctypes
from typing import Any

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from engine.replica.llama.backend import LoadError
from engine.replica.llama.vocabulary import Vocabulary

Flags = NDArray[np.uint8]
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_FORBIDDEN = -1e30
UNFIT, END = 1, 2


def load_vocabulary(path: str) -> Vocabulary:
    """The vocabulary of a GGUF file without its weights. It stays in memory until the process ends."""
    params = C.llama_model_default_params()
    params.vocab_only = True
    model = C.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise LoadError(f"llama.cpp cannot load the vocabulary of {path}")
    return Vocabulary(model)


def mark_unfit(vocabulary: Vocabulary, flags: Flags) -> None:
    """Set `flags[token]` to UNFIT for tokens that no text may begin with (no text of their own, or bytes that are not
    UTF-8) and to END for those that end a text. Once a replica: it takes a tenth of a second or more."""
    ends = vocabulary.end_tokens
    for token in range(vocabulary.size):
        piece = vocabulary.piece(token)
        flags[token] = END if token in ends else UNFIT if not piece or utf8_rest(piece) is None else 0


def utf8_rest(data: bytes) -> bytes | None:
    """The unfinished character at the end of `data`; None when it cannot be the beginning of UTF-8 text."""
    if data.isascii():
        return b""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data)
    except UnicodeDecodeError:
        return None
    return bytes(decoder.getstate()[0])


class Automaton:
    """A position in a grammar. Owns llama.cpp's state of it.

    `unfit` comes from `mark_unfit`; `visible` are the control tokens whose spelling is text here.
    """

    def __init__(
        self, pointer: Any, vocabulary: Vocabulary, unfit: Flags, visible: frozenset[int] = frozenset()
    ) -> None:
        self._pointer, self._vocabulary, self._unfit, self._visible = pointer, vocabulary, unfit, visible
        self._rest = b""  # bytes of a character that the next token has to go on with
        self._one = (C.llama_token_data * 1)()

    @classmethod
    def parse(cls, vocabulary: Vocabulary, unfit: Flags, gbnf: str) -> Automaton:
        """The beginning of a grammar; ValueError for text that does not parse."""
        pointer = C.llama_sampler_init_grammar(vocabulary.pointer, gbnf.encode(), b"root")
        if not pointer:
            raise ValueError("llama.cpp cannot parse the grammar")
        return cls(pointer, vocabulary, unfit)

    def clone(self, visible: frozenset[int]) -> Automaton:
        """Another reader, of a grammar at its beginning."""
        return Automaton(C.llama_sampler_clone(self._pointer), self._vocabulary, self._unfit, visible)

    def allows(self, token: int) -> bool:
        """Whether `token` may come next (one candidate: microseconds, where `fill` takes milliseconds)."""
        if not 0 <= token < self._vocabulary.size or not self._fits(token):
            return False
        self._one[0] = C.llama_token_data(token, 0.0, 0.0)
        array = C.llama_token_data_array(self._one, 1, -1, False)
        C.llama_sampler_apply(self._pointer, ctypes.byref(array))
        return bool(self._one[0].logit > _FORBIDDEN)

    def advance(self, token: int) -> bool:
        """Move past `token` if it may come next; at an end token the position stays."""
        if not self.allows(token):
            return False
        if self._unfit[token] != END:
            C.llama_sampler_accept(self._pointer, token)
            self._rest = utf8_rest(self._rest + self._piece(token)) or b""
        return True

    def fill(self, allowed: Flags) -> None:
        """Set `allowed[token]` to 1 for every token that may come next, else to 0."""
        size = self._vocabulary.size
        data = np.zeros(size, _CANDIDATE)
        data["id"] = np.arange(size, dtype=np.int32)
        array = C.llama_token_data_array(data.ctypes.data_as(C.llama_token_data_p), size, -1, False)
        C.llama_sampler_apply(self._pointer, ctypes.byref(array))
        allowed[data["id"]] = data["logit"] > _FORBIDDEN
        if not self._rest:
            fitting = self._unfit != UNFIT
            fitting[list(self._visible)] = True
            allowed[~fitting] = 0
            return
        for token in np.flatnonzero(allowed).tolist():  # inside a character few are left
            allowed[token] = self._fits(token)

    def _fits(self, token: int) -> bool:
        """Whether the token's bytes go on as UTF-8 from here."""
        if not self._rest:
            return bool(self._unfit[token] != UNFIT) or token in self._visible
        piece = self._piece(token)
        return bool(piece) and utf8_rest(self._rest + piece) is not None and bool(self._unfit[token] != END)

    def _piece(self, token: int) -> bytes:
        return self._vocabulary.piece(token, special=token in self._visible)

    def close(self) -> None:
        if self._pointer:
            C.llama_sampler_free(self._pointer)
        self._pointer = None

    def __del__(self) -> None:
        self.close()
