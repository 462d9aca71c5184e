"""Fireworks' perf metrics as headers of an answer: those of a replica, a simulated one, or the response cache."""

from __future__ import annotations

from collections.abc import Mapping


def perf_headers(metrics: Mapping[str, object]) -> list[tuple[bytes, bytes]]:
    """`fireworks-<metric>` each; numbers in plain decimals, to the microsecond."""
    return [(f"fireworks-{name}".encode(), _value(value)) for name, value in metrics.items()]


def _value(value: object) -> bytes:
    text = f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return text.encode("latin-1", "replace")
