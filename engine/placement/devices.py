"""Which of a machine's GPUs a new replica gets. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"  # by index or id, in CUDA's programming guide under "environment variables"


def assign(wanted: int, gpus: Sequence[str], held: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """`wanted` different ones of `gpus`, all if there are fewer, in their order: those that the fewest replicas use.

    `held`: the GPUs of each replica that lives; ids not among `gpus` mean nothing.
    """
    users = Counter(gpu for one in held for gpu in set(one))
    chosen = sorted(gpus, key=lambda gpu: users[gpu])[:wanted]
    return tuple(gpu for gpu in gpus if gpu in chosen)
