"""API keys: who is asking. Keys are random 256 bit, stored as SHA-256, shown once.

A key is found by the first half of its hash and compared whole in constant time (CVE-2025-59425 was a plain
comparison); no slow hash is needed for a secret that cannot be guessed. Whoever keeps sending keys that are none is
told to slow down (429); a good key is never held up by that, from wherever it comes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from client.config import ADMIN_KEY_FILE
from client.errors import FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted, Unauthenticated
from client.names import LIBRARY_ACCOUNT, LOCAL_ACCOUNT, random_id
from engine.files import write_whole
from engine.store.store import KeyRecord, Store

ADMIN_KEY_ID = "admin"
KEY_PREFIX = "fd_"
PREFIX_SHOWN = 4  # characters, of at least 16
OWN_PREFIX_SHOWN = 8  # of the keys that are made here: 5 of their 43 random characters
KEY_LENGTH_MIN = 16
KEYS_PER_USER_MAX = 100
REVOKED_KEPT = timedelta(days=30)  # a revoked key is known as such for so long, afterwards it is any wrong key
MISSES_PER_MINUTE = 60  # requests without a good key that one address may send before it is told to slow down
_ADDRESSES_KEPT = 4096
_HALF = 32  # hex digits of a hash


class KeyRefused(Unauthenticated):
    """`reason` is one of those below, by which the audit log knows it; `record` is a known key's."""

    def __init__(self, reason: str, message: str, *, hint: str, record: KeyRecord | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.record = record


NO_KEY, WRONG_KEY, REVOKED_KEY, EXPIRED_KEY = "RefuseNoKey", "RefuseWrongKey", "RefuseRevokedKey", "RefuseExpiredKey"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose key a request carries."""

    account: str
    user: str
    role: str
    key_id: str

    def may(self, account: str, *, write: bool) -> None:
        """Raises PermissionDenied unless this key may read (or change) what `account` owns."""
        if account == self.account or (account == LIBRARY_ACCOUNT and not write):
            return
        if account == LIBRARY_ACCOUNT:
            raise PermissionDenied(
                f"account {account!r} owns the model library and cannot be changed",
                hint="what is served serverless there is what the options of firedeck serve say",
            )
        raise PermissionDenied(
            f"this key belongs to account {self.account!r}, not {account!r}", field="account",
            hint="use a key of that account, or --account-id of this one",
        )  # fmt: skip


class Keyring:
    """All keys of this engine, in memory by hash; revoked ones too, so that their holders are told."""

    def __init__(self, store: Store, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._by_half: dict[str, KeyRecord] = {}
        self._misses = _Misses(now)
        self._admin_file = Path(ADMIN_KEY_FILE)

    async def load(self) -> None:
        since = (datetime.now(UTC) - REVOKED_KEPT).isoformat()
        for record in await self._store.keys():
            if record.revoke_time and record.revoke_time < since:
                await self._store.drop_key(record.id)
            else:
                self._by_half[record.hash[:_HALF]] = record

    async def ensure_admin(self, data_dir: Path) -> str:
        """The admin key: `FIREDECK_API_KEY`, or the one in `DIR/admin.key`, made at the first start (mode 0600)."""
        file = self._admin_file = data_dir / ADMIN_KEY_FILE
        key = given_key() or read_private(file)
        if not key:
            key = KEY_PREFIX + secrets.token_urlsafe(32)
            write_whole(file, key + "\n")
        if len(key) < KEY_LENGTH_MIN:
            raise FailedPrecondition(
                f"the key in {file} is shorter than {KEY_LENGTH_MIN} characters", hint="remove the file for a new key"
            )
        known = self._by_half.get(_hash(key)[:_HALF])
        record = KeyRecord(
            id=ADMIN_KEY_ID, hash=_hash(key), prefix=key[:PREFIX_SHOWN], account=LOCAL_ACCOUNT, user="admin",
            role="admin", display_name="admin key",
            create_time=known.create_time if known else datetime.now(UTC).isoformat(),
        )  # fmt: skip
        self._by_half = {half: r for half, r in self._by_half.items() if r.id != ADMIN_KEY_ID}
        self._by_half[record.hash[:_HALF]] = record
        if record != known:  # else nothing is asked of a disk that may be full
            await self._store.put_key(record)
        return key

    def identify(self, headers: dict[str, str], address: str = "") -> Principal:
        """The owner of the key in `Authorization: Bearer` or `X-Api-Key`, or KeyRefused.

        ResourceExhausted from it for an `address` that has sent too many requests without a good key.
        """
        try:
            return self._owner(headers)
        except KeyRefused as refused:
            self._misses.count(address, refused)
            raise

    def _owner(self, headers: dict[str, str]) -> Principal:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
        if not key:
            raise KeyRefused(NO_KEY, "no API key was given", hint="send the header Authorization: Bearer KEY")
        digest = _hash(key)
        record = self._by_half.get(digest[:_HALF])
        if record is None or not hmac.compare_digest(record.hash, digest):
            raise KeyRefused(
                WRONG_KEY, "the API key you provided is invalid",
                hint=f"the engine's own is in {ADMIN_KEY_FILE} of its data folder, as it said when it started",
            )  # fmt: skip
        if record.revoke_time:
            raise KeyRefused(REVOKED_KEY, "the API key you provided has been revoked", hint=_ANOTHER, record=record)
        if _expired(record):
            raise KeyRefused(EXPIRED_KEY, "the API key you provided has expired", hint=_ANOTHER, record=record)
        return Principal(record.account, record.user, record.role, record.id)

    def stands(self, caller: Principal) -> bool:
        """Whether the key still lets its owner in: for answers that go on for hours."""
        return any(r.id == caller.key_id and not _expired(r) for r in self.of(caller.account, caller.user))

    def accounts(self) -> frozenset[str]:
        """The accounts that keys belong to."""
        return frozenset(record.account for record in self._by_half.values())

    def of(self, account: str, user: str) -> list[KeyRecord]:
        """A user's keys that have not been revoked, oldest first."""
        mine = (r for r in self._by_half.values() if (r.account, r.user) == (account, user) and not r.revoke_time)
        return sorted(mine, key=lambda record: (record.create_time, record.id))

    async def create(
        self, account: str, user: str, role: str, display_name: str, expire_time: datetime | None
    ) -> tuple[KeyRecord, str]:
        """A new key of a user: its record, and the key itself, which is kept nowhere."""
        if len(self.of(account, user)) >= KEYS_PER_USER_MAX:
            raise ResourceExhausted(
                f"user {user!r} has {KEYS_PER_USER_MAX} keys, the most there may be",
                hint="delete one: firedeck api-key list",
            )
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        record = KeyRecord(
            id=random_id(), hash=_hash(key), prefix=key[:OWN_PREFIX_SHOWN], account=account, user=user, role=role,
            display_name=display_name, create_time=datetime.now(UTC).isoformat(),
            expire_time=expire_time.astimezone(UTC).isoformat() if expire_time else None,
        )  # fmt: skip
        await self._store.put_key(record)
        self.take([record])
        return record, key

    async def revoke(self, account: str, user: str, key_id: str) -> None:
        """From now on the key is refused; NotFound when the user has no such key."""
        record = next((r for r in self.of(account, user) if r.id == key_id), None)
        if record is None:
            raise NotFound(
                f"user {user!r} has no key of that id", field="keyId", hint="firedeck api-key list shows the ids"
            )
        if record.id == ADMIN_KEY_ID:
            raise FailedPrecondition(
                "the engine's own admin key cannot be deleted", field="keyId",
                hint=f"for a new one, remove {self._admin_file} and start the engine again",
            )  # fmt: skip
        [gone] = revoked([record])
        await self._store.put_key(gone)
        self.take([gone])

    def take(self, records: Sequence[KeyRecord]) -> None:
        """Records as they are stored now."""
        self._by_half |= {record.hash[:_HALF]: record for record in records}


_ANOTHER = "make another: firedeck api-key create, or ask an admin for one"


def _expired(record: KeyRecord) -> bool:
    return record.expire_time is not None and datetime.fromisoformat(record.expire_time) <= datetime.now(UTC)


def revoked(records: Sequence[KeyRecord]) -> list[KeyRecord]:
    now = datetime.now(UTC).isoformat()
    return [replace(record, revoke_time=now) for record in records]


class _Misses:
    """Requests without a good key, by address and minute."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()  # address: (minute, misses in it)

    def count(self, address: str, refused: KeyRefused) -> None:
        """One more; ResourceExhausted from it when they are too many for this minute."""
        now = self._now()
        minute = int(now // 60)
        began, misses = self._counts.pop(address, (minute, 0))
        misses = misses + 1 if began == minute else 1
        self._counts[address] = (minute, misses)
        if len(self._counts) > _ADDRESSES_KEPT:
            self._counts.popitem(last=False)
        if misses > MISSES_PER_MINUTE:
            raise ResourceExhausted(
                f"more than {MISSES_PER_MINUTE} requests of this minute came from your address without a good key",
                hint="check the key; good keys are not held up", retry_after_s=60 - now % 60,
            ) from refused  # fmt: skip


def given_key() -> str:
    """The admin key that `FIREDECK_API_KEY` sets, "" where it is not set; FailedPrecondition for a short one."""
    key = os.environ.get("FIREDECK_API_KEY", "").strip()
    if 0 < len(key) < KEY_LENGTH_MIN:
        raise FailedPrecondition(
            f"FIREDECK_API_KEY is shorter than {KEY_LENGTH_MIN} characters", hint="a key must not be guessable"
        )
    return key


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def read_private(file: Path) -> str:
    """The line in a key's file, "" when there is none."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be read: {error.strerror}", hint="who owns it?") from error
