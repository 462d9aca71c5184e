"""API keys: who is asking. Keys are random 256 bit, stored as SHA-256, shown once.

Looking a key up by its hash tells a timing attacker nothing about the key (CVE-2025-59425 was a plain comparison);
no slow hash is needed for a secret that cannot be guessed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client.config import ADMIN_KEY_FILE
from client.errors import FailedPrecondition, PermissionDenied, Unauthenticated
from client.names import LIBRARY_ACCOUNT, LOCAL_ACCOUNT
from engine.store.store import KeyRecord, Store

ADMIN_KEY_ID = "admin"
KEY_PREFIX = "fd_"
PREFIX_SHOWN = 4  # characters, of at least 16
KEY_LENGTH_MIN = 16


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
            raise PermissionDenied(f"account {account!r} owns the model library and cannot be changed")
        raise PermissionDenied(f"this key belongs to account {self.account!r}, not {account!r}", field="account")


class Keyring:
    """All keys of this engine, in memory by hash."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_hash: dict[str, KeyRecord] = {}

    async def load(self) -> None:
        self._by_hash = {record.hash: record for record in await self._store.keys()}

    async def ensure_admin(self, data_dir: Path) -> str:
        """The admin key: `FIREDECK_API_KEY`, or the one in `DIR/admin.key`, made at the first start (mode 0600)."""
        file = data_dir / ADMIN_KEY_FILE
        key = os.environ.get("FIREDECK_API_KEY", "").strip() or _read(file)
        if not key:
            key = KEY_PREFIX + secrets.token_urlsafe(32)
            _write_private(file, key)
        if len(key) < KEY_LENGTH_MIN:
            raise FailedPrecondition(
                f"FIREDECK_API_KEY is shorter than {KEY_LENGTH_MIN} characters", hint="a key must not be guessable"
            )
        record = KeyRecord(
            id=ADMIN_KEY_ID, hash=_hash(key), prefix=key[:PREFIX_SHOWN], account=LOCAL_ACCOUNT, user="admin",
            role="admin", display_name="admin key", create_time=datetime.now(UTC).isoformat(),
        )  # fmt: skip
        self._by_hash = {h: r for h, r in self._by_hash.items() if r.id != ADMIN_KEY_ID} | {record.hash: record}
        await self._store.put_key(record)
        return key

    def identify(self, headers: dict[str, str]) -> Principal:
        """The owner of the key in `Authorization: Bearer` or `X-Api-Key`, or Unauthenticated."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
        if not key:
            raise Unauthenticated("no API key was given", hint="send the header Authorization: Bearer KEY")
        record = self._by_hash.get(_hash(key))
        if record is None:
            raise Unauthenticated(
                "the API key you provided is invalid", hint=f"the engine's own is in DATA-DIR/{ADMIN_KEY_FILE}"
            )
        if record.expire_time and datetime.fromisoformat(record.expire_time) <= datetime.now(UTC):
            raise Unauthenticated("the API key you provided has expired")
        return Principal(record.account, record.user, record.role, record.id)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be read: {error.strerror}", hint="who owns it?") from error


def _write_private(file: Path, text: str) -> None:
    """Created 0600 from the start: there is no moment in which another user could read it, or half of it."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)  # what a crash left
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
