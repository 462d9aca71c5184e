"""What is said of a quota that was set."""

from __future__ import annotations

import pytest

from client.access_types import Quota
from client.cli.quotas import beyond


def quota(name: str, value: int, usage: float | None, most: int = 1000) -> Quota:
    return Quota(name=f"accounts/local/quotas/{name}", value=str(value), max_value=str(most), usage=usage)


def test_a_quota_below_what_is_used_is_warned_of_with_what_comes_of_it() -> None:
    assert beyond(quota("replica-count", 8, 15)) == (
        "warning: replica-count is 8 now, and 15 are used already: what there is stays, and none is added"
    )
    assert "12.50 are used already: it holds" in beyond(quota("monthly-spend-usd", 12, 12.5))


@pytest.mark.parametrize("usage", [None, 0, 8])
def test_one_that_has_room_or_is_just_full_or_whose_use_is_not_known_is_not(usage: float | None) -> None:
    assert not beyond(quota("replica-count", 8, usage))


def test_one_that_is_off_limits_nothing() -> None:
    assert not beyond(quota("monthly-spend-usd", 5, 9.0, most=5))
