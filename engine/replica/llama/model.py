"""A loaded GGUF file: weights, metadata, chat template."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cached_property

import llama_cpp.llama_cpp as C

from engine.replica.llama.backend import LoadCancelled, LoadError, why_load_failed
from engine.replica.llama.vocabulary import Vocabulary, meta

# Architectures that llama.cpp gives no KV memory (`llama_model::create_memory`): they read a text only as a whole.
ENCODERS = frozenset({
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert",
    "gemma-embedding", "dream", "llada", "llada-moe", "rnd1",
})  # fmt: skip


class Model:
    """Weights and metadata of one GGUF file. Loading blocks; `progress(fraction)` returning False cancels it."""

    def __init__(
        self,
        path: str,
        *,
        gpu_layers: int,
        tensor_split: Sequence[float] = (),
        progress: Callable[[float], bool] = lambda _fraction: True,
    ) -> None:
        _check_magic(path)
        self.path = path
        params = C.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        if tensor_split:
            shares = (ctypes.c_float * C.llama_max_devices())(*tensor_split)
            params.tensor_split = shares
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
            raise LoadError(f"llama.cpp cannot load {path}: {why_load_failed()}")
        if C.llama_model_has_encoder(self.pointer) and C.llama_model_has_decoder(self.pointer):
            raise LoadError(f"{path} is neither a decoder-only language model nor an encoder")
        self.vocabulary = Vocabulary(self.pointer)
        self.parameters: int = C.llama_model_n_params(self.pointer)
        self.context_trained: int = C.llama_model_n_ctx_train(self.pointer)
        self.layers: int = C.llama_model_n_layer(self.pointer)
        self.dimensions: int = C.llama_model_n_embd_out(self.pointer)  # of an embedding
        # Recurrent state has no per-token positions: a prefix of it cannot be kept.
        recurrent = C.llama_model_is_recurrent(self.pointer) or C.llama_model_is_hybrid(self.pointer)
        self.can_reuse_prefix = not recurrent

    @cached_property
    def architecture(self) -> str:
        return self.meta("general.architecture") or ""

    @cached_property
    def generates(self) -> bool:
        """Whether it writes text token by token. The others (BERT and its family) only pool: see `Pooling`."""
        if not C.llama_model_has_decoder(self.pointer) or self.architecture in ENCODERS:
            return False
        return self.meta(f"{self.architecture}.attention.causal") != "false"

    @cached_property
    def description(self) -> str:
        buffer = ctypes.create_string_buffer(256)
        C.llama_model_desc(self.pointer, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def meta(self, key: str) -> str | None:
        """A scalar of the file's metadata as text, or None when the file does not say."""
        return meta(self.pointer, key)

    @cached_property
    def chat_template(self) -> str | None:
        """The Jinja source in the file, or None for a base model."""
        raw = C.llama_model_chat_template(self.pointer, None)
        return raw.decode("utf-8", "replace") if raw else None

    @cached_property
    def rerank_template(self) -> str | None:
        """Text with {query} and {document} in it that a generative reranker was trained on, or None."""
        raw = C.llama_model_chat_template(self.pointer, b"rerank")
        return raw.decode("utf-8", "replace") if raw else None

    def close(self) -> None:
        C.llama_model_free(self.pointer)
        self.pointer = None


def _check_magic(path: str) -> None:
    """Refuse what is plainly no GGUF file before llama.cpp's C++ parser sees it."""
    try:
        with open(path, "rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise LoadError(f"cannot read {path}: {error.strerror}") from error
    if len(magic) < 8 or magic[:4] != b"GGUF":
        raise LoadError(f"{path} is not a GGUF file")
