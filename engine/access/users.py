"""Users of an account, service accounts among them, and their API keys."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime

from client.access_types import ADMIN, ROLES, USER, ApiKey, ApiKeySpec, User, UserSpec
from client.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from client.names import LOCAL_ACCOUNT, Name, check_id
from engine.keys import ADMIN_KEY_ID, Keyring, revoked
from engine.store.access import AccessRecords
from engine.store.store import KeyRecord

FIRST_ADMIN = "admin"  # whose key lies in the data folder
DEFAULT_KEY_NAME = "default"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_SETTABLE = frozenset(UserSpec.model_fields)


class Users:
    """Users by full name, in memory and in the store."""

    def __init__(self, records: AccessRecords, keyring: Keyring) -> None:
        self._records = records
        self._keyring = keyring
        self._users: dict[str, User] = {}
        self._changing = asyncio.Lock()  # a key made while its user's role changes must not keep the old one

    async def load(self) -> None:
        """All users; the first admin is made when there is none yet."""
        found = (User.model_validate_json(doc) for doc in await self._records.users())
        self._users = {user.name: user for user in found}
        if _name(LOCAL_ACCOUNT, FIRST_ADMIN) not in self._users:
            now = datetime.now(UTC)
            await self._put(
                User(
                    name=_name(LOCAL_ACCOUNT, FIRST_ADMIN), role=ADMIN, display_name=FIRST_ADMIN, email="",
                    service_account=False, create_time=now, update_time=now,
                )
            )  # fmt: skip

    def of(self, account: str) -> list[User]:
        return [user for name, user in self._users.items() if name.startswith(f"accounts/{account}/")]

    def get(self, account: str, user_id: str) -> User:
        user = self._users.get(f"accounts/{account}/users/{user_id}")
        if user is None:
            raise NotFound(f"user {user_id[:80]!r} does not exist", field="userId", hint="firedeck user list shows all")
        return user

    def is_service(self, account: str, user_id: str) -> bool:
        user = self._users.get(f"accounts/{account}/users/{user_id}")
        return user is not None and bool(user.service_account)

    def principal(self, account: str, user_id: str) -> str:
        """How the audit log calls a user: by e-mail address, as the product does; by id where there is none."""
        user = self._users.get(f"accounts/{account}/users/{user_id}")
        return (user.email if user else None) or user_id

    async def create(self, account: str, spec: User, user_id: str | None, *, validate_only: bool = False) -> User:
        """A new user, with the role `user` unless another is given, and no key yet; with `validate_only` what it would
        be."""
        whole_id = check_id(user_id or _id_of(spec.email), "userId")
        name = _name(account, whole_id)
        service = bool(spec.service_account)
        if service and user_id is None:
            raise InvalidArgument("a service account needs a userId", field="userId", hint="e.g. userId=ci-bot")
        async with self._changing:
            if name in self._users:
                raise AlreadyExists(f"user {whole_id!r} already exists", field="userId", hint="choose another id")
            email = f"{whole_id}@{account}.sa.fireworks.ai" if service else spec.email or ""
            self._check_email(account, email, name)
            now = datetime.now(UTC)
            made = User(
                name=name, role=_role(spec.role or USER), display_name=spec.display_name or whole_id, email=email,
                service_account=service, create_time=now, update_time=now,
            )  # fmt: skip
            if validate_only:
                return made
            await self._records.add_user(made.name, _doc(made))
            self._users[made.name] = made
            return made

    async def update(
        self, account: str, user_id: str, changes: User, mask: frozenset[str] | None, *, validate_only: bool = False
    ) -> User:
        """The fields of `mask` (or those that `changes` sets) change; a new role holds for all of the user's keys. With
        `validate_only` what it would be."""
        unknown = sorted((mask or frozenset()) - _SETTABLE)
        if unknown:
            raise InvalidArgument(f"unknown field {unknown[0][:60]!r} in the update mask", field="updateMask")
        async with self._changing:
            current = self.get(account, user_id)
            taken = {field: getattr(changes, field) for field in (mask or changes.model_fields_set & _SETTABLE)}
            changed = current.model_copy(update={**taken, "update_time": datetime.now(UTC)})
            self._check_change(account, current, changed)
            keys = [replace(key, role=_role(changed.role)) for key in self._keyring.of(account, user_id)]
            if validate_only:
                return changed
            await self._put(changed, keys)
            return changed

    async def delete(self, account: str, user_id: str, *, validate_only: bool = False) -> None:
        """The user goes, and every key of theirs is revoked. What they made stays, and has no owner any more: another
        user of that id gets none of it."""
        async with self._changing:
            user = self.get(account, user_id)
            if user.name == _name(LOCAL_ACCOUNT, FIRST_ADMIN):
                raise FailedPrecondition(
                    "the engine's own admin cannot be deleted", field="userId", hint="delete others"
                )
            if validate_only:
                return
            keys = revoked(self._keyring.of(account, user_id))
            await self._records.drop_user(user.name, keys)
            del self._users[user.name]
            self._keyring.take(keys)

    def keys(self, account: str, user_id: str) -> list[ApiKey]:
        user = self.get(account, user_id)
        return [_shown(record, user) for record in self._keyring.of(account, user_id)]

    async def create_key(self, account: str, user_id: str, spec: ApiKeySpec) -> ApiKey:
        """A new key, with `key` in it: nobody will ever see it again."""
        if spec.expire_time is not None and spec.expire_time <= datetime.now(UTC):
            raise InvalidArgument("expireTime has passed already", field="apiKey.expireTime", hint="give a later one")
        async with self._changing:
            user = self.get(account, user_id)
            record, key = await self._keyring.create(
                account, user_id, _role(user.role), spec.display_name or DEFAULT_KEY_NAME, spec.expire_time
            )
        return _shown(record, user).model_copy(update={"key": key})

    async def delete_key(self, account: str, user_id: str, key_id: str) -> None:
        async with self._changing:
            self.get(account, user_id)
            await self._keyring.revoke(account, user_id, key_id)

    async def _put(self, user: User, keys: list[KeyRecord] | None = None) -> None:
        await self._records.put_user(user.name, _doc(user), keys or [])
        self._users[user.name] = user
        self._keyring.take(keys or [])

    def _check_change(self, account: str, current: User, changed: User) -> None:
        if _role(changed.role) != ADMIN and current.name == _name(LOCAL_ACCOUNT, FIRST_ADMIN):
            raise FailedPrecondition(
                "the engine's own admin stays an admin", field="role", hint="its key lies in the data folder"
            )
        if bool(changed.service_account) != bool(current.service_account):
            raise InvalidArgument("serviceAccount cannot be changed after creation", field="serviceAccount")
        if changed.email != current.email:
            if current.service_account:
                raise InvalidArgument("a service account's email cannot be changed", field="email")
            self._check_email(account, changed.email or "", current.name)

    def _check_email(self, account: str, email: str, name: str) -> None:
        if email and not _EMAIL.fullmatch(email):
            raise InvalidArgument(f"email {email[:80]!r} is not an e-mail address", field="email")
        if email and any(user.email == email and user.name != name for user in self.of(account)):
            raise AlreadyExists(f"a user with the email {email!r} already exists", field="email")


def _name(account: str, user_id: str) -> str:
    return str(Name(account, "users", user_id))


def _doc(user: User) -> str:
    return user.model_dump_json(by_alias=True, exclude_none=True)


def _id_of(email: str | None) -> str:
    """The id that an e-mail address gives: what stands before the @, as far as an id allows."""
    local = (email or "").partition("@")[0].lower()
    made = re.sub(r"[^a-z0-9]+", "-", local).strip("-")[:63].strip("-")
    if not made:
        raise InvalidArgument("userId is required where email does not give one", field="userId")
    return made


def _role(role: str | None) -> str:
    if role not in ROLES:
        raise InvalidArgument(
            f"role {(role or '')[:60]!r} is not known", field="role", hint="known: " + ", ".join(ROLES)
        )
    return role


def _shown(record: KeyRecord, user: User) -> ApiKey:
    return ApiKey(
        key_id=record.id, display_name=record.display_name, prefix=record.prefix, email=user.email or "",
        secure=record.id != ADMIN_KEY_ID,  # the admin's own lies in a file
        create_time=datetime.fromisoformat(record.create_time),
        expire_time=datetime.fromisoformat(record.expire_time) if record.expire_time else None,
    )  # fmt: skip
