"""LoRA adapters: loaded beside a model, and set on a context."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as C

from engine.replica.llama.backend import LoadError, last_errors
from engine.replica.llama.context import Context
from engine.replica.llama.model import Model


class Adapter:
    """A LoRA adapter in memory. It belongs to its model, which frees what was not closed before.

    The file must have passed `engine.models.adapter`: llama.cpp aborts on metadata of unexpected types.
    """

    def __init__(self, model: Model, path: str) -> None:
        """Load a file. LoadError with llama.cpp's reason when it does not take it."""
        last_errors.clear()  # what follows must be about this file
        self.pointer = C.llama_adapter_lora_init(model.pointer, path.encode())
        if not self.pointer:
            raise LoadError(_reason())

    def meta(self, key: str) -> str | None:
        """A scalar of the file's metadata as text, or None when the file does not say."""
        buffer = ctypes.create_string_buffer(1024)
        length = C.llama_adapter_meta_val_str(self.pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None

    def close(self) -> None:
        """Free the weights. No context may have the adapter set: it would read freed memory."""
        if self.pointer:
            C.llama_adapter_lora_free(self.pointer)
        self.pointer = None


def set_adapters(context: Context, uses: Sequence[tuple[Adapter, float]]) -> None:
    """Make all later decodes of `context` use these adapters at these scales, and no others.

    A change costs a new graph at the next decode (2-3 ms on a CPU). llama.cpp adds adapters in the order of a hash
    table: for one or two that is the reverse of the order given, for more it may differ from process to process, and
    with it the last bits of the logits.
    """
    if any(not adapter.pointer for adapter, _ in uses):
        raise ValueError("an adapter that was closed cannot be set")
    if any(not math.isfinite(scale) for _, scale in uses):
        raise ValueError("a scale must be a number")
    n = len(uses)
    pointers = (C.llama_adapter_lora_p_ctypes * n)(*(_typed(adapter.pointer) for adapter, _ in uses))
    scales = (ctypes.c_float * n)(*(scale for _, scale in uses))
    code = C.llama_set_adapters_lora(context.pointer, pointers if n else None, n, scales if n else None)
    if code != 0:
        raise RuntimeError(f"llama_set_adapters_lora returned {code}")


def _typed(pointer: Any) -> Any:
    return ctypes.cast(pointer, C.llama_adapter_lora_p_ctypes)


def _reason() -> str:
    """The first line that llama.cpp logged, without the name of the function that logged it."""
    line = last_errors[0] if last_errors else "llama.cpp gave no reason"
    return line.split(": failed to apply lora adapter: ")[-1].strip()
