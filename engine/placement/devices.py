"""Which of a machine's GPUs a new replica gets. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from engine.placement.port import Need

VISIBLE = "CUDA_VISIBLE_DEVICES"  # by index or id, in CUDA's programming guide under "environment variables"


def assign(wanted: int, gpus: Sequence[str], held: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """`wanted` different ones of `gpus`, all if there are fewer, in their order: those that the fewest replicas use.

    `held`: the GPUs of each replica that lives; ids not among `gpus` mean nothing.
    """
    users = Counter(gpu for one in held for gpu in set(one))
    chosen = sorted(gpus, key=lambda gpu: users[gpu])[:wanted]
    return tuple(gpu for gpu in gpus if gpu in chosen)


def left(free: Sequence[int], come: Iterable[Need]) -> tuple[int, ...]:
    """The free bytes of each GPU once some of such needs were there, each on those that have the most."""
    rooms = list(free)
    for need in come:
        for gpu in sorted(range(len(rooms)), key=lambda one: -rooms[one])[: need.accelerators]:
            rooms[gpu] = max(0, rooms[gpu] - need.device_bytes)
    return tuple(rooms)
