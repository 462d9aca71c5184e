"""API keys: made private, looked up by hash, refused with a reason."""

from __future__ import annotations

import stat
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from client.config import ADMIN_KEY_FILE
from client.errors import FailedPrecondition, PermissionDenied, ResourceExhausted, Unauthenticated
from engine import keys as keys_room
from engine.keys import KeyRefused, Keyring, Principal
from engine.store.store import KeyRecord, Store


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch):
    monkeypatch.delenv("FIREDECK_API_KEY", raising=False)


@pytest.fixture
async def store(tmp_path):
    opened = await Store.open(tmp_path / "state.db")
    yield opened
    await opened.close()


@pytest.fixture
def keyring(store):
    return Keyring(store)


async def add_key(store, keyring, key: str, **known) -> None:
    record = {
        "id": "k1", "hash": keys_room._hash(key), "prefix": key[:8], "account": "alice", "user": "u", "role": "user",
        "display_name": "", "create_time": datetime.now(UTC).isoformat(), **known,
    }  # fmt: skip
    await store.put_key(KeyRecord(**record))
    await keyring.load()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_the_first_start_makes_a_long_random_key_that_only_its_owner_can_read(keyring, tmp_path):
    key = await keyring.ensure_admin(tmp_path)
    file = tmp_path / ADMIN_KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == key
    assert key.startswith("fd_")
    assert len(key) >= 43
    assert sorted(p.name for p in tmp_path.iterdir() if "key" in p.name) == [ADMIN_KEY_FILE]


async def test_the_admin_key_is_as_old_as_it_is_at_every_start(store, tmp_path):
    made = []
    for _ in range(2):
        ring = Keyring(store)
        await ring.load()
        await ring.ensure_admin(tmp_path)
        made.append(ring.of("local", "admin")[0].create_time)
    (tmp_path / ADMIN_KEY_FILE).unlink()
    await ring.ensure_admin(tmp_path)
    [another] = ring.of("local", "admin")
    assert made[0] == made[1] < another.create_time


async def test_later_starts_keep_the_key(keyring, store, tmp_path):
    key = await keyring.ensure_admin(tmp_path)
    again = Keyring(store)
    await again.load()
    assert await again.ensure_admin(tmp_path) == key
    assert again.identify(bearer(key)) == Principal("local", "admin", "admin", "admin")
    assert len(await store.keys()) == 1


async def test_two_engines_make_different_keys(keyring, store, tmp_path):
    (tmp_path / "other").mkdir()
    assert await keyring.ensure_admin(tmp_path) != await Keyring(store).ensure_admin(tmp_path / "other")


@pytest.mark.parametrize("left_behind", ["", "\n"])
async def test_an_empty_key_file_left_by_a_crash_is_filled_not_tripped_over(keyring, tmp_path, left_behind):
    (tmp_path / ADMIN_KEY_FILE).write_text(left_behind)
    key = await keyring.ensure_admin(tmp_path)
    assert (tmp_path / ADMIN_KEY_FILE).read_text().strip() == key
    assert stat.S_IMODE((tmp_path / ADMIN_KEY_FILE).stat().st_mode) == 0o600


async def test_the_environment_overrides_the_file_and_leaves_it_alone(keyring, tmp_path, monkeypatch):
    old = await keyring.ensure_admin(tmp_path)
    monkeypatch.setenv("FIREDECK_API_KEY", "from-the-environment\n")
    assert await keyring.ensure_admin(tmp_path) == "from-the-environment"
    assert keyring.identify(bearer("from-the-environment")).key_id == "admin"
    with pytest.raises(Unauthenticated):
        keyring.identify(bearer(old))
    assert (tmp_path / ADMIN_KEY_FILE).read_text().strip() == old


async def test_with_a_key_in_the_environment_no_file_is_written(keyring, tmp_path, monkeypatch):
    monkeypatch.setenv("FIREDECK_API_KEY", "from-the-environment")
    await keyring.ensure_admin(tmp_path)
    assert not (tmp_path / ADMIN_KEY_FILE).exists()


async def test_a_key_file_that_cannot_be_read_is_a_clear_error(keyring, tmp_path):
    (tmp_path / ADMIN_KEY_FILE).mkdir()
    with pytest.raises(FailedPrecondition, match=ADMIN_KEY_FILE):
        await keyring.ensure_admin(tmp_path)


async def test_the_key_itself_is_never_stored(keyring, tmp_path):
    key = await keyring.ensure_admin(tmp_path)
    stored = b"".join(p.read_bytes() for p in tmp_path.glob("state.db*"))
    assert key.encode() not in stored
    assert key[:4].encode() in stored


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer good"}, {"authorization": "bearer good"}, {"authorization": "BEARER  good "},
        {"x-api-key": "good"}, {"x-api-key": " good "}, {"authorization": "Basic abc", "x-api-key": "good"},
    ],
)  # fmt: skip
async def test_a_key_is_taken_as_bearer_or_as_x_api_key(keyring, store, headers):
    await add_key(store, keyring, "good")
    assert keyring.identify(headers) == Principal("alice", "u", "user", "k1")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "no API key"), ({"authorization": ""}, "no API key"), ({"authorization": "Bearer"}, "no API key"),
        ({"authorization": "Bearer "}, "no API key"), ({"authorization": "Basic good"}, "no API key"),
        ({"authorization": "good"}, "no API key"), ({"x-api-key": "  "}, "no API key"),
        ({"authorization": "Bearer bad"}, "invalid"), ({"authorization": "Bearer goo"}, "invalid"),
        ({"authorization": "Bearer GOOD"}, "invalid"), ({"authorization": "Bearer good good"}, "invalid"),
        ({"x-api-key": "' OR 1=1 --"}, "invalid"), ({"x-api-key": "é\x00"}, "invalid"),
    ],
)  # fmt: skip
async def test_no_key_a_wrong_scheme_or_a_wrong_key_is_unauthenticated(keyring, store, headers, why):
    await add_key(store, keyring, "good")
    with pytest.raises(Unauthenticated, match=why):
        keyring.identify(headers)


async def test_an_expired_key_is_refused_and_one_that_will_expire_is_not(keyring, store):
    now = datetime.now(UTC)
    await add_key(store, keyring, "old", id="k1", expire_time=(now - timedelta(seconds=1)).isoformat())
    await add_key(store, keyring, "young", id="k2", expire_time=(now + timedelta(days=1)).isoformat())
    with pytest.raises(Unauthenticated, match="expired"):
        keyring.identify(bearer("old"))
    assert keyring.identify(bearer("young")).key_id == "k2"


def test_a_key_reads_and_writes_its_own_account_only():
    me = Principal("alice", "u", "user", "k")
    me.may("alice", write=True)
    me.may("alice", write=False)
    for write in (True, False):
        with pytest.raises(PermissionDenied):
            me.may("bob", write=write)


def test_everyone_reads_the_model_library_and_nobody_changes_it():
    me = Principal("alice", "u", "user", "k")
    me.may("fireworks", write=False)
    with pytest.raises(PermissionDenied, match="library"):
        me.may("fireworks", write=True)


async def test_ten_thousand_wrong_keys_a_minute_are_throttled_and_nobody_else_is(store, tmp_path):
    now = 0.0
    keyring = Keyring(store, lambda: now)
    good = bearer(await keyring.ensure_admin(tmp_path))
    answers: Counter[type[Exception]] = Counter()
    for number in range(10_000):
        now = number * 60 / 10_000
        with pytest.raises((Unauthenticated, ResourceExhausted)) as refused:
            keyring.identify(bearer(f"fd_{number}"), "192.0.2.1")
        answers[refused.type] += 1
        assert keyring.identify(good, "192.0.2.1").role == "admin", "the same address with a good key is not held up"
    assert answers == {KeyRefused: keys_room.MISSES_PER_MINUTE, ResourceExhausted: 10_000 - 60}
    with pytest.raises(Unauthenticated):
        keyring.identify(bearer("fd_wrong"), "192.0.2.2")
    now = 60.0
    with pytest.raises(Unauthenticated):
        keyring.identify(bearer("fd_wrong"), "192.0.2.1")


async def test_ever_more_addresses_take_no_more_memory_and_hold_nobody_up(store, tmp_path):
    keyring = Keyring(store, lambda: 0.0)
    good = bearer(await keyring.ensure_admin(tmp_path))
    for number in range(20_000):
        with pytest.raises(Unauthenticated):
            keyring.identify(bearer("fd_wrong"), f"2001:db8::{number:x}")
    assert len(keyring._misses._counts) == keys_room._ADDRESSES_KEPT
    assert keyring.identify(good, "2001:db8::1").role == "admin"
