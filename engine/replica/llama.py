"""The only file that touches llama.cpp: model, vocabulary, context, grammar, all with Python types.

    Model       a loaded GGUF file: weights, metadata, chat template
    Vocabulary  text <-> token ids (thread safe: llama.cpp only reads)
    Context     the KV memory and `decode` (one thread owns it; nothing here locks)
    Grammar     a GBNF automaton that masks logits

llama.cpp aborts the process on several kinds of bad input (n_tokens > n_batch, a foreign seq id, accepting a token
that a grammar forbids), so each method here refuses them with a Python error first.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

Logits: TypeAlias = NDArray[np.float32]
Tokens: TypeAlias = NDArray[np.int32]

GGML_LOG_ERROR = 4
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

last_errors: deque[str] = deque(maxlen=20)  # llama.cpp reports why a load failed only in its log


def _on_log(level: int, text: bytes, _user: object) -> None:
    if level == GGML_LOG_ERROR and text:
        last_errors.append(text.decode("utf-8", "replace").strip())


_log_callback = C.llama_log_callback(_on_log)  # kept: llama.cpp holds only the raw pointer


class LoadError(Exception):
    """The model file cannot be served; the text is one line for people."""


class LoadCancelled(LoadError):
    """Loading stopped because the process is shutting down."""


def start_backend() -> None:
    """Initialise llama.cpp once a process and route its log into `last_errors`."""
    C.llama_log_set(_log_callback, ctypes.c_void_p(0))
    C.llama_backend_init()


def gpu_available() -> bool:
    """Whether this build of llama.cpp can offload layers to an accelerator."""
    return bool(C.llama_supports_gpu_offload())


class Vocabulary:
    """Token ids of one model. Every method may be called from any thread."""

    def __init__(self, model: Any) -> None:
        self.pointer = C.llama_model_get_vocab(model)
        self.size: int = C.llama_vocab_n_tokens(self.pointer)
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
    def end_tokens(self) -> frozenset[int]:
        """Every token that ends a generation (EOS, EOT, and relatives)."""
        return frozenset(t for t in range(self.size) if C.llama_vocab_is_eog(self.pointer, t))


class Model:
    """Weights and metadata of one GGUF file. Loading blocks; `progress(fraction)` returning False cancels it."""

    def __init__(self, path: str, *, gpu_layers: int, progress: Callable[[float], bool]) -> None:
        _check_magic(path)
        params = C.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        cancelled = False

        def on_progress(fraction: float, _user: object) -> bool:
            nonlocal cancelled
            cancelled = not progress(fraction)
            return not cancelled

        params.progress_callback = callback = C.llama_progress_callback(on_progress)
        self.pointer = C.llama_model_load_from_file(path.encode(), params)
        del callback  # held until here: llama.cpp calls it while loading
        if cancelled:
            raise LoadCancelled("loading was cancelled by a shutdown")
        if not self.pointer:
            raise LoadError(f"llama.cpp cannot load {path}: {_why_load_failed()}")
        if C.llama_model_has_encoder(self.pointer) or not C.llama_model_has_decoder(self.pointer):
            raise LoadError(f"{path} is not a decoder-only language model")
        self.vocabulary = Vocabulary(self.pointer)
        self.parameters: int = C.llama_model_n_params(self.pointer)
        self.context_trained: int = C.llama_model_n_ctx_train(self.pointer)
        self.layers: int = C.llama_model_n_layer(self.pointer)
        # Recurrent state has no per-token positions: a prefix of it cannot be kept.
        recurrent = C.llama_model_is_recurrent(self.pointer) or C.llama_model_is_hybrid(self.pointer)
        self.can_reuse_prefix = not recurrent

    @cached_property
    def description(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        C.llama_model_desc(self.pointer, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def meta(self, key: str) -> str | None:
        """A scalar of the file's metadata as text, or None when the file does not say."""
        return _meta(self.pointer, key)

    @cached_property
    def chat_template(self) -> str | None:
        """The Jinja source in the file, or None for a base model."""
        raw = C.llama_model_chat_template(self.pointer, None)
        return raw.decode("utf-8", "replace") if raw else None

    def close(self) -> None:
        C.llama_model_free(self.pointer)
        self.pointer = None


class Context:
    """`slots` sequences of `context` tokens each, decoded together.

    `kv_unified=False`: quantized weights then give bit-identical logits whatever else is in the batch, which is
    what "same seed, same text" rests on. Its price: only runs of consecutive, ascending sequence ids share a step.
    """

    def __init__(self, model: Model, *, slots: int, context: int, threads: int, batch: int, scored_rows: int) -> None:
        params = C.llama_context_default_params()
        params.n_ctx, params.n_seq_max = slots * context, slots
        params.n_batch = params.n_ubatch = batch
        # Bounds the logits buffer: 512 rows of gemma's 262k vocabulary would be half a gigabyte.
        params.n_outputs_max = max(slots, scored_rows)
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified, params.offload_kqv = False, True
        self.pointer = C.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise LoadError(f"no context of {slots} x {context} tokens: {_why_load_failed()}")
        self.slots: int = C.llama_n_seq_max(self.pointer)
        self.length: int = C.llama_n_ctx_seq(self.pointer)
        self.batch: int = min(batch, C.llama_n_batch(self.pointer))
        self.rows = max(slots, scored_rows)
        self._n_vocab = model.vocabulary.size
        self._memory = C.llama_get_memory(self.pointer)
        self._allocate(self.batch)

    def _allocate(self, capacity: int) -> None:
        """Our own arrays behind one llama_batch: filling by numpy slices is 100x faster than by ctypes elements."""
        self._token, self._pos, self._seq = (np.zeros(capacity, np.int32) for _ in range(3))
        self._n_seq, self._logits = np.ones(capacity, np.int32), np.zeros(capacity, np.int8)
        self._seq_pointers = self._seq.ctypes.data + 4 * np.arange(capacity, dtype=np.uint64)
        pointer_to = ctypes.POINTER
        self._batch = C.llama_batch(
            0,
            self._token.ctypes.data_as(pointer_to(C.llama_token)),
            None,
            self._pos.ctypes.data_as(pointer_to(C.llama_pos)),
            self._n_seq.ctypes.data_as(pointer_to(ctypes.c_int32)),
            self._seq_pointers.ctypes.data_as(pointer_to(pointer_to(C.llama_seq_id))),
            self._logits.ctypes.data_as(pointer_to(ctypes.c_int8)),
        )

    def decode_step(self, sequences: Sequence[int], tokens: Sequence[int], positions: Sequence[int]) -> int:
        """One token for each sequence (ids ascending). Returns llama_decode's code; 0 means `logits(n)` is ready."""
        n = len(sequences)
        if not 0 < n <= self.slots:
            raise ValueError(f"a step takes 1 to {self.slots} sequences, not {n}")
        self._seq[:n], self._token[:n], self._pos[:n] = sequences, tokens, positions
        self._logits[:n] = 1
        return self._decode(n)

    def prefill(self, sequence: int, tokens: Tokens, start: int, *, rows: str) -> int:
        """Evaluate `tokens` at positions from `start`. `rows`: which logits to keep: "none", "last" or "all"."""
        n = len(tokens)
        if not 0 < n <= self.batch or (rows == "all" and n > self.rows):
            raise ValueError(f"a prefill chunk takes 1 to {self.batch} tokens, not {n}")
        self._seq[:n], self._token[:n] = sequence, tokens
        self._pos[:n] = np.arange(start, start + n, dtype=np.int32)
        self._logits[:n] = rows == "all"
        self._logits[n - 1] = rows != "none"
        return self._decode(n)

    def _decode(self, n: int) -> int:
        self._batch.n_tokens = n
        return int(C.llama_decode(self.pointer, self._batch))

    def logits(self, rows: int) -> Logits:
        """A view (rows, n_vocab) of the last decode's logits, in batch order; valid until the next decode."""
        pointer = C.llama_get_logits(self.pointer)
        return np.ctypeslib.as_array(pointer, (rows, self._n_vocab))

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

    def synchronize(self) -> None:
        C.llama_synchronize(self.pointer)

    def clear(self) -> None:
        """Forget all sequences. The cells keep their bytes: zeroing hundreds of megabytes would be felt."""
        C.llama_memory_clear(self._memory, False)

    def close(self) -> None:
        C.llama_free(self.pointer)
        self.pointer = None


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


def _meta(model: Any, key: str) -> str | None:
    buffer = ctypes.create_string_buffer(512)
    count = C.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return None if count < 0 else buffer.value.decode("utf-8", "replace")


def _splits_safely(model: Any, vocabulary: Any) -> bool:
    """Whether text of any shape can be cut into words: only byte-pair vocabularies use regular expressions for it."""
    if C.llama_vocab_type(vocabulary) != C.LLAMA_VOCAB_TYPE_BPE:
        return True
    return _meta(model, "tokenizer.ggml.pre") in SAFE_PRETOKENIZERS


def _check_magic(path: str) -> None:
    """Refuse what is plainly no GGUF file before llama.cpp's C++ parser sees it."""
    try:
        with open(path, "rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise LoadError(f"cannot read {path}: {error.strerror}") from error
    if len(magic) < 8 or magic[:4] != b"GGUF":
        raise LoadError(f"{path} is not a GGUF file")


def _why_load_failed() -> str:
    """The first error line that llama.cpp logged (later ones only repeat that loading failed)."""
    return last_errors[0] if last_errors else "no reason given"
