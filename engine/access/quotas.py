"""Quotas of an account: what it may use at most, how much it uses now, and the refusal beyond.

Enforced are deployments, replicas (the sum of the deployments' maxReplicaCount), the two of a month
(`engine.access.budgets`) and, by the gateway, those of a minute (`engine.access.rate_limits`). `maxValue` is the
engine's own ceiling; an admin may set `value` to anything up to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from client.access_types import GPU_HOURS, SPEND, Quota
from client.errors import NotFound, ResourceExhausted
from client.fleet_types import Condition
from client.types import Deployment
from engine.access import budgets, rate_limits
from engine.access.rate_limits import RateLimits, account_holder, new_value, not_set
from engine.control.price import Totals
from engine.store.access import AccessRecords, QuotaRecord

DEPLOYMENTS, REPLICAS = "deployment-count", "replica-count"
CEILINGS = {DEPLOYMENTS: 10_000, REPLICAS: 100_000, **budgets.CEILINGS}
KNOWN = sorted({*CEILINGS, *rate_limits.CEILINGS})

Living = Callable[[str], list[Deployment]]  # an account's deployments that are not deleted


@dataclass(frozen=True, slots=True)
class Consumption:
    """What an account has used this month, and whether replicas of a deployment have accelerators."""

    used: Callable[[str], Totals] = lambda account: Totals()
    accelerated: Callable[[Deployment], bool] = lambda deployment: False


class Quotas:
    """Values by account and quota; usage is counted, not stored."""

    def __init__(
        self,
        records: AccessRecords,
        living: Living,
        rates: RateLimits,
        consumption: Consumption = Consumption(),
    ) -> None:
        self._records = records
        self._living = living
        self._consumption = consumption
        self.rates = rates
        self.deciding = asyncio.Lock()  # held until what was admitted is there, and is counted for the next one
        self._set: dict[str, QuotaRecord] = {}

    async def load(self) -> None:
        rows = await self._records.quotas()
        self._set = {record.name: record for record in rows}
        await self.rates.load(rows)

    def of(self, account: str) -> list[Quota]:
        return [self.get(account, quota_id) for quota_id in KNOWN]

    def get(self, account: str, quota_id: str) -> Quota:
        if quota_id in rate_limits.CEILINGS:
            return self.rates.get(account_holder(account), quota_id)
        if quota_id not in CEILINGS:
            raise NotFound(f"quota {quota_id[:80]!r} does not exist", hint="there are " + ", ".join(KNOWN))
        record = self._set.get(_name(account, quota_id))
        return Quota(
            name=_name(account, quota_id), value=str(self._value(account, quota_id)), max_value=str(CEILINGS[quota_id]),
            usage=self._usage(account, quota_id),
            update_time=datetime.fromisoformat(record.update_time) if record else None,
        )  # fmt: skip

    async def update(self, account: str, quota_id: str, changes: Quota, *, validate_only: bool = False) -> Quota:
        """A new `value`, at most the ceiling. What is used already stays, though it may be more. With `validate_only`
        what it would be."""
        if quota_id in rate_limits.CEILINGS:
            return await self.rates.update(account_holder(account), quota_id, changes, validate_only=validate_only)
        current = self.get(account, quota_id)
        record = QuotaRecord(current.name, new_value(current, changes), datetime.now(UTC).isoformat())
        if validate_only:
            return current.model_copy(update={"value": str(record.value)})
        await self._records.put_quota(record)
        self._set[record.name] = record
        return self.get(account, quota_id)

    async def delete(self, account: str, quota_id: str, *, validate_only: bool = False) -> None:
        """Back to the ceiling, where it began; NotFound where none is set."""
        if quota_id in rate_limits.CEILINGS:
            await self.rates.delete(account_holder(account), quota_id, validate_only=validate_only)
            return
        name = self.get(account, quota_id).name
        if name not in self._set:
            raise not_set(quota_id)
        if not validate_only:
            await self._records.drop_quota(name)
            self._set.pop(name, None)

    def admit_request(self, account: str) -> None:
        """SpendLimitExceeded when the account has spent what it may this month."""
        self._check_month(account, SPEND)

    def admit_use(self, deployment: Deployment) -> None:
        """ResourceExhausted for one with accelerators when this month's hours of the account are used up."""
        account = deployment.name.split("/")[1]
        if self._over(account, GPU_HOURS) and self._consumption.accelerated(deployment):
            self._check_month(account, GPU_HOURS)

    def admit_growth(self, deployment: Deployment) -> None:
        """ResourceExhausted for more replicas of it when the month's budget, or its accelerator-hours, are used up."""
        self._check_month(deployment.name.split("/")[1], SPEND)
        self.admit_use(deployment)

    def holding_up(self, deployment: Deployment) -> list[Condition]:
        """The quotas of the month that are used up and keep a deployment from starting and growing, as conditions."""
        account = deployment.name.split("/")[1]
        over = [quota_id for quota_id in budgets.CEILINGS if self._over(account, quota_id)]
        if GPU_HOURS in over and not self._consumption.accelerated(deployment):
            over.remove(GPU_HOURS)
        used = self._consumption.used(account)
        return [budgets.condition(quota_id, account, self._value(account, quota_id), used) for quota_id in over]

    def over_budget(self, account: str) -> bool:
        """Whether its requests are refused until the next month."""
        return self._over(account, SPEND)

    def admit_deployment(self, planned: Deployment) -> None:
        """ResourceExhausted when the account could not have `planned` besides, or instead of its former self."""
        account = planned.name.split("/")[1]
        others = [d for d in self._living(account) if d.name != planned.name]
        former = {d.name: d for d in self._living(account)}.get(planned.name)
        replicas = sum(d.max_replica_count or 0 for d in others)
        self._check(account, DEPLOYMENTS, len(others), 0 if former else 1)
        widened = _grew(former.max_replica_count if former else 0, planned.max_replica_count)
        if widened:
            self._check(account, REPLICAS, replicas, planned.max_replica_count or 0)
        if widened or _grew(former.min_replica_count if former else 0, planned.min_replica_count):
            self.admit_growth(planned)

    def _check(self, account: str, quota_id: str, used: int, more: int) -> None:
        limit = self._value(account, quota_id)
        if more and used + more > limit:
            raise ResourceExhausted(
                f"quota {quota_id} of account {account!r} is {limit}: {used} are used elsewhere, {more} asked for",
                hint=f"delete or lower others, or let an admin run: firedeck quota update {quota_id} --value N",
            )

    def _over(self, account: str, quota_id: str) -> bool:
        return budgets.over(quota_id, self._value(account, quota_id), lambda: self._consumption.used(account))

    def _check_month(self, account: str, quota_id: str) -> None:
        if self._over(account, quota_id):
            limit, used = self._value(account, quota_id), self._consumption.used(account)
            raise budgets.refusal(quota_id, account, limit, used)

    def _value(self, account: str, quota_id: str) -> int:
        record = self._set.get(_name(account, quota_id))
        return record.value if record else CEILINGS[quota_id]

    def _usage(self, account: str, quota_id: str) -> float:
        if quota_id in budgets.CEILINGS:
            return budgets.usage(quota_id, self._consumption.used(account))
        living = self._living(account)
        return float(len(living) if quota_id == DEPLOYMENTS else sum(d.max_replica_count or 0 for d in living))


def _grew(before: int | None, after: int | None) -> bool:
    return (after or 0) > (before or 0)


def _name(account: str, quota_id: str) -> str:
    return f"accounts/{account}/quotas/{quota_id}"
