"""The side pages as data: which columns each has, how often its source is asked, what is told of the chosen row."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tui.core import units
from tui.core.columns import Column
from tui.core.journal import Entry as Journalled
from tui.core.lists import Entry, Listing, Trouble
from tui.core.states import Tone

if TYPE_CHECKING:
    from client.access_types import ApiKey, AuditLogEntry, User
    from client.fleet_types import Event, NodeView, QuarantinedRequest


def _named(name: str | None) -> str:
    """An enum's name; the sign for what is not known where it says that there is none."""
    return units.UNKNOWN if not name or name.endswith("_UNSPECIFIED") else name


def _used(row: Entry[NodeView]) -> str:
    """`██░░ 2/8` accelerators; of a node without any, the share of its memory."""
    node, share = row.what, _used_share(row)
    if node.accelerators:
        return f"{units.bar(share, 8)} {node.accelerators - node.free_accelerators}/{node.accelerators}"
    return f"{units.bar(share, 8)} {units.percent(share)}"


def _used_share(row: Entry[NodeView]) -> float | None:
    node = row.what
    if node.accelerators:
        return 1 - node.free_accelerators / node.accelerators
    return 1 - node.free_memory_bytes / node.memory_bytes if node.memory_bytes else None


def _free_bytes(row: Entry[NodeView]) -> float:
    return row.what.free_memory_bytes


def _threads(row: Entry[NodeView]) -> float:
    return row.what.free_threads


def _hourly(row: Entry[NodeView]) -> float | None:
    return row.what.price_per_hour


def _instant(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _missing(trouble: Trouble) -> float | None:
    """Replicas for which there is no room."""
    one = trouble.condition
    return None if one is None or one.wanted is None else one.wanted - (one.placed or 0)


def _open(row: Entry[NodeView]) -> str:
    return "✖ closed" if row.what.closed else "● open"


def _node_tone(row: Entry[NodeView]) -> Tone | None:
    return "attention" if row.what.closed else "healthy"


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _price(value: float | None) -> str:
    return units.UNKNOWN if value is None else f"{value:.2f}"


def _placed(trouble: Trouble) -> str:
    one = trouble.condition
    return units.UNKNOWN if one is None or one.wanted is None else f"{units.count(one.placed)}/{one.wanted}"


def _retry(trouble: Trouble) -> datetime | None:
    return trouble.condition.retry_at if trouble.condition else None


def _at(moment: datetime | None) -> str:
    """A wall clock of today, or a date: rows are redrawn when they change, not every second."""
    return units.UNKNOWN if moment is None else units.clock(moment)


def _day(moment: datetime | None, never: str = units.UNKNOWN) -> str:
    return never if moment is None else units.day(moment)


def _warns(row: Entry[Event]) -> Tone | None:
    return "attention" if row.what.kind == "Warning" else None


def _refused(row: Entry[AuditLogEntry]) -> Tone | None:
    status = row.what.status
    return None if status is None or status.code == "OK" else "attention"


def _key_detail(row: Entry[tuple[str, ApiKey]]) -> tuple[str, ...]:
    """How it is taken back: the engine's own, which lies in a file, in another way than all others."""
    user, key = row.what
    if key.secure:
        return (f"revoke it with: firedeck api-key delete {key.key_id} --user {user}",)
    return (
        "the engine's own key: it cannot be deleted, and is replaced when the engine starts",
        "for a new one, remove admin.key in its data folder (or change FIREDECK_API_KEY) and start the engine again",
    )


NODES: Listing[NodeView] = Listing(
    "nodes", "nodes",
    (
        Column("node", "NODE", lambda r: r.name, 0, 14, 28, "left"),
        Column("state", "STATE", _open, 0, 8, align="left", tone=_node_tone),
        Column("region", "REGION", lambda r: _named(r.what.region), 2, 14, 22, "left"),
        Column("type", "ACCELERATOR", lambda r: _named(r.what.accelerator_type), 1, 16, 22, "left"),
        Column("used", "USED", _used, 1, 8, align="left", tone=lambda r: "working", value=_used_share, unit="share"),
        Column("replicas", "REPLICAS", lambda r: str(r.replicas), 3, 8, value=lambda r: r.replicas),
        Column("memory", "MEM FREE", lambda r: units.size(r.what.free_memory_bytes), 5, 8, value=_free_bytes),
        Column("threads", "THREADS FREE", lambda r: str(r.what.free_threads), 7, 5, value=_threads),
        Column("price", "PER HOUR", lambda r: _price(r.what.price_per_hour), 6, 5, value=_hourly),
        Column("closed", "WHY CLOSED", lambda r: r.what.closed, 8, 12, 60, "left"),
    ),
    "no nodes", lambda r, now: _node_detail(r), 2.0,
)  # fmt: skip
EVENTS: Listing[Event] = Listing(
    "events", "events",
    (
        Column("time", "TIME", lambda r: units.clock(r.what.time), 0, 8, align="left", value=lambda r: r.what.seq),
        Column("kind", "", lambda r: "⚠" if r.what.kind == "Warning" else "·", 0, 1, align="left", tone=_warns),
        Column("deployment", "DEPLOYMENT", lambda r: _short(r.deployment), 0, 10, 28, "left"),
        Column("reason", "REASON", lambda r: r.what.reason, 0, 16, 24, "left", tone=_warns),
        Column("message", "MESSAGE", lambda r: r.what.message, 1, 20, 400, "left"),
    ),
    "no events yet", lambda r, now: (f"{_day(r.what.time)}  {r.what.reason}  {r.deployment}", r.what.message), 1.0,
)  # fmt: skip
CONDITIONS: Listing[Trouble] = Listing(
    "conditions", "conditions",
    (
        Column("deployment", "DEPLOYMENT", lambda r: _short(r.deployment) or r.name, 0, 10, 28, "left"),
        Column("reason", "CONDITION", lambda r: f"▲ {r.what.reason}", 0, 10, 30, "left", tone=lambda r: "attention"),
        Column("placed", "PLACED", lambda r: _placed(r.what), 0, 6, value=lambda r: _missing(r.what)),
        Column("since", "SINCE", lambda r: _at(r.what.condition.since if r.what.condition else None), 2, 8),
        Column("retry", "NEXT TRY", lambda r: _at(_retry(r.what)), 1, 8),
        Column("message", "WHY", lambda r: r.what.message, 3, 20, 400, "left"),
    ),
    "no condition holds anything back",
    lambda r, now: (
        f"{r.deployment or r.name}: {r.what.reason}"
        + (f", next try in {units.countdown(_retry(r.what), now)}" if _retry(r.what) else ""),
        r.what.message,
    ),
)  # fmt: skip
QUARANTINE: Listing[QuarantinedRequest] = Listing(
    "quarantine", "quarantined requests",
    (
        Column("digest", "REQUEST", lambda r: r.what.digest[:12], 0, 12, align="left"),
        Column("deployment", "DEPLOYMENT", lambda r: _short(r.deployment), 0, 10, 28, "left"),
        Column("until", "UNTIL", lambda r: _at(r.what.until), 0, 8, value=lambda r: _instant(r.what.until)),
        Column("died", "DIED", lambda r: str(len(r.what.replicas)), 1, 4, value=lambda r: len(r.what.replicas)),
        Column("replicas", "REPLICAS", lambda r: " ".join(r.what.replicas), 2, 12, 60, "left"),
    ),
    "no request is refused for ending replicas",
    lambda r, now: (
        f"refused for {units.countdown(r.what.until, now)}: the body whose SHA-256 is {r.what.digest}",
        f"replicas that died of it: {', '.join(r.what.replicas) or units.UNKNOWN}",
    ),
)  # fmt: skip
USERS: Listing[User] = Listing(
    "users", "users",
    (
        Column("user", "USER", lambda r: r.what.id, 0, 10, 28, "left"),
        Column("role", "ROLE", lambda r: r.what.role or units.UNKNOWN, 0, 8, 16, "left"),
        Column("kind", "KIND", lambda r: "service" if r.what.service_account else "person", 1, 7, align="left"),
        Column("email", "EMAIL", lambda r: r.what.email or units.UNKNOWN, 2, 12, 48, "left"),
        Column("made", "CREATED", lambda r: _day(r.what.create_time), 3, 16, align="left"),
    ),
    "no users", lambda r, now: (f"{r.name}  {r.what.display_name or ''}".rstrip(),), 10.0,
)  # fmt: skip
KEYS: Listing[tuple[str, ApiKey]] = Listing(
    "keys", "API keys",
    (
        Column("user", "USER", lambda r: r.what[0], 0, 10, 28, "left"),
        Column("name", "NAME", lambda r: r.what[1].display_name or units.UNKNOWN, 1, 8, 28, "left"),
        Column("prefix", "PREFIX", lambda r: f"{r.what[1].prefix}…", 0, 7, align="left"),
        Column("expires", "EXPIRES", lambda r: _day(r.what[1].expire_time, "never"), 0, 16, align="left"),
        Column("made", "CREATED", lambda r: _day(r.what[1].create_time), 3, 16, align="left"),
        Column("id", "KEY ID", lambda r: r.what[1].key_id, 2, 8, 24, "left"),
    ),
    "no keys", lambda r, now: _key_detail(r), 10.0,
)  # fmt: skip
AUDIT: Listing[AuditLogEntry] = Listing(
    "audit", "audit log",
    (
        Column("time", "TIME", lambda r: _at(r.what.timestamp), 0, 8, align="left", value=lambda r: int(r.what.id)),
        Column("who", "PRINCIPAL", lambda r: r.what.principal or units.UNKNOWN, 0, 8, 24, "left"),
        Column("code", "CODE", lambda r: r.what.status.code if r.what.status else "", 1, 4, 20, "left", tone=_refused),
        Column("what", "ACTION", lambda r: r.what.message, 0, 12, 28, "left"),
        Column("resource", "RESOURCE", lambda r: r.what.resource, 2, 20, 80, "left"),
        Column("detail", "DETAIL", lambda r: r.what.status.message if r.what.status else "", 3, 16, 200, "left"),
    ),
    "no records", lambda r, now: _audit_detail(r.what), 10.0,
)  # fmt: skip


def _audit_detail(one: AuditLogEntry) -> tuple[str, ...]:
    """What was asked and from where; and why it was refused, for which a narrow table has no column."""
    came = f"key {one.api_key_id or units.UNKNOWN} from {one.client_ip or units.UNKNOWN} {one.user_agent}"
    found = (f"{_day(one.timestamp)}  {one.method} {one.resource}", came)
    return (*found, f"{one.status.code}: {one.status.message}") if one.status and one.status.message else found


def _changed(row: Entry[Journalled]) -> str:
    """`replicas 1 → 3, max replica count 3 → 4`."""
    before, after = row.what.before, row.what.after
    return ", ".join(f"{name} {before.get(name) or units.UNKNOWN} → {value}" for name, value in after.items())


def _ended_badly(row: Entry[Journalled]) -> Tone | None:
    return None if row.what.outcome == "ok" else "attention"


JOURNAL: Listing[Journalled] = Listing(
    "journal", "changes made from here",
    (
        Column("time", "TIME", lambda r: _day(r.what.time), 0, 16, align="left"),
        Column("verb", "CHANGE", lambda r: r.what.verb, 0, 8, 10, "left"),
        Column("target", "DEPLOYMENT", lambda r: _short(r.what.target) or units.UNKNOWN, 0, 10, 28, "left"),
        Column("what", "WHAT", _changed, 1, 20, 80, "left"),
        Column("outcome", "OUTCOME", lambda r: r.what.outcome, 0, 7, 60, "left", tone=_ended_badly),
        Column("context", "CONTEXT", lambda r: r.what.context, 4, 8, 40, "left"),
        Column("user", "BY", lambda r: r.what.user, 5, 4, 20, "left"),
    ),
    "nothing was changed from here yet",
    lambda r, now: (f"{r.what.verb} {r.what.target} by {r.what.user}: {r.what.outcome}", _changed(r)),
    2.0,
)  # fmt: skip


def _node_detail(row: Entry[NodeView]) -> tuple[str, ...]:
    node = row.what
    free = f"{units.size(node.free_memory_bytes)} of {units.size(node.memory_bytes)} memory free"
    label = "SIMULATED virtual node, " if node.simulated else ""
    return (
        f"{row.name}: {label}{node.device}, {free}, {node.free_threads} threads free",
        f"closed: {node.closed}" if node.closed else "takes replicas",
        row.note,
    )
