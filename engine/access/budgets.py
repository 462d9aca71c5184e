"""The two quotas that are used up by time: accelerator-hours and US dollars of an account in a calendar month (UTC).

At its limit an account's inference requests are refused (for accelerator-hours: those to deployments with accelerators)
and so are new deployments, larger minimum and maximum counts and scaling up by hand. Replicas that run are left: they
go by themselves where the minimum is 0.
"""

from __future__ import annotations

from collections.abc import Callable

from client.access_types import GPU_HOURS, SPEND
from client.conditions import QUOTA_EXCEEDED
from client.errors import ResourceExhausted, SpendLimitExceeded
from client.fleet_types import Condition
from engine.control.price import Totals

CEILINGS = {GPU_HOURS: 100_000_000, SPEND: 1_000_000_000}  # at the ceiling a quota is off
_REASONS = {GPU_HOURS: "GPU_HOURS_LIMIT_EXCEEDED", SPEND: "MONTHLY_SPEND_LIMIT_EXCEEDED"}  # the second is Fireworks'


def usage(quota_id: str, used: Totals) -> float:
    """Accelerator-hours or US dollars; what has no price costs nothing."""
    return used.accelerator_hours if quota_id == GPU_HOURS else used.usd or 0.0


def over(quota_id: str, limit: int, used: Callable[[], Totals]) -> bool:
    """`used` is asked only where there is a limit: it adds up all that runs."""
    return limit < CEILINGS[quota_id] and usage(quota_id, used()) >= limit


def refusal(quota_id: str, account: str, limit: int, used: Totals) -> ResourceExhausted:
    """What an account over this quota is told."""
    what, kind = (
        ("accelerator-hours", ResourceExhausted) if quota_id == GPU_HOURS else ("US dollars", SpendLimitExceeded)
    )
    return kind(
        f"account {account!r} has used {usage(quota_id, used):.2f} of its {limit} {what} of this month ({quota_id})",
        hint=f"wait for next month (UTC), or let an admin run: firedeck quota update {quota_id} --value N",
    ).because(quota_id)


def condition(quota_id: str, account: str, limit: int, used: Totals) -> Condition:
    """What a deployment shows that cannot start or grow because of this quota."""
    why = refusal(quota_id, account, limit, used).text
    message = f"its requests are refused, so that it neither wakes nor grows: {why}"
    return Condition(type=QUOTA_EXCEEDED, reason=_REASONS[quota_id], message=message)
