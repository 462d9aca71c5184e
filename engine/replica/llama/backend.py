"""llama.cpp as a whole: initialised once a process, its log kept, what it can use."""

from __future__ import annotations

import contextlib
import ctypes
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import llama_cpp
import llama_cpp.llama_cpp as C
from llama_cpp._ctypes_extensions import load_shared_library

GGML_LOG_ERROR = 4
GGML_DEVICE_GPU = 1  # ggml-backend.h: ggml_backend_dev_type

_ggml = load_shared_library("ggml", Path(C.__file__).parent / "lib")  # what of it the bindings leave out

last_errors: deque[str] = deque(maxlen=20)  # llama.cpp reports why a load failed only in its log
_watching: list[list[str]] = []
_told: list[Callable[[int, str], None]] = []


def _on_log(level: int, text: bytes, _user: object) -> None:
    for lines in _watching:
        lines.append((text or b"").decode("utf-8", "replace"))
    for take in _told:
        take(level, (text or b"").decode("utf-8", "replace"))
    if level == GGML_LOG_ERROR and text:
        last_errors.append(text.decode("utf-8", "replace").strip())


_log_callback = C.llama_log_callback(_on_log)  # kept: llama.cpp holds only the raw pointer


def tell_log(take: Callable[[int, str], None]) -> None:
    """From now on `take` gets all that llama.cpp logs, with its level, on any thread; nobody else does any more."""
    _told[:] = [take]


@contextlib.contextmanager
def watch_log() -> Iterator[list[str]]:
    """All that llama.cpp logs meanwhile, on any thread: some of its decisions are told nowhere else."""
    lines: list[str] = []
    _watching.append(lines)
    try:
        yield lines
    finally:
        _watching[:] = [one for one in _watching if one is not lines]


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


def accelerators() -> tuple[str, ...]:
    """The GPUs that llama.cpp sees, by the name of their type; the integrated ones are left out. None in a build for
    CPUs."""
    if not gpu_available():
        return ()
    _ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    _ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    _ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    _ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    _ggml.ggml_backend_dev_description.restype = ctypes.c_char_p
    _ggml.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    devices = (_ggml.ggml_backend_dev_get(place) for place in range(_ggml.ggml_backend_dev_count()))
    gpus = (device for device in devices if _ggml.ggml_backend_dev_type(device) == GGML_DEVICE_GPU)
    return tuple(_ggml.ggml_backend_dev_description(gpu).decode("utf-8", "replace") for gpu in gpus)


def build() -> str:
    """Which llama.cpp this is: the version of its bindings, and what it was compiled to use on this machine."""
    return f"{llama_cpp.__version__} {C.llama_print_system_info().decode('utf-8', 'replace')}"


def why_load_failed() -> str:
    """The first error line that llama.cpp logged (later ones only repeat that loading failed)."""
    return last_errors[0] if last_errors else "no reason given"
