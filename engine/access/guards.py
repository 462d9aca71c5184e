"""Guards of an account: what is declared, how it is stored, and what of it is ready to act.

    data   Guard       as an admin declared it (`client.guard_types`), in the table `guards`
           Standing    the same, ready to act: rules compiled, and the breaker that counts its hits by key
    verbs  on          those that guard a deployment; nothing where an account has none
           create, update, delete, release
    near   `engine.api.guards` is the way in, `engine.gateway.judging` acts on them

What breakers count is in memory: an engine that starts has refused nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from client import durations
from client.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from client.guard_types import (
    ANSWER,
    OUTPUT_ONLY,
    REQUEST,
    WHOLE,
    WINDOW,
    BreakerSpec,
    Guard,
    GuardSpec,
    RefusedKey,
)
from client.names import Name, check_id
from engine.clock import Clock
from engine.control import patterns
from engine.control.breaker import Breaker, Limit
from engine.control.patterns import Rules
from engine.store.access import AccessRecords

GUARDS_MAX = 20  # of an account: each is asked at every request that it guards
DEPLOYMENTS_MAX = 100
TIMEOUT_DEFAULT, TIMEOUT_MAX = timedelta(seconds=10), timedelta(minutes=1)
WINDOW_DEFAULT, REFUSE_DEFAULT, SPAN_MAX = timedelta(minutes=10), timedelta(minutes=10), timedelta(days=1)
KEY_MARK = " "  # between user and key id, neither of which has one


@dataclass(frozen=True, slots=True)
class Standing:
    guard: Guard
    rules: Rules
    breaker: Breaker | None

    def guards(self, deployment: str) -> bool:
        return not self.guard.disabled and (not self.guard.deployments or deployment in self.guard.deployments)

    def at(self, phase: str) -> bool:
        return phase in (self.guard.phases or ())


class Guards:
    """Of all accounts, by full name."""

    def __init__(self, records: AccessRecords, clock: Clock) -> None:
        self._records, self._clock = records, clock
        self._of: dict[str, dict[str, Standing]] = {}  # by account and name
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        for doc in await self._records.guards():
            self._take(Guard.model_validate_json(doc))

    def on(self, account: str, deployment: str) -> Sequence[Standing]:
        """The account's guards of a deployment, in order of their names."""
        mine = self._of.get(account)
        return [mine[name] for name in sorted(mine) if mine[name].guards(deployment)] if mine else ()

    def of(self, account: str) -> list[Guard]:
        return [self._shown(standing) for standing in self._of.get(account, {}).values()]

    def get(self, account: str, guard_id: str) -> Guard:
        return self._shown(self._standing(account, guard_id))

    async def create(self, account: str, spec: GuardSpec, guard_id: str, *, validate_only: bool = False) -> Guard:
        """A new guard; with `validate_only` what it would be."""
        name = f"accounts/{account}/guards/{check_id(guard_id, 'guardId')}"
        async with self._changing:
            mine = self._of.get(account, {})
            if name in mine:
                raise AlreadyExists(f"guard {guard_id!r} already exists", field="guardId", hint="update it")
            if len(mine) >= GUARDS_MAX:
                raise ResourceExhausted(f"the account has {GUARDS_MAX} guards, all that it may have")
            now = self._clock.wall()
            told = spec.model_dump(exclude=set(OUTPUT_ONLY), exclude_none=True)
            made = _whole(Guard(**told, name=name, create_time=now, update_time=now), account)
            return await self._put(made, validate_only=validate_only)

    async def update(self, account: str, guard_id: str, changes: GuardSpec, *, validate_only: bool = False) -> Guard:
        """Only the fields that are set in `changes`. Its breaker begins anew where that was changed. With
        `validate_only` what it would be."""
        async with self._changing:
            current = self._standing(account, guard_id).guard
            fields = changes.model_fields_set - OUTPUT_ONLY
            told = {field: getattr(changes, field) for field in fields} | {"update_time": self._clock.wall()}
            return await self._put(_whole(current.model_copy(update=told), account), validate_only=validate_only)

    async def delete(self, account: str, guard_id: str, *, validate_only: bool = False) -> None:
        async with self._changing:
            standing = self._standing(account, guard_id)
            if validate_only:
                return
            await self._records.drop_guard(standing.guard.name)
            del self._of[account][standing.guard.name]

    def release(self, account: str, guard_id: str, key_id: str) -> Guard:
        """Let a key in again; NotFound for one that is not refused."""
        standing, now = self._standing(account, guard_id), self._clock.monotonic()
        refused = standing.breaker.refused(now) if standing.breaker else {}
        holder = next((holder for holder in refused if holder.partition(KEY_MARK)[2] == key_id), None)
        if holder is None or standing.breaker is None:
            raise NotFound(
                f"guard {guard_id!r} refuses no key of that id", field="keyId", hint="firedeck guard get shows whom"
            )
        standing.breaker.release(holder, now)
        return self._shown(standing)

    def _standing(self, account: str, guard_id: str) -> Standing:
        found = self._of.get(account, {}).get(f"accounts/{account}/guards/{guard_id}")
        if found is None:
            raise NotFound(f"guard {guard_id[:80]!r} does not exist", hint="firedeck guard list shows all")
        return found

    async def _put(self, guard: Guard, *, validate_only: bool) -> Guard:
        _rules(guard)  # refused before it is written
        if validate_only:
            return guard
        await self._records.put_guard(guard.name, guard.model_dump_json(exclude_none=True))
        return self._shown(self._take(guard))

    def _take(self, guard: Guard) -> Standing:
        mine = self._of.setdefault(guard.name.split("/")[1], {})
        former = mine.get(guard.name)
        limit = _limit(guard.breaker)
        breaker = Breaker(limit) if limit is not None else None
        if former is not None and former.breaker is not None and former.breaker.limit == limit:
            breaker = former.breaker
        standing = mine[guard.name] = Standing(guard, _rules(guard), breaker)
        return standing

    def _shown(self, standing: Standing) -> Guard:
        if standing.breaker is None:
            return standing.guard
        now, wall = self._clock.monotonic(), self._clock.wall()
        keys = [
            RefusedKey(user=holder.partition(KEY_MARK)[0], key_id=holder.partition(KEY_MARK)[2],
                       until=wall + timedelta(seconds=until - now))
            for holder, until in standing.breaker.refused(now).items()
        ]  # fmt: skip
        return standing.guard.model_copy(update={"refused_keys": keys or None})


def key_of(user: str, key_id: str) -> str:
    """As breakers know a key."""
    return f"{user}{KEY_MARK}{key_id}"


def digest(standings: Sequence[Standing]) -> str:
    """What these guards let through is the same as long as this is; "" for none."""
    told = "\n".join(standing.guard.model_dump_json(exclude=set(OUTPUT_ONLY) - {"name"}) for standing in standings)
    return hashlib.sha256(told.encode()).hexdigest() if told else ""


def _whole(guard: Guard, account: str) -> Guard:
    """With a default in every field that it leaves open, checked as a whole."""
    if not guard.keywords and not guard.patterns and not guard.model:
        raise InvalidArgument(
            "a guard needs something to go by", field="keywords", hint="give keywords, patterns or a model"
        )
    if len(guard.deployments or ()) > DEPLOYMENTS_MAX:
        raise InvalidArgument(f"at most {DEPLOYMENTS_MAX} deployments", field="deployments", hint="none means all")
    phases = list(dict.fromkeys(guard.phases or (REQUEST, ANSWER)))
    if guard.release == WINDOW and (guard.model or ANSWER not in phases):
        raise InvalidArgument(
            "only rules let an answer out by a window", field="release",
            hint="a model reads whole answers: give rules in a guard of their own, with the phase answer",
        )  # fmt: skip
    named = [_deployment(each, account, "deployments") for each in guard.deployments or ()]
    spans: dict[str, timedelta | None] = {"timeout": guard.timeout}
    breaker = guard.breaker
    if breaker is not None:
        window, refused = _default(breaker.window, WINDOW_DEFAULT), _default(breaker.refuse_for, REFUSE_DEFAULT)
        breaker = BreakerSpec(hits=breaker.hits, window=window, refuse_for=refused)
        spans |= {"breaker.window": window, "breaker.refuseFor": refused}
    for field, span in spans.items():
        most = TIMEOUT_MAX if field == "timeout" else SPAN_MAX
        if span is not None and not timedelta(0) < span <= most:
            raise InvalidArgument(f"{field} must be more than 0s and at most {durations.to_go(most)}", field=field)
    return guard.model_copy(
        update={
            "deployments": named or None,
            "phases": phases,
            "release": (guard.release or WHOLE) if ANSWER in phases else None,
            "model": _deployment(guard.model, account, "model") if guard.model else None,
            "timeout": _default(guard.timeout, TIMEOUT_DEFAULT) if guard.model else None,
            "on_failure": (guard.on_failure or "closed") if guard.model else None,
            "policy": guard.policy if guard.model else None,
            "breaker": breaker,
        }
    )


def _default(given: timedelta | None, default: timedelta) -> timedelta:
    return default if given is None else given


def _deployment(text: str, account: str, field: str) -> str:
    name = Name.of(text, "deployments", account, field)
    if name.account != account:
        raise InvalidArgument(f"{field} names a deployment of another account", field=field)
    return str(name)


def _rules(guard: Guard) -> Rules:
    try:
        return patterns.compiled(guard.keywords or (), guard.patterns or ())
    except ValueError as error:
        field = "patterns" if "pattern " in str(error) else "keywords"
        raise InvalidArgument(str(error), field=field) from None


def _limit(spec: BreakerSpec | None) -> Limit | None:
    if spec is None or spec.window is None or spec.refuse_for is None:
        return None
    return Limit(spec.hits, spec.window.total_seconds(), spec.refuse_for.total_seconds())
