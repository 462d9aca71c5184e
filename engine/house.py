"""What the routes stand on: one engine's fleet, library and keys, and the word that it is about to end."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from engine.access.guards import Guards
from engine.access.quotas import Quotas
from engine.access.reads import Reads
from engine.access.refusals import Refusals
from engine.access.users import Users
from engine.access.vault import Vault
from engine.fleet.fleet import Fleet
from engine.fleet.frames import Frames
from engine.fleet.monitor import Monitor
from engine.keys import Keyring
from engine.library import Library
from engine.preparing.preparations import Preparations
from engine.store.access import AccessRecords
from engine.telemetry.account_metrics import Scrapes
from engine.telemetry.audit import AuditLog
from engine.telemetry.ledger import Ledger
from engine.telemetry.tally import Tally
from engine.telemetry.traces import Traces
from engine.uploads import Uploads
from engine.word import Word


@dataclass(frozen=True, slots=True)
class Access:
    """Who there is, what they may use, what they did, and who was turned away."""

    records: AccessRecords
    users: Users
    vault: Vault
    quotas: Quotas
    audit: AuditLog
    reads: Reads
    refusals: Refusals
    guards: Guards


@dataclass(frozen=True, slots=True)
class House:
    """`closing` is set when the engine is told to end; `breaking_off` given when streams must end now."""

    fleet: Fleet
    library: Library
    keyring: Keyring
    access: Access
    uploads: Uploads
    preparations: Preparations
    ledger: Ledger
    tally: Tally
    monitor: Monitor
    started_at: datetime
    page_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))  # signs page tokens
    frames: Frames = field(default_factory=Frames)  # what those who watch the fleet are sent
    scrapes: Scrapes = field(default_factory=Scrapes)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    breaking_off: Word = field(default_factory=Word)
    traces: Traces = field(default_factory=Traces)
