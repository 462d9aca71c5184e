"""Typed verbs on accounts, users, API keys, secrets, quotas and the audit log: `Client.users.create(...)` and friends.

Ids may be bare (`alice`, in the client's account) or full names (`accounts/local/users/alice`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Unpack

from client.access_types import (
    ApiKey,
    ApiKeyPage,
    AuditLogEntry,
    AuditLogPage,
    AuditVerification,
    Quota,
    QuotaPage,
    Secret,
    SecretPage,
    User,
    UserPage,
    UserSpec,
    WhoAmI,
)
from client.http import Query, Transport
from client.listing import PAGE_SIZE_MAX, Listed, ListOptions, listed
from client.names import Collection, Name, check_id
from client.types import Account, AccountPage, Wire


class _Resource:
    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account

    def _collection(self, collection: str) -> str:
        return f"/v1/accounts/{self._account}/{collection}"

    def _one(self, text: str, collection: Collection, field: str) -> str:
        return f"/v1/{Name.of(text, collection, self._account, field)}"


class Accounts(_Resource):
    async def get(self, account: str | None = None) -> Account:
        """The client's own account unless another is named."""
        account_id = check_id((account or self._account).removeprefix("accounts/"), "account")
        return Account.model_validate(await self._transport.get(f"/v1/accounts/{account_id}"))

    async def list(self, **options: Unpack[ListOptions]) -> Listed[Account]:
        """The accounts that this client's key can see."""
        return await listed(self._transport, "/v1/accounts", AccountPage, lambda page: page.accounts, options)

    async def metrics(self) -> str:
        """What Prometheus would read of the account, six times a minute at most."""
        return await self._transport.text(self._collection("metrics"))


class Users(_Resource):
    async def whoami(self) -> WhoAmI:
        """Whose key this client has (firedeck's own)."""
        return WhoAmI.model_validate(await self._transport.get("/firedeck/v1/whoami"))

    async def create(self, spec: UserSpec, user_id: str | None = None, *, validate_only: bool = False) -> User:
        """A new user without a key; the id comes from the email when it is not given. With `validate_only` what it
        would be, here and below, nothing being made or changed."""
        query: Query = {"userId": user_id, "validateOnly": validate_only or None}
        raw = await self._transport.send("POST", self._collection("users"), query=query, body=_body(spec))
        return User.model_validate(raw)

    async def get(self, user: str) -> User:
        return User.model_validate(await self._transport.get(self._one(user, "users", "user")))

    async def list(self, **options: Unpack[ListOptions]) -> Listed[User]:
        return await listed(self._transport, self._collection("users"), UserPage, lambda page: page.users, options)

    async def update(self, user: str, changes: UserSpec, *, validate_only: bool = False) -> User:
        """Only the fields set in `changes` change."""
        path, query = self._one(user, "users", "user"), _rehearsed(validate_only)
        return User.model_validate(await self._transport.send("PATCH", path, query=query, body=_body(changes)))

    async def delete(self, user: str, *, validate_only: bool = False) -> None:
        """The user goes, their keys are revoked (firedeck's own; `firectl user delete`)."""
        await self._transport.send("DELETE", self._one(user, "users", "user"), query=_rehearsed(validate_only))


class ApiKeys(_Resource):
    async def create(self, user: str, display_name: str | None = None, expire_time: datetime | None = None) -> ApiKey:
        """A new key; `key` is in this answer and never again."""
        wanted = ApiKey(display_name=display_name, expire_time=expire_time)
        body = {"apiKey": wanted.model_dump(mode="json", by_alias=True, include={"display_name", "expire_time"})}
        return ApiKey.model_validate(await self._transport.send("POST", self._of(user), body=body))

    async def list(self, user: str, **options: Unpack[ListOptions]) -> Listed[ApiKey]:
        return await listed(self._transport, self._of(user), ApiKeyPage, lambda page: page.api_keys, options)

    async def delete(self, user: str, key_id: str) -> None:
        await self._transport.send("POST", self._of(user) + ":delete", body={"keyId": key_id})

    async def quotas(self, user: str, key_id: str, **options: Unpack[ListOptions]) -> Listed[Quota]:
        """What a key may use by itself, and uses (firedeck's own)."""
        return await listed(self._transport, self._quotas(user, key_id), QuotaPage, lambda page: page.quotas, options)

    async def quota(self, user: str, key_id: str, quota: str) -> Quota:
        """One of them (firedeck's own)."""
        return Quota.model_validate(await self._transport.get(self._quota(user, key_id, quota)))

    async def update_quota(
        self, user: str, key_id: str, quota: str, value: int, *, validate_only: bool = False
    ) -> Quota:
        """Limit a key by itself (firedeck's own); at `max_value` the limit is off. With `validate_only` what it would
        be."""
        path, query, body = self._quota(user, key_id, quota), _rehearsed(validate_only), {"value": str(value)}
        return Quota.model_validate(await self._transport.send("PATCH", path, query=query, body=body))

    async def delete_quota(self, user: str, key_id: str, quota: str, *, validate_only: bool = False) -> None:
        """Limit it no more (firedeck's own); NotFound where it is not limited. `validate_only` only checks."""
        await self._transport.send("DELETE", self._quota(user, key_id, quota), query=_rehearsed(validate_only))

    def _of(self, user: str) -> str:
        return self._one(user, "users", "user") + "/apiKeys"

    def _quotas(self, user: str, key_id: str) -> str:
        return f"/firedeck{self._of(user)}/{check_id(key_id, 'keyId')}/quotas"

    def _quota(self, user: str, key_id: str, quota: str) -> str:
        return f"{self._quotas(user, key_id)}/{check_id(quota.rpartition('/')[2], 'quota')}"


class Secrets(_Resource):
    async def create(self, key_name: str, value: str) -> Secret:
        """A new secret named after `key_name`: `MY_SECRET` is `accounts/A/secrets/my-secret`."""
        body = {"name": key_name, "keyName": key_name, "value": value}
        return Secret.model_validate(await self._transport.send("POST", self._collection("secrets"), body=body))

    async def get(self, secret: str) -> Secret:
        return Secret.model_validate(await self._transport.get(self._path(secret)))

    async def list(self, **options: Unpack[ListOptions]) -> Listed[Secret]:
        path = self._collection("secrets")
        return await listed(self._transport, path, SecretPage, lambda page: page.secrets, options)

    async def update(self, secret: str, *, key_name: str | None = None, value: str | None = None) -> Secret:
        body = {k: v for k, v in {"keyName": key_name, "value": value}.items() if v is not None}
        return Secret.model_validate(await self._transport.send("PATCH", self._path(secret), body=body))

    async def delete(self, secret: str) -> None:
        await self._transport.send("DELETE", self._path(secret))

    def _path(self, secret: str) -> str:
        head, slash, last = secret.rpartition("/")
        return self._one(head + slash + last.lower().replace("_", "-"), "secrets", "secret")


class Quotas(_Resource):
    async def get(self, quota: str) -> Quota:
        return Quota.model_validate(await self._transport.get(self._one(quota, "quotas", "quota")))

    async def list(self, **options: Unpack[ListOptions]) -> Listed[Quota]:
        return await listed(self._transport, self._collection("quotas"), QuotaPage, lambda page: page.quotas, options)

    async def update(self, quota: str, value: int, *, validate_only: bool = False) -> Quota:
        """With `validate_only` (firedeck's own) what it would be."""
        path, query, body = self._one(quota, "quotas", "quota"), _rehearsed(validate_only), {"value": str(value)}
        return Quota.model_validate(await self._transport.send("PATCH", path, query=query, body=body))

    async def delete(self, quota: str, *, validate_only: bool = False) -> None:
        """Back to `max_value`, where it began (firedeck's own); NotFound where it is. `validate_only` only checks."""
        await self._transport.send("DELETE", self._one(quota, "quotas", "quota"), query=_rehearsed(validate_only))


class AuditLogs(_Resource):
    async def list(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = PAGE_SIZE_MAX,
        **options: Unpack[ListOptions],
    ) -> Listed[AuditLogEntry]:
        """At most `limit` records of the last 30 days, newest first unless `order_by` is `timestamp`."""
        path = self._collection("auditLogs")
        own: Query = {
            "startTime": start.isoformat() if start else None, "endTime": end.isoformat() if end else None,
        }  # fmt: skip
        return await listed(
            self._transport, path, AuditLogPage, lambda page: page.audit_logs, options, own=own, limit=limit
        )

    async def verify(self) -> AuditVerification:
        """Whether the engine's whole audit log is as it was written (firedeck's own)."""
        return AuditVerification.model_validate(await self._transport.get("/firedeck/v1/auditLogs:verify"))


def _rehearsed(validate_only: bool) -> Query:
    return {"validateOnly": validate_only or None}


def _body(spec: Wire) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
