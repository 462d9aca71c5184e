"""What the poller tells the app. Messages coalesce: a late screen sees only the newest snapshot of each context."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from textual.message import Message

from client.errors import FiredeckError

if TYPE_CHECKING:
    from client.fleet_types import FleetSnapshot, NodeView
    from client.types import Account


@dataclass
class FleetSeen(Message):
    snapshot: FleetSnapshot
    context: str = ""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, FleetSeen) and message.context == self.context


@dataclass
class FleetLost(Message):
    """The connection broke (again); the next try is at `retry_at`, by the local clock."""

    error: FiredeckError
    attempt: int
    retry_at: datetime
    context: str = ""


@dataclass
class NodesSeen(Message):
    nodes: list[NodeView]
    context: str = ""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, NodesSeen) and message.context == self.context


@dataclass
class AccountSeen(Message):
    account: Account
    context: str = ""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, AccountSeen) and message.context == self.context
