"""Wire types of users, API keys, secrets, quotas and the audit log, as the official SDK and REST reference have them.

Source: SDK 1.2.30 (User, APIKey, Secret) and https://docs.fireworks.ai/api-reference (Quota, AuditLogEntry).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from client.types import Flag, Status, Timestamp, Wire
from client.wire import Int64

INFERENCE_USER, CONTRIBUTOR, USER, ADMIN = "inference-user", "contributor", "user", "admin"
ROLES = (INFERENCE_USER, CONTRIBUTOR, USER, ADMIN)  # each may all that those before it may

GPU_HOURS, SPEND = "gpu-hours-per-month", "monthly-spend-usd"  # the quotas that time uses up

SECRET_BYTES_MAX = 1 << 16
Title = Annotated[str, Field(max_length=63)]


class UserSpec(Wire):
    """What an admin may set."""

    role: str | None = None
    display_name: Title | None = None
    email: Annotated[str, Field(max_length=254)] | None = None
    service_account: Flag | None = None


class User(UserSpec):
    name: str = ""
    state: str = "READY"
    status: Status | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]


class ApiKeySpec(Wire):
    display_name: Title | None = None
    expire_time: Timestamp | None = None


class ApiKey(ApiKeySpec):
    """A key without itself: `key` is there only in the answer to its creation, `prefix` are its first characters."""

    key_id: str = ""
    key: str | None = Field(default=None, repr=False)
    prefix: str = ""
    email: str = ""
    secure: bool = True
    create_time: Timestamp | None = None


class CreateApiKeyBody(Wire):
    api_key: ApiKey


class DeleteApiKeyBody(Wire):
    key_id: str


class Secret(Wire):
    """`value` is input only."""

    name: str | None = None
    key_name: str | None = None
    value: str | None = Field(default=None, repr=False)

    @property
    def id(self) -> str:
        return (self.name or "").rpartition("/")[2]


class Quota(Wire):
    """`value` is enforced and at most `max_value`; both are whole numbers, as text (int64 in protojson)."""

    name: str = ""
    value: Int64 | None = None
    max_value: Int64 | None = None
    usage: float | None = None
    update_time: Timestamp | None = None

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def off(self) -> bool:
        """Whether it limits nothing: of things there is a most in any case."""
        return self.value == self.max_value and not self.id.endswith("-count")

    @property
    def used(self) -> str | None:
        """`usage` to read: hours and money to two digits, things by their number; None where it is not known."""
        return None if self.usage is None else f"{self.usage:.{2 if self.id in (GPU_HOURS, SPEND) else 0}f}"


class AuditLogEntry(Wire):
    """Who did what, when, and what came of it. `message` is the action, `method` the HTTP verb; bodies are not kept."""

    id: str = ""
    timestamp: Timestamp | None = None
    principal: str = ""
    method: str = ""
    message: str = ""
    resource: str = ""
    status: Status | None = None
    is_admin_action: bool = False
    api_key_id: str = ""
    client_ip: str = ""
    user_agent: str = ""


class AuditVerification(Wire):
    """firedeck's own: whether every record is as it was written. `first_bad_id` is the first that is not, `reason` what
    is wrong with it; of a valid log, what could not be checked."""

    valid: bool = True
    checked: int = 0
    first_bad_id: str | None = None
    reason: str | None = None


class WhoAmI(Wire):
    """firedeck's own: whose key this is."""

    account: str = ""
    user: str = ""
    role: str = ""
    key_id: str = ""


class UserPage(Wire):
    users: list[User] = []
    next_page_token: str = ""
    total_size: int = 0


class ApiKeyPage(Wire):
    api_keys: list[ApiKey] = []
    next_page_token: str = ""
    total_size: int = 0


class SecretPage(Wire):
    secrets: list[Secret] = []
    next_page_token: str = ""
    total_size: int = 0


class QuotaPage(Wire):
    quotas: list[Quota] = []
    next_page_token: str = ""
    total_size: int = 0


class AuditLogPage(Wire):
    audit_logs: list[AuditLogEntry] = []
    next_page_token: str = ""
    total_size: int = 0
