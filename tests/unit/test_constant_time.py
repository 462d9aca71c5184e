"""Keys are compared in constant time alone (CVE-2025-59425 was a plain comparison): here no other way is possible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client.errors import Unauthenticated
from engine.clock import FakeClock
from engine.keys import Keyring
from engine.placement.port import Launch
from engine.placement.simulated.replica import SimulatedReplica
from engine.replica.server import App
from engine.store.store import KeyRecord

KEY = "fd_a-key-of-somebody"


class _Secret:
    """Nobody may ask whether it equals something, begins with it, or comes before it."""

    def _refuse(self, *_others: object) -> bool:
        raise AssertionError("a secret was compared in a way that tells by its time how much of it was right")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = startswith = endswith = _refuse
    __hash__ = None  # type: ignore[assignment]


class SecretText(_Secret, str):
    pass


class SecretBytes(_Secret, bytes):
    pass


class NoStore:
    async def put_key(self, record: KeyRecord) -> None:
        return


@pytest.mark.parametrize("secret", [SecretText("abc"), SecretBytes(b"abc")])
def test_a_secret_of_these_tests_can_be_compared_in_no_plain_way(secret):
    plain = str(secret.upper()).lower() if isinstance(secret, str) else bytes(secret.upper()).lower()
    ways = (
        lambda: secret == plain,
        lambda: plain == secret,
        lambda: secret != plain,
        lambda: plain in secret,
    )
    for compared in ways:
        with pytest.raises(AssertionError, match="was compared"):
            compared()


async def ring_of_secrets() -> Keyring:
    """The hashes of all its keys are secrets."""
    ring: Any = Keyring(NoStore())  # type: ignore[arg-type]
    record, key = await ring.create("alice", "u", "user", "", None)
    ring.take([replace(record, hash=SecretText(record.hash))])
    ring.key = key
    return ring


async def test_an_api_key_is_looked_up_and_compared_in_constant_time():
    ring: Any = await ring_of_secrets()
    assert ring.identify({"authorization": f"Bearer {ring.key}"}).user == "u"


async def test_a_hash_that_is_the_same_in_the_half_by_which_it_is_found_is_not_enough():
    ring: Any = await ring_of_secrets()
    [half] = ring._by_half
    record = ring._by_half[half]
    other = str.__getitem__(record.hash, slice(32)) + "0" * 32
    ring._by_half[half] = replace(record, hash=SecretText(other))
    with pytest.raises(Unauthenticated, match="invalid"):
        ring.identify({"authorization": f"Bearer {ring.key}"})


def real() -> Any:
    runtime: Any = SimpleNamespace(settings=SimpleNamespace(deployment="d", replica="r"), status="ready")
    runtime.load_figures = dict
    return App(runtime, None, KEY)  # type: ignore[arg-type]


def simulated() -> Any:
    launch = Launch("r", "d", Path("m"), KEY, slots=1, context_tokens=256, cores=1)
    clock: Any = FakeClock()
    return SimulatedReplica(launch, None, clock, device="cpu", ready_at=0.0, seed=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("replica", [real, simulated])
@pytest.mark.parametrize(
    ("given", "status"),
    [(f"Bearer {KEY}", 200), ("", 401), (f"Bearer {KEY[:-1]}", 401), (f"Bearer {KEY}x", 401), (KEY, 401)],
)
async def test_a_replica_compares_its_own_key_in_constant_time(replica, given, status):
    app, sent = replica(), []
    app._authorization = SecretBytes(app._authorization)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"authorization", SecretBytes(given.encode()))] if given else []
    await app({"type": "http", "method": "GET", "path": "/health", "headers": headers}, None, send)
    assert sent[0]["status"] == status
