"""Limits by the minute and on concurrency, of accounts (as quotas of theirs) and of single keys (firedeck's own).

A holder is `accounts/A` or `accounts/A/users/U/apiKeys/K`; a limit is stored under `HOLDER/quotas/KIND`. At its
ceiling, where each begins, a limit is off. `engine.gateway.admit` acts on them and counts what was used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from client.access_types import Quota
from client.errors import InvalidArgument, NotFound
from engine.control.limits import Amounts, Kind
from engine.keys import Keyring
from engine.store.access import AccessRecords, QuotaRecord

TOKENS_CEILING = 1_000_000_000
CEILINGS: Mapping[str, int] = {
    Kind.REQUESTS: 1_000_000, Kind.PROMPT: TOKENS_CEILING, Kind.UNCACHED: TOKENS_CEILING,
    Kind.GENERATED: TOKENS_CEILING, Kind.CONCURRENT: 100_000,
}  # fmt: skip
_KEYS = "/apiKeys/"


class RateLimits:
    """Values by holder. `used` tells what a holder has used now; the gateway sets it."""

    def __init__(self, records: AccessRecords, keyring: Keyring) -> None:
        self._records, self._keyring = records, keyring
        self._set: dict[str, QuotaRecord] = {}
        self._limits: dict[str, dict[Kind, int]] = {}  # what is below its ceiling, by holder
        self.used: Callable[[str, Kind], int] = lambda holder, kind: 0

    async def load(self, rows: Sequence[QuotaRecord]) -> None:
        """Of all quotas those that are ours; what keys had that are gone is dropped."""
        for row in rows:
            holder, kind = _parts(row.name)
            if _KEYS in holder and not self._stands(*holder.split("/")[1::2]):
                await self._records.drop_quota(row.name)
            elif kind in CEILINGS:
                self._take(row)

    def of(self, holder: str) -> Amounts:
        """What a holder is limited to; empty where it is not."""
        return self._limits.get(holder, {})

    def key(self, account: str, user_id: str, key_id: str) -> str:
        """The holder that a key is; NotFound for one that there is not."""
        if not self._stands(account, user_id, key_id):
            raise NotFound("the user has no key of that id", field="keyId", hint="firedeck api-key list shows the ids")
        return key_holder(account, user_id, key_id)

    def all(self, holder: str) -> list[Quota]:
        return [self.get(holder, kind) for kind in sorted(CEILINGS)]

    def get(self, holder: str, kind: str) -> Quota:
        if kind not in CEILINGS:
            known = ", ".join(sorted(CEILINGS))
            raise NotFound(f"quota {kind[:80]!r} does not exist here", hint=f"there are {known}")
        record = self._set.get(f"{holder}/quotas/{kind}")
        return Quota(
            name=f"{holder}/quotas/{kind}", value=str(record.value if record else CEILINGS[kind]),
            max_value=str(CEILINGS[kind]), usage=float(self.used(holder, Kind(kind))),
            update_time=datetime.fromisoformat(record.update_time) if record else None,
        )  # fmt: skip

    async def update(self, holder: str, kind: str, changes: Quota, *, validate_only: bool = False) -> Quota:
        """A new `value`: it holds from the next request on, counting what was used before. With `validate_only` what
        it would be."""
        current = self.get(holder, kind)
        record = QuotaRecord(current.name, new_value(current, changes), datetime.now(UTC).isoformat())
        if validate_only:
            return current.model_copy(update={"value": str(record.value)})
        await self._records.put_quota(record)
        self._take(record)
        return self.get(holder, kind)

    async def delete(self, holder: str, kind: str, *, validate_only: bool = False) -> None:
        """No limit any more, from the next request on; NotFound where none is set."""
        name = self.get(holder, kind).name
        if name not in self._set:
            raise not_set(kind)
        if not validate_only:
            await self._records.drop_quota(name)
            self._set.pop(name, None)
            self._limits.get(holder, {}).pop(Kind(kind), None)

    def _take(self, record: QuotaRecord) -> None:
        self._set[record.name] = record
        holder, kind = _parts(record.name)
        limits = self._limits.setdefault(holder, {})
        limits.pop(Kind(kind), None)
        if record.value < CEILINGS[kind]:
            limits[Kind(kind)] = record.value

    def _stands(self, account: str, user: str, key_id: str) -> bool:
        return any(record.id == key_id for record in self._keyring.of(account, user))


def account_holder(account: str) -> str:
    return f"accounts/{account}"


def key_holder(account: str, user_id: str, key_id: str) -> str:
    return f"accounts/{account}/users/{user_id}{_KEYS}{key_id}"


def new_value(current: Quota, changes: Quota) -> int:
    """The `value` that a quota is to have, a whole number up to its ceiling, or InvalidArgument."""
    if changes.max_value not in (None, current.max_value):
        raise InvalidArgument("maxValue is the engine's own and cannot be changed", field="maxValue")
    if changes.value is None:
        raise InvalidArgument("value is required", field="value", hint="e.g. firedeck quota update ID --value 100")
    text = changes.value
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        what = "a whole number of 0 or more"
        raise InvalidArgument(f"value must be {what}, as text: the API has no parts of one", field="value")
    if int(text) > int(current.max_value or 0):
        raise InvalidArgument(f"value {int(text)} is more than maxValue {current.max_value}", field="value")
    return int(text)


def not_set(quota_id: str) -> NotFound:
    """There is nothing to take away."""
    return NotFound(f"quota {quota_id} is not set: it is at its maximum", hint="firedeck quota list shows what is set")


def _parts(name: str) -> tuple[str, str]:
    """Holder and kind of a stored limit."""
    holder, _, kind = name.rpartition("/quotas/")
    return holder, kind
