"""A state as a glyph, a word and a tone: three ways to read it, so that none of them is needed.

Healthy is blue, attention is orange, failed is red with its own glyph (safe for red-green colour blindness).
States travel as open strings; one that this version does not know is shown as it came, in a neutral tone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

Tone = Literal["healthy", "working", "attention", "failed", "idle", "neutral"]
TONES: tuple[Tone, ...] = ("healthy", "working", "attention", "failed", "idle", "neutral")


@dataclass(frozen=True, slots=True)
class Look:
    """How one state looks: `glyph` is one cell wide, `rank` orders states by how much they ask for attention."""

    glyph: str
    word: str
    tone: Tone
    rank: int = 50

    @property
    def text(self) -> str:
        return f"{self.glyph} {self.word}"


_DEPLOYMENTS = {
    "FAILED": Look("✖", "FAILED", "failed", 0),
    "CREATING": Look("◐", "CREATING", "working", 20),
    "UPDATING": Look("◐", "UPDATING", "working", 21),
    "DELETING": Look("▼", "DELETING", "attention", 22),
    "READY": Look("●", "READY", "healthy", 30),
    "DELETED": Look("⊘", "DELETED", "idle", 90),
}
_STAGES = {
    "PENDING_SCHEDULING": Look("○", "pending", "attention", 1),
    "DOWNLOADING_MODEL": Look("↓", "downloading", "working", 2),
    "INITIALIZING": Look("◐", "loading", "working", 3),
    "READY": Look("●", "ready", "healthy", 4),
    "DRAINING": Look("▼", "draining", "attention", 5),
    "STOPPING": Look("▼", "stopping", "idle", 6),
    "FAILED": Look("✖", "failed", "failed", 0),
}
SCALED_TO_ZERO = Look("◌", "ZERO", "idle", 40)
_CALM: tuple[Tone, ...] = ("healthy", "idle")
_HELD_UP_RANK = 10  # after what failed, before what is on its way


def stage(name: str) -> Look:
    """The look of one replica's stage."""
    return _STAGES.get(name) or _unknown(name)


@lru_cache(maxsize=1 << 10)  # asked for thousands of deployments, which look in a few ways
def phase(state: str, ready: int | None, desired: int | None, *, held_up: bool = False) -> Look:
    """The look of a deployment: its state, refined by what its replicas are doing.

    READY with no replica wanted is "scaled to zero", not an outage; READY with another count than wanted is scaling.
    `held_up`: a condition holds. What would else look as if all were well then asks for attention.
    """
    look = _phase(state, ready, desired)
    return replace(look, glyph="▲", tone="attention", rank=_HELD_UP_RANK) if held_up and look.tone in _CALM else look


def _phase(state: str, ready: int | None, desired: int | None) -> Look:
    if state != "READY" or ready is None or desired is None:
        return _DEPLOYMENTS.get(state) or _unknown(state)
    if ready == desired:
        return SCALED_TO_ZERO if desired == 0 else _DEPLOYMENTS["READY"]
    if ready == 0 and desired > 0:
        return Look("▲", f"WAKING 0→{desired}", "working", 24)
    glyph = "▲" if desired > ready else "▼"
    return Look(glyph, f"SCALE {ready}→{desired}", "attention", 25)


def _unknown(name: str) -> Look:
    return Look("?", name.removeprefix("STATE_") or "UNKNOWN", "neutral", 60)
