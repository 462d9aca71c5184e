"""Whose request it is and until when, from headers: bounded, and never guessed."""

from __future__ import annotations

import pytest

from client.errors import InvalidArgument
from engine.replica.standing import TENANT_HEADER, TIMEOUT_HEADER, deadline, tenant


def test_without_headers_there_is_no_tenant_and_no_deadline() -> None:
    assert tenant({}) == ""
    assert deadline({}, 5.0) is None


def test_the_deadline_counts_from_the_arrival() -> None:
    assert deadline({TIMEOUT_HEADER: "2.5"}, 100.0) == 102.5


@pytest.mark.parametrize("given", ["", "0", "-1", "nan", "inf", "86401", "0.0001", "1s", "1e400"])
def test_a_timeout_out_of_range_is_refused_by_name(given: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        deadline({TIMEOUT_HEADER: given}, 0.0)
    assert caught.value.field == TIMEOUT_HEADER


def test_a_tenant_is_bounded() -> None:
    assert tenant({TENANT_HEADER: "local/admin"}) == "local/admin"
    with pytest.raises(InvalidArgument):
        tenant({TENANT_HEADER: "x" * 257})
