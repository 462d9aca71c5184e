"""Whether this model's logits depend on what else is in a decode call, tried at load on a few tokens.

"Same seed, same text" at any load rests on it. It holds for most quantized weights on a CPU, and not for F16, BF16,
those whose narrow and wide kernels round differently (K-quants where llama.cpp repacks them), and GPUs.
"""

from __future__ import annotations

import numpy as np

from engine.replica.llama import Context, Logits

TOKENS = 9
WIDEST = 5  # kernels change at four rows


def probe(context: Context) -> bool:
    """Evaluate the same tokens alone and together, in one call and one by one. Leaves the context empty."""
    width = min(WIDEST, context.slots)
    tokens = (np.arange(TOKENS, dtype=np.int32) * 7919 + 31) % context.vocabulary_size
    context.clear()
    singly = [_step(context, 0, int(token), position) for position, token in enumerate(tokens)][-1]
    for sequence in range(width):
        context.prefill(sequence, tokens[:-1], 0, rows="all") if sequence else context.keep(0, TOKENS - 1)
    context.decode_step(range(width), [int(tokens[-1])] * width, [TOKENS - 1] * width)
    together = context.logits(width).copy()
    context.clear()
    return bool(all(np.array_equal(row, singly) for row in together))


def _step(context: Context, sequence: int, token: int, position: int) -> Logits:
    context.decode_step([sequence], [token], [position])
    return np.array(context.logits(1)[0])
