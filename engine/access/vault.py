"""Secrets of an account: values that go in, are sealed, and never come out over the wire.

At rest a value is sealed as `engine.access.sealing` says: encrypted in the database, its key in a file of mode 0600
beside it. In memory only sealed values are held. No part of the engine uses a value today: `reveal` opens one, and has
tests of the seal as its only callers.
"""

from __future__ import annotations

import asyncio
import re

from client.access_types import SECRET_BYTES_MAX, Secret
from client.errors import AlreadyExists, InvalidArgument, NotFound
from client.names import Name, check_id
from engine.access.sealing import Sealer
from engine.store.access import AccessRecords, SecretRecord

_KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


class Vault:
    """Secrets by full name."""

    def __init__(self, records: AccessRecords, sealer: Sealer) -> None:
        self._records = records
        self._sealer = sealer
        self._secrets: dict[str, SecretRecord] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        self._secrets = {record.name: record for record in await self._records.secrets()}

    def of(self, account: str) -> list[Secret]:
        return [_shown(r) for r in self._secrets.values() if r.name.startswith(f"accounts/{account}/")]

    def get(self, account: str, secret_id: str) -> Secret:
        return _shown(self._record(account, secret_id))

    async def create(self, account: str, spec: Secret) -> Secret:
        """A new secret. `name` may be its full name, its id, or, as `firectl` sends it, what `keyName` says."""
        key_name = _key_name(spec.key_name or (spec.name or "").rpartition("/")[2])
        name = _name(account, spec.id or key_name)
        if spec.name and "/" in spec.name and Name.parse(spec.name).account != account:
            raise InvalidArgument("name is of another account than the path", field="name")
        async with self._changing:
            if name in self._secrets:
                raise AlreadyExists(
                    f"secret {name!r} already exists", field="name", hint="update it, or choose another name"
                )
            return await self._put(SecretRecord(name, key_name, self._sealed(name, spec.value)))

    async def update(self, account: str, secret_id: str, changes: Secret) -> Secret:
        """A new value, a new key name, or both; what is not given stays."""
        async with self._changing:
            current = self._record(account, secret_id)
            key_name = _key_name(changes.key_name) if changes.key_name is not None else current.key_name
            sealed = current.sealed if changes.value is None else self._sealed(current.name, changes.value)
            return await self._put(SecretRecord(current.name, key_name, sealed))

    async def delete(self, account: str, secret_id: str) -> None:
        async with self._changing:
            record = self._record(account, secret_id)
            await self._records.drop_secret(record.name)
            del self._secrets[record.name]

    def reveal(self, account: str, secret_id: str) -> str:
        """The value, for the engine itself."""
        record = self._record(account, secret_id)
        return self._sealer.open(record.name, record.sealed)

    def _record(self, account: str, secret_id: str) -> SecretRecord:
        record = self._secrets.get(_name(account, secret_id))
        if record is None:
            raise NotFound(f"secret {canonical_id(secret_id)!r} does not exist", hint="firedeck secret list shows all")
        return record

    def _sealed(self, name: str, value: str | None) -> bytes:
        if not value:
            raise InvalidArgument("value is required", field="value", hint="send the secret's value")
        if len(value.encode()) > SECRET_BYTES_MAX:
            raise InvalidArgument(f"value is longer than {SECRET_BYTES_MAX} bytes", field="value")
        return self._sealer.seal(name, value)

    async def _put(self, record: SecretRecord) -> Secret:
        await self._records.put_secret(record)
        self._secrets[record.name] = record
        return _shown(record)


def _shown(record: SecretRecord) -> Secret:
    return Secret(name=record.name, key_name=record.key_name)


def _name(account: str, text: str) -> str:
    return str(Name(account, "secrets", check_id(canonical_id(text), "name")))


def canonical_id(text: str) -> str:
    """`MY_SECRET` is the secret `my-secret`."""
    return text.lower().replace("_", "-")[:80]


def _key_name(text: str) -> str:
    if not _KEY_NAME.fullmatch(text):
        raise InvalidArgument(
            "keyName is not valid",
            field="keyName",
            hint="use 1 to 128 letters, digits, '_', '-' and '.', no digit first",
        )
    return text
