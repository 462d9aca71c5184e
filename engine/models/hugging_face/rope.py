"""How a decoder rotates positions, by its config.json. Pure.

From `rope_parameters` as transformers 5 writes them, or `rope_theta` and `rope_scaling` as those before did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.models.hugging_face.architectures import Architecture
from engine.models.hugging_face.fields import CONTEXT_MAX, ORIGINAL, bad, count, number, unfit

LOCAL = "sliding_attention"  # in `layer_types`


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions are rotated. `linear`: positions are divided by it; `factors`: each frequency is, by its own, and
    what was rotated is `gain` times as long then; `local_base`: the base of layers with a window, where it is another.
    """

    base: float
    linear: float = 1.0
    factors: tuple[float, ...] = ()
    gain: float = 1.0
    local_base: float | None = None


def read(config: Mapping[str, Any], kind: Architecture, head_size: int, context: int) -> Rope:
    """`context`: that it was trained with, in tokens. Errors as of `config.read`."""
    given: Any = config.get("rope_parameters") or config.get("rope_scaling") or {}
    local: Any = {}
    if isinstance(given, dict) and "full_attention" in given:  # by type of layer
        given, local = given["full_attention"], given.get(LOCAL) or {}
    if not isinstance(given, dict) or not isinstance(local, dict):
        raise bad("its rope_scaling is not a JSON object")
    base, scaled = number({**config, **given}, "rope_theta", kind.rope_base), _scaling(given)
    if scaled not in (None, "default", *kind.rope_kinds):
        known = ", ".join(map(repr, kind.rope_kinds))
        raise unfit(f"its positions are scaled by {str(scaled)[:40]!r} (of a {kind.name} {known} is converted here)")
    if config.get("partial_rotary_factor", 1.0) != 1 or given.get("partial_rotary_factor", 1.0) != 1:
        raise unfit("only a part of each head is rotated (partial_rotary_factor)")
    if scaled in ("longrope", "su"):
        return _longrope(config, given, base, head_size, context)
    return Rope(
        base,
        linear=number(given, "factor", 1.0) if scaled == "linear" else 1.0,
        factors=_llama3(given, base, head_size, context) if scaled == "llama3" else (),
        local_base=_local_base(config, kind, given, local),
    )


def _local_base(
    config: Mapping[str, Any], kind: Architecture, given: Mapping[str, Any], local: Mapping[str, Any]
) -> float | None:
    """The base of layers with a window, where llama.cpp takes another for them than for the others."""
    if kind.local_rope_base is None:
        if local and local != given:
            raise unfit(f"layers with a window are rotated otherwise than others, and not so in a {kind.name}")
        return None
    if _scaling(local) not in (None, "default"):
        raise unfit("the positions of its layers with a window are scaled (rope_parameters)")
    older = {"rope_theta": config.get("rope_local_base_freq")}
    return number(local or older, "rope_theta", kind.local_rope_base)


def _scaling(rope: Mapping[str, Any]) -> Any:
    return rope.get("rope_type", rope.get("type"))


def _llama3(given: Mapping[str, Any], base: float, head_size: int, context: int) -> tuple[float, ...]:
    """What each frequency is divided by: long waves by `factor`, short ones by nothing, in between by a mean of both
    (https://github.com/meta-llama/llama-models, `apply_scaling`)."""
    factor, low, high = (number(given, key, 1.0) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    before = number(given, "original_max_position_embeddings", float(context))
    if high <= low:
        raise bad("its rope_scaling has a high_freq_factor that is not above its low_freq_factor")

    def divisor(pair: int) -> float:
        wavelength = 2 * math.pi * math.pow(base, 2 * pair / head_size)
        smooth = min(1.0, max(0.0, (before / wavelength - low) / (high - low)))
        return 1 / ((1 - smooth) / factor + smooth)

    return tuple(divisor(pair) for pair in range(head_size // 2))


def _longrope(config: Mapping[str, Any], given: Mapping[str, Any], base: float, head_size: int, trained: int) -> Rope:
    """The frequencies of texts up to the original context (arXiv 2402.13753), of which `_context` leaves no more."""
    factors = given.get("short_factor")
    sound = isinstance(factors, list) and len(factors) == head_size // 2
    if not isinstance(factors, list) or not sound or not all(type(one) in (int, float) and one > 0 for one in factors):
        raise bad(f"its short_factor is no list of {head_size // 2} numbers above 0")
    original = count({**config, **given}, ORIGINAL, trained, CONTEXT_MAX)
    longer = trained / original
    usual = math.sqrt(1 + math.log(longer) / math.log(original)) if longer > 1 and original > 1 else 1.0
    gain = number(given, "attention_factor", usual)
    return Rope(base, factors=tuple(float(one) for one in factors), gain=gain)
