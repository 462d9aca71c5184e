"""What a replica reported of its part in one request: its steps in time, and the drafts. Pure.

A replica reports durations and no instants: they are laid out backwards from its status line, which a stream's sends
when the prompt has been read and a whole answer's at its end. `spans` draws them, `explain` tells them.
"""

from __future__ import annotations

from engine.telemetry.trace import Attempt


def steps(one: Attempt) -> list[tuple[str, float, float | None]]:
    """What the replica reported of itself, as (step, start, end); nothing where it reported nothing."""
    numbers, laid = one.numbers, list[tuple[str, float, float | None]]()
    if "prefill_s" not in numbers or one.answered_at is None:
        return laid
    at = one.answered_at
    reading = [numbers[name] for name in ("tokenizer_queue_s", "tokenizer_s") if name in numbers]
    for name, seconds in (
        ("decode", numbers.get("decode_s")),
        ("prefill", numbers["prefill_s"]),
        ("queue", numbers.get("queue_s", 0.0)),
        ("tokenize", sum(reading) if reading else None),
    ):
        if seconds is not None:
            laid.append((name, at - seconds, at))
            at -= seconds
    return laid[::-1]


def speculation(numbers: dict[str, float]) -> dict[str, int]:
    """Tokens drafted, and how many of them were accepted; nothing where none was drafted."""
    return {name: int(numbers[name]) for name in ("accepted", "drafted") if name in numbers}
