"""What a model file makes of a text, and how fast: what two precisions of one model are compared by.

Teacher-forced: every place of the text is read with the text's own words before it, so that two files are asked the
same questions however they would have gone on. Perplexity is exp of the mean negative log likelihood.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.preparing.sample import TEXT
from engine.replica import llama

ROWS = 64  # places whose logits are in memory at once: 64 MiB for the largest vocabularies
TOKENS_MAX = 640
PREFILL_TOKENS = 256
STEPS = 32
REPEATS = 2


class NotComparable(Exception):
    """The file cannot be measured; the text is one line for people."""


@dataclass(frozen=True, slots=True)
class Reading:
    """`choices`: the likeliest next token at each place (tokens,); speeds in tokens a second of one sequence."""

    choices: NDArray[np.int64]
    perplexity: float
    prefill_speed: float
    decode_speed: float
    device: str


def read(file: Path, *, threads: int, gpu_layers: int) -> Reading:
    """Load the file, let it read the text, time it, and let go of it. Raises LoadError and NotComparable."""
    model = llama.Model(str(file), gpu_layers=gpu_layers)
    try:
        if not model.generates:
            raise NotComparable(f"{file.name} writes no text, so there is nothing that precisions could agree in")
        context = llama.Context(model, _shape(model, threads))
        try:
            return _reading(model, context, llama.accelerators() if gpu_layers else ())
        finally:
            context.close()
    finally:
        model.close()


def agreement(one: Reading, other: Reading) -> float:
    """In how many of all places both go on alike, 0 to 1. NotComparable for different vocabularies."""
    if one.choices.shape != other.choices.shape:
        raise NotComparable("the two files cut the text into different tokens")
    return float(np.mean(one.choices == other.choices))


def _shape(model: llama.Model, threads: int) -> llama.Shape:
    context = min(model.context_trained, TOKENS_MAX + STEPS)
    return llama.Shape(slots=1, context=context, threads=threads, batch=PREFILL_TOKENS, rows=ROWS)


def _reading(model: llama.Model, context: llama.Context, devices: tuple[str, ...]) -> Reading:
    length = min(TOKENS_MAX, context.length - STEPS)
    tokens = np.array(model.vocabulary.tokenize(TEXT, add_special=True, parse_special=False)[:length], np.int32)
    if len(tokens) < 2:
        raise NotComparable("its context is too short for the text that precisions are compared by")
    choices, loss = _fidelity(context, tokens)
    # The shortest of several times is the one that others on this machine disturbed least.
    prefill = min(_prefill_s(context, tokens[:PREFILL_TOKENS]) for _ in range(REPEATS))
    step = min(_step_s(context, int(tokens[-1]), len(tokens[:PREFILL_TOKENS]) + i) for i in range(STEPS))
    return Reading(
        choices, float(np.exp(loss)), len(tokens[:PREFILL_TOKENS]) / prefill, 1 / step, ", ".join(devices) or "CPU"
    )


def _fidelity(context: llama.Context, tokens: NDArray[np.int32]) -> tuple[NDArray[np.int64], float]:
    """The choice at every place but the last, and the mean loss of what stands there."""
    choices, losses = [], []
    for start in range(0, len(tokens) - 1, ROWS):
        places = tokens[start : min(start + ROWS, len(tokens) - 1)]
        _check(context.prefill(0, places, start, rows="all"))
        logits = context.logits(len(places))
        choices.append(logits.argmax(axis=1))
        top = logits.max(axis=1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        losses.append(total - logits[np.arange(len(places)), tokens[start + 1 : start + 1 + len(places)]])
    return np.concatenate(choices), float(np.concatenate(losses).mean(dtype=np.float64))


def _prefill_s(context: llama.Context, tokens: NDArray[np.int32]) -> float:
    context.clear()
    began = time.perf_counter()
    _check(context.prefill(0, tokens, 0, rows="last"))
    context.synchronize()
    return time.perf_counter() - began


def _step_s(context: llama.Context, token: int, position: int) -> float:
    began = time.perf_counter()
    _check(context.decode_step([0], [token], [position]))
    context.synchronize()
    return time.perf_counter() - began


def _check(code: int) -> None:
    if code:
        raise NotComparable(f"llama.cpp could not compute with it (code {code})")
