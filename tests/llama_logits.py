"""What llama.cpp computes with a file, and how near two such answers are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.replica import llama

PLACES = 64


def logits(file: Path, tokens: str | Sequence[int], adapter: Path | None = None) -> NDArray[np.float64]:
    """Of every place of a text or of tokens, at most PLACES: (places, vocabulary)."""
    llama.start_backend()
    model = llama.Model(str(file), gpu_layers=0)
    context = llama.Context(model, llama.Shape(slots=1, context=256, threads=1, rows=PLACES))
    if adapter is not None:
        llama.set_adapters(context, [(llama.Adapter(model, str(adapter)), 1.0)])
    if isinstance(tokens, str):
        tokens = model.vocabulary.tokenize(tokens, add_special=False, parse_special=False)
    assert context.prefill(0, np.array(tokens, np.int32), 0, rows="all") == 0
    found = context.logits(len(tokens)).astype(np.float64)
    context.close()
    model.close()
    return found


def cosines(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each place's logits."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / lengths)
