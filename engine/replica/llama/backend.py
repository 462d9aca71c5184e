"""llama.cpp as a whole: initialised once a process, its log kept, what it can use."""

from __future__ import annotations

import ctypes
from collections import deque

import llama_cpp.llama_cpp as C

GGML_LOG_ERROR = 4

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


def why_load_failed() -> str:
    """The first error line that llama.cpp logged (later ones only repeat that loading failed)."""
    return last_errors[0] if last_errors else "no reason given"
