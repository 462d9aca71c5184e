"""Text <-> token ids of one model."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import llama_cpp.llama_cpp as C

SPECIAL_ATTRIBUTES = C.LLAMA_TOKEN_ATTR_CONTROL | C.LLAMA_TOKEN_ATTR_UNKNOWN

# Pre-tokenizers with a splitter written by hand. The others fall to std::regex, which recurses once a character: a run
# of 26,000 letters overflows the stack and kills the process (llama.cpp #27783; each name here tried with 100,000;
# the others with runs of MAX_RUN_CHARS).
SAFE_PRETOKENIZERS = frozenset({
    "chameleon", "chatglm-bpe", "codeshell", "command-r", "dbrx", "exaone", "exaone4", "falcon-h1", "falcon3",
    "gemma4", "gigachat", "gpt-2", "granite-docling", "grok-2", "hunyuan", "jais", "jina-es", "jina-v2-es",
    "kimi-k2", "lfm2", "llama-bpe", "llama-v3", "llama3", "megrez", "mellum", "midm-2.0", "minerva-7b",
    "modern-bert", "mpt", "olmo", "phi-2", "pixtral", "qwen2", "qwen35", "refact", "smaug-bpe", "smollm",
    "solar-open", "stablelm2", "starcoder", "trillion",
})  # fmt: skip
MAX_RUN_CHARS = 4096  # a run of text and the run of spaces after it can become one match


class InfillTokens(NamedTuple):
    """The control tokens around what stands before a gap, after it, and in it."""

    prefix: int
    suffix: int
    middle: int


class Vocabulary:
    """Token ids of one model. Every method may be called from any thread."""

    def __init__(self, model: Any) -> None:
        self.pointer = C.llama_model_get_vocab(model)
        self.size: int = C.llama_vocab_n_tokens(self.pointer)
        self.kind: int = C.llama_vocab_type(self.pointer)  # the family of tokenizer, LLAMA_VOCAB_TYPE_*
        self.bos: int = C.llama_vocab_bos(self.pointer)
        self.eos: int = C.llama_vocab_eos(self.pointer)
        self.adds_bos: bool = bool(C.llama_vocab_get_add_bos(self.pointer))
        # What a run of text without spaces, or of spaces alone, may measure; None: any length is safe.
        self.max_run_chars: int | None = None if _splits_safely(model, self.pointer) else MAX_RUN_CHARS
        self._pieces: dict[tuple[int, bool], bytes] = {}

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids of `text`; `parse_special` lets spelled-out control tokens become control tokens.

        The caller has bounded the text: its length, and its runs by `max_run_chars`.
        """
        raw = text.encode("utf-8")
        capacity = len(raw) + 8
        buffer = (C.llama_token * capacity)()
        count = C.llama_tokenize(self.pointer, raw, len(raw), buffer, capacity, add_special, parse_special)
        if count < 0:
            buffer = (C.llama_token * -count)()
            count = C.llama_tokenize(self.pointer, raw, len(raw), buffer, -count, add_special, parse_special)
        return list(buffer[:count])

    def pair(self, first: Sequence[int], second: Sequence[int]) -> list[int]:
        """Two texts (tokenised without opening tokens) as cross-encoders read them together.

        [CLS] first [SEP] second [SEP] for BERT, <s> first </s></s> second </s> for RoBERTa: the tokens with which
        this vocabulary opens and ends a single text.
        """
        bos = [self.bos] if self.adds_bos else []
        eos = [self.eos] if C.llama_vocab_get_add_eos(self.pointer) else []
        sep = [C.llama_vocab_sep(self.pointer)] if C.llama_vocab_get_add_sep(self.pointer) else []
        joined = [*bos, *first, *eos, *sep, *second, *(eos or sep)]
        return [token for token in joined if token >= 0]

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes a token stands for (b"" for control tokens unless `special`)."""
        known = self._pieces.get((token, special))
        if known is None:
            known = self._pieces[token, special] = self._piece(token, special)
        return known

    def _piece(self, token: int, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        count = C.llama_token_to_piece(self.pointer, token, buffer, 64, 0, special)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = C.llama_token_to_piece(self.pointer, token, buffer, -count, 0, special)
        return buffer.raw[:count]

    def spelling(self, token: int) -> bytes:
        """How the file spells a token (escapes and all): equal spellings of equal ids mean equal vocabularies."""
        if not 0 <= token < self.size:
            raise ValueError(f"token {token} is not one of {self.size}")
        return C.llama_vocab_get_text(self.pointer, token) or b""

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text, control tokens spelled out, broken UTF-8 replaced."""
        return b"".join(self.piece(t, special=True) for t in tokens).decode("utf-8", "replace")

    def eats_space_before(self, token: int) -> bool:
        return bool(C.llama_vocab_get_attr(self.pointer, token) & C.LLAMA_TOKEN_ATTR_LSTRIP)

    def eats_space_after(self, token: int) -> bool:
        return bool(C.llama_vocab_get_attr(self.pointer, token) & C.LLAMA_TOKEN_ATTR_RSTRIP)

    @cached_property
    def longest_piece_bytes(self) -> int:
        """A bound on the bytes of text that one token stands for (its spelling in the file is never shorter)."""
        text_of, pointer = C.llama_vocab_get_text, self.pointer
        return max((len(text_of(pointer, token) or b"") for token in range(self.size)), default=4)

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Spelling -> id of the tokens that only a template may produce (control and unknown tokens)."""
        found: dict[str, int] = {}
        for token in range(self.size):
            if C.llama_vocab_get_attr(self.pointer, token) & SPECIAL_ATTRIBUTES:
                text = C.llama_vocab_get_text(self.pointer, token)
                if text:
                    found[text.decode("utf-8", "replace")] = token
        return found

    @cached_property
    def infill_tokens(self) -> InfillTokens | None:
        """For fill-in-the-middle; None when the model was not made for it."""
        pointer = self.pointer
        tokens = InfillTokens(
            C.llama_vocab_fim_pre(pointer), C.llama_vocab_fim_suf(pointer), C.llama_vocab_fim_mid(pointer)
        )
        return tokens if min(tokens) >= 0 else None

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Every token that ends a generation (EOS, EOT, and relatives)."""
        return frozenset(t for t in range(self.size) if C.llama_vocab_is_eog(self.pointer, t))


def meta(model: Any, key: str) -> str | None:
    buffer = ctypes.create_string_buffer(512)
    count = C.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    if count >= len(buffer):
        buffer = ctypes.create_string_buffer(count + 1)
        C.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return None if count < 0 else buffer.value.decode("utf-8", "replace")


def _splits_safely(model: Any, vocabulary: Any) -> bool:
    """Whether text of any shape can be cut into words: only byte-pair vocabularies use regular expressions for it."""
    if C.llama_vocab_type(vocabulary) != C.LLAMA_VOCAB_TYPE_BPE:
        return True
    return meta(model, "tokenizer.ggml.pre") in SAFE_PRETOKENIZERS
