"""A GGUF model in another precision, made by llama.cpp's own quantizer.

Weights that are quantized already can be quantized again, at the price of both errors: whoever serves the result
should say how far it departs from its source. The work happens in this process, takes about a second for each few
hundred megabytes, and keeps llama.cpp's log to itself from then on; llama.cpp is loaded on import.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from pathlib import Path

import llama_cpp

from client.errors import FailedPrecondition, Internal, InvalidArgument
from engine.models import gguf
from engine.models.appearing import appearing
from engine.models.cursor import Cursor, open_regular
from engine.models.header import read_header

# llama.h's names of `enum llama_ftype`, as people write them. Types that need an importance matrix are left out.
FILE_TYPES: dict[str, int] = {
    "F32": llama_cpp.LLAMA_FTYPE_ALL_F32,
    "F16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    "BF16": llama_cpp.LLAMA_FTYPE_MOSTLY_BF16,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q6_K": llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K,
    "Q5_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "Q5_K_S": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_S,
    "Q5_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_0,
    "Q5_1": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_1,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q4_K_S": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_S,
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q4_1": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_1,
    "IQ4_NL": llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_NL,
    "IQ4_XS": llama_cpp.LLAMA_FTYPE_MOSTLY_IQ4_XS,
    "Q3_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_M,
    "Q2_K": llama_cpp.LLAMA_FTYPE_MOSTLY_Q2_K,
    "MXFP4_MOE": llama_cpp.LLAMA_FTYPE_MOSTLY_MXFP4_MOE,
}
OF_EXPERTS = "MXFP4_MOE"  # quantizes the experts' weights alone, the others to Q8_0
NOT_QUANTIZED = frozenset({"F32", "F16", "BF16"})
LOG_LEVEL_ERROR = 3  # of enum ggml_log_level

_errors: deque[str] = deque(maxlen=5)  # llama.cpp reports why it failed only in its log


def _on_log(level: int, text: bytes, _user: object) -> None:
    if level == LOG_LEVEL_ERROR:
        _errors.append(text.decode("utf-8", "replace").strip())


_log_callback = llama_cpp.llama_log_callback(_on_log)  # kept: llama.cpp holds only the raw pointer


def quantize(source: Path, target: Path, ftype_name: str, allow_requantize: bool = True, *, threads: int = 0) -> Path:
    """Write the model at `source` in precision `ftype_name` to `target`, which appears whole or not at all.

    `threads` 0: one a core. Raises InvalidArgument for an unknown precision, a file that is no model, or one that is
    split; FailedPrecondition for a quantized source when `allow_requantize` is False, or a folder that cannot be
    written; Internal when llama.cpp fails.
    """
    file_type = FILE_TYPES.get(ftype_name.upper())
    if file_type is None:
        raise InvalidArgument(
            f"{ftype_name[:40]!r} is no precision", field="precision", hint=f"one of {', '.join(FILE_TYPES)}"
        )
    _check(source, target, allow_requantize=allow_requantize)
    if ftype_name.upper() == OF_EXPERTS and not _has_experts(source):
        raise FailedPrecondition(
            f"{source.name} is no mixture of experts, and {OF_EXPERTS} is for their weights alone", field="precision",
            hint="take Q8_0 or Q4_0",
        )  # fmt: skip
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = file_type
    parameters.allow_requantize = allow_requantize
    parameters.nthread = threads
    _errors.clear()
    llama_cpp.llama_log_set(_log_callback, ctypes.c_void_p(0))
    with appearing(target) as unfinished:
        code = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(unfinished), ctypes.byref(parameters))
        if code:
            why = _errors[0] if _errors else f"code {code}"
            raise Internal(f"llama.cpp could not quantize {source.name} to {ftype_name}: {why}")
    return target


def _has_experts(source: Path) -> bool:
    with open_regular(source) as fd:
        return any("_exps." in tensor.name for tensor in read_header(Cursor(fd, source.name)).tensors)


def _check(source: Path, target: Path, *, allow_requantize: bool) -> None:
    """llama.cpp ends the process on some bad files: nothing reaches it unread."""
    found = gguf.read(source)
    if found.kind != "model":
        raise InvalidArgument(f"{source.name} is of kind {found.kind}, not a model", field="source")
    if found.split_count > 1:
        raise InvalidArgument(f"{source.name} is one of {found.split_count} parts", field="source")
    if not allow_requantize and found.quantization not in NOT_QUANTIZED:
        raise FailedPrecondition(
            f"{source.name} is quantized already ({found.quantization})", hint="start from an F16 or BF16 file"
        )
    if target.exists() and target.samefile(source):
        raise InvalidArgument("source and target are the same file", field="target")
