"""Single fields of a config.json, and what is said of those that cannot be used. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument

NAME = "config.json"
OTHERWISE = "convert it with llama.cpp's convert_hf_to_gguf.py and upload the GGUF file"
CONTEXT_MAX = 1 << 24
ORIGINAL = "original_max_position_embeddings"


def unfit(why: str, hint: str = OTHERWISE) -> FailedPrecondition:
    """The error for a sound model that cannot be converted."""
    return FailedPrecondition(f"this model cannot be converted: {why}", field="file", hint=hint)


def count(config: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = config.get(key)
    value = default if value is None else value
    if type(value) is not int or not 1 <= value <= most:
        raise bad(f"its {key} is {str(value)[:40]} (1 to {most:,} are accepted)")
    return value


def number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise bad(f"its {key} is {str(value)[:40]}, which is no number above 0 that can be used")
    return float(value)


def bad(why: str) -> FiredeckError:
    return InvalidArgument(f"{NAME} is not usable: {why}", field="file", hint="give it as transformers has saved it")
