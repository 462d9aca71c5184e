"""Which adapters a replica should load and drop, and how far a deployed model is. Pure.

An adapter is known by its model's name and the digest of its content: another content under the same name is another
adapter.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DEPLOYING, DEPLOYED, UNDEPLOYING, FAILED = "DEPLOYING", "DEPLOYED", "UNDEPLOYING", "FAILED"


@dataclass(frozen=True, slots=True)
class Held:
    """What a replica has under a name: the content's digest, or why it refused the content of that digest."""

    digest: str
    refusal: str = ""


class Do(enum.Enum):
    LOAD = enum.auto()
    UNLOAD = enum.auto()


@dataclass(frozen=True, slots=True)
class Step:
    do: Do
    name: str


Wanted = Mapping[str, str]  # digests by name
Holding = Mapping[str, Held]


def steps(wanted: Wanted, held: Holding) -> list[Step]:
    """What brings one replica from `held` to `wanted`. A content that it refused is not tried on it again."""
    drops = [Step(Do.UNLOAD, name) for name, has in held.items() if name not in wanted and not has.refusal]
    loads = [Step(Do.LOAD, name) for name, digest in wanted.items() if name not in held or held[name].digest != digest]
    return drops + loads


def state(name: str, digest: str, ready: Sequence[Holding], *, settled: bool) -> tuple[str, str]:
    """How far an adapter that is wanted is, over the replicas that take requests: (state, why it failed or "").

    `settled`: with no replica at all the deployment rests at zero, and the next one loads it before it is ready.
    """
    held = [holding.get(name) for holding in ready]
    refusals = [one.refusal for one in held if one is not None and one.digest == digest and one.refusal]
    if refusals:
        return FAILED, refusals[0]
    if not held:
        return (DEPLOYED if settled else DEPLOYING), ""
    return (DEPLOYED if all(one is not None and one.digest == digest for one in held) else DEPLOYING), ""


def refused_by_all(name: str, digest: str, ready: Sequence[Holding]) -> str:
    """Why none of the replicas that take requests could load it; "" where one could, or has not tried yet."""
    held = [holding.get(name) for holding in ready]
    refusals = [one.refusal for one in held if one is not None and one.digest == digest and one.refusal]
    return refusals[0] if refusals and len(refusals) == len(held) else ""
