"""The page of quotas: what is used of each, digit by digit, and what it means that one is used up."""

from __future__ import annotations

from client.access_types import GPU_HOURS, SPEND, Quota
from tui.core import units
from tui.core.columns import Column
from tui.core.lists import Entry, Listing
from tui.core.states import Tone


def _most(row: Entry[Quota]) -> float | None:
    return _float(row.what.max_value)


def _float(text: str | None) -> float | None:
    return None if text is None else float(text)


def _used_up(quota: Quota) -> bool:
    return quota.usage is not None and quota.value is not None and quota.usage >= float(quota.value)


def _quota_share(row: Entry[Quota]) -> float | None:
    usage, limit = row.what.usage, _float(row.what.value)
    return None if usage is None or limit is None else usage / limit if limit else 1.0


def _is_off(quota: Quota) -> bool:
    return quota.value is not None and quota.off


def _quota_limit(row: Entry[Quota]) -> str:
    return "off" if _is_off(row.what) else units.grouped(row.what.value)


def _quota_bar(row: Entry[Quota]) -> str:
    share = _quota_share(row)
    mark = "▲ " if _used_up(row.what) else ""
    return f"{units.bar(share, 10)} {mark}{units.percent(share):>4}"


def _quota_tone(row: Entry[Quota]) -> Tone | None:
    return "attention" if _used_up(row.what) else None


_AT_THE_LIMIT = {
    SPEND: "every inference request is answered with 402, and no replica is added, until next month (UTC)",
    GPU_HOURS: "requests to deployments with accelerators are answered with 429, and no replica is added to them, "
    "until next month (UTC)",
}


def _quota_detail(row: Entry[Quota]) -> tuple[str, ...]:
    """What it means that it is used up, and how it is changed."""
    change = f"change it with: firedeck quota update {row.what.id} --value N"
    stops = _AT_THE_LIMIT.get(row.what.id, "what needs more of it is refused")
    if _is_off(row.what):
        return ("off: at its maximum it limits nothing", change)
    return (f"used up: {stops}", change) if _used_up(row.what) else (change,)


QUOTAS: Listing[Quota] = Listing(
    "quotas", "quotas",
    (
        Column("quota", "QUOTA", lambda r: r.what.id, 0, 10, 40, "left"),
        Column("usage", "USAGE", lambda r: units.grouped(r.what.used), 0, 6, value=lambda r: r.what.usage),
        Column("value", "LIMIT", _quota_limit, 0, 6, value=lambda r: _float(r.what.value)),
        Column("share", "USED", _quota_bar, 1, 15, tone=_quota_tone, value=_quota_share, unit="share"),
        Column("max", "MAXIMUM", lambda r: units.grouped(r.what.max_value), 2, 7, value=_most),
    ),
    "no quotas", lambda r, now: _quota_detail(r), 10.0,
)  # fmt: skip
