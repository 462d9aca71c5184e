"""The values of a tensor of any of ggml's types, by ggml's own code, which is loaded on import."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp.llama_cpp as C
import numpy as np
from llama_cpp._ctypes_extensions import load_shared_library
from numpy.typing import NDArray

_F32 = 0


class _Traits(ctypes.Structure):
    """`struct ggml_type_traits` of ggml.h, of the version that llama-cpp-python carries."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


_ggml = load_shared_library("ggml-base", Path(C.__file__).parent / "lib")
_ggml.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
_ggml.ggml_get_type_traits.argtypes = [ctypes.c_int]


def floats(raw: bytes, ggml_type: int, elements: int) -> NDArray[np.float32]:
    """`elements` values, flat, of the bytes of a tensor, which are as many as they take."""
    if ggml_type == _F32:
        return np.frombuffer(raw, "<f4", elements)
    found = np.empty(elements, np.float32)
    _ggml.ggml_get_type_traits(ggml_type).contents.to_float(raw, found.ctypes.data, elements)
    return found
