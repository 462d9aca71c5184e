"""Whose request it is, until when it matters and how long its answer may be, from its headers."""

from __future__ import annotations

from collections.abc import Mapping

from client.errors import InvalidArgument

TENANT_HEADER = "x-firedeck-tenant"  # written by the gateway, from the caller's key
TIMEOUT_HEADER = "x-request-timeout"  # seconds from the arrival of the request
MOST_TOKENS_HEADER = "x-firedeck-max-tokens"  # of each answer; written by the gateway, where a limit leaves less
MAX_TENANT_CHARS = 256
UNLIMITED_TOKENS = 1 << 31
MIN_TIMEOUT_S, MAX_TIMEOUT_S = 0.001, 86_400.0


def tenant(headers: Mapping[str, str]) -> str:
    """Who shares the replica fairly with others: "" when nobody says."""
    name = headers.get(TENANT_HEADER, "")
    if len(name) > MAX_TENANT_CHARS:
        raise InvalidArgument(f"{TENANT_HEADER}: at most {MAX_TENANT_CHARS} characters", field=TENANT_HEADER)
    return name


def deadline(headers: Mapping[str, str], arrived: float) -> float | None:
    """When the request ends unfinished, on the clock of `arrived`; None when it has all the time it needs."""
    given = headers.get(TIMEOUT_HEADER)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not MIN_TIMEOUT_S <= seconds <= MAX_TIMEOUT_S:  # NaN too is refused here
        raise InvalidArgument(
            f"{TIMEOUT_HEADER}: seconds from {MIN_TIMEOUT_S} to {MAX_TIMEOUT_S:.0f}", field=TIMEOUT_HEADER
        )
    return arrived + seconds


def most_tokens(headers: Mapping[str, str]) -> int:
    """What each answer may have besides what the request says; UNLIMITED_TOKENS when nobody says."""
    given = headers.get(MOST_TOKENS_HEADER)
    if given is None:
        return UNLIMITED_TOKENS
    if not (given.isascii() and given.isdigit() and len(given) <= 10) or int(given) < 1:
        raise InvalidArgument(f"{MOST_TOKENS_HEADER}: a whole number of 1 or more", field=MOST_TOKENS_HEADER)
    return int(given)
