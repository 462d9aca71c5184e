"""Whose request it is and until when, from headers: bounded, and never guessed."""

from __future__ import annotations

import pytest

from client.errors import InvalidArgument
from engine.gateway import exchange
from engine.replica.standing import (
    MOST_TOKENS_HEADER,
    TENANT_HEADER,
    TIMEOUT_HEADER,
    UNLIMITED_TOKENS,
    deadline,
    most_tokens,
    tenant,
)


def test_without_headers_there_is_no_tenant_and_no_deadline() -> None:
    assert tenant({}) == ""
    assert deadline({}, 5.0) is None
    assert most_tokens({}) == UNLIMITED_TOKENS


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


def test_the_gateway_says_how_long_an_answer_may_be() -> None:
    assert most_tokens({exchange.MOST_TOKENS_HEADER: "17"}) == 17


@pytest.mark.parametrize("given", ["", "0", "-1", "1.5", "x", "9" * 11])
def test_a_bound_that_is_none_is_refused_by_name(given: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        most_tokens({MOST_TOKENS_HEADER: given})
    assert caught.value.field == MOST_TOKENS_HEADER
