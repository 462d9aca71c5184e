"""The one part of the metadata that llama.cpp indexes by numbers from the file: the vocabulary's parallel arrays.

For a byte token llama.cpp takes the two hexadecimal digits out of its text `<0xHH>` unchecked: a text shorter than
three characters ends the process, and `<0x-1>` once wrote outside the heap (lmstudio-bug-tracker#2289).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from engine.models.cursor import Array, Cursor

MAX_TOKEN_BYTES = 1 << 20
MAX_TOKENS = 4 << 20

_INT32, _FLOAT32, _STRING = 5, 6, 8
_BYTE_TOKEN = 6  # LLAMA_TOKEN_TYPE_BYTE
_BYTE_TEXT = re.compile(rb"<0x[0-9A-Fa-f]{2}>")


def check_vocabulary(cursor: Cursor, arrays: Mapping[str, Array]) -> None:
    """InvalidArgument unless the arrays beside the tokens cover each token and byte tokens are spelled `<0xHH>`."""
    tokens = arrays.get("tokenizer.ggml.tokens")
    scores = arrays.get("tokenizer.ggml.scores")
    types = arrays.get("tokenizer.ggml.token_type")
    if tokens is None:
        return
    if tokens.item_type != _STRING or tokens.length > MAX_TOKENS:
        raise cursor.bad(f"its vocabulary of {tokens.length:,} tokens is not a list of texts that can be used")
    if scores is not None and (scores.item_type not in (_INT32, _FLOAT32) or scores.length < tokens.length):
        raise cursor.bad("its vocabulary does not have a score for each token")
    if types is None:
        return
    if types.item_type != _INT32 or types.length < tokens.length:
        raise cursor.bad("its vocabulary does not have a type for each token")
    _check_byte_tokens(cursor, tokens, types)


def _check_byte_tokens(cursor: Cursor, tokens: Array, types: Array) -> None:
    cursor.jump(types.offset)
    kinds = struct.unpack(f"<{tokens.length}i", cursor.take(4 * tokens.length))
    if _BYTE_TOKEN not in kinds:
        return
    cursor.jump(tokens.offset)
    for kind, text in zip(kinds, cursor.strings(tokens.length, MAX_TOKEN_BYTES), strict=True):
        if kind == _BYTE_TOKEN and not _BYTE_TEXT.fullmatch(text):
            raise cursor.bad(f"its byte token {text[:20]!r} is not spelled like <0x0A>")
