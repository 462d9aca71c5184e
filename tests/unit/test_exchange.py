"""What goes on to a replica: the client's limits, less the time spent here, and the tenant that the key names."""

from __future__ import annotations

import pytest

from client.errors import InvalidArgument
from engine.gateway.exchange import Exchange, sent_headers, time_left
from engine.keys import Principal

CALLER = Principal(account="local", user="admin", role="admin", key_id="k1")


def exchange(headers: dict[str, str], now: float) -> Exchange:
    return Exchange("/v1/completions", b"", False, "r", 100.0, lambda: now, sent_headers(headers, CALLER))


def test_the_tenant_comes_from_the_key_and_nothing_internal_from_the_client() -> None:
    internal = {
        "x-firedeck-tenant": "someone-else", "x-firedeck-addon": "a", "x-firedeck-journal": "9",
        "x-firedeck-max-tokens": "9",
    }  # fmt: skip
    claimed = {**internal, "x-prompt-cache-isolation-key": "a", "cookie": "c"}
    assert sent_headers(claimed, CALLER) == {"x-firedeck-tenant": "local/k1", "x-prompt-cache-isolation-key": "a"}


@pytest.mark.parametrize("name", ["x-prompt-cache-isolation-key", "x-request-timeout"])
def test_a_header_that_is_not_ascii_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        sent_headers({name: "é"}, CALLER)
    assert caught.value.field == name


@pytest.mark.parametrize(("given", "left"), [("10", 7.5), ("2.501", 0.001), ("1", 0.001)])
def test_waiting_here_counts_against_the_clients_timeout(given: str, left: float) -> None:
    assert time_left(exchange({"x-request-timeout": given}, now=102.5)) == pytest.approx(left)


@pytest.mark.parametrize("given", ["", "soon", "-1", "0", "nan"])
def test_a_timeout_that_is_none_is_left_to_the_replica_to_refuse(given: str) -> None:
    assert time_left(exchange({"x-request-timeout": given}, now=101.0)) is None


def test_without_a_timeout_there_is_all_the_time() -> None:
    assert time_left(exchange({}, now=500.0)) is None
