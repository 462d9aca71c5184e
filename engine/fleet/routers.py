"""Routers: names that stand for several deployments, and how requests are divided among them (firedeck's own).

    data   `LiveRouter` by full name, its record written through to the store
    verbs  create, update, delete, shift, abort; find (for a request), all, get, users_of (who routes to a deployment)
    near   `engine.router_rules` says what is allowed, `live_router` chooses, `router_shift` moves,
           `engine.api.routers` shows, `engine.gateway.policy` asks for each request, `fleet` asks before it deletes a
           deployment

No task runs unless a shift is going on, and without routers `find` is one look into an empty dictionary.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from client.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from client.names import Name, check_id, random_id
from client.router_types import ABORTED, Router, RouterEvent, RouterShiftSpec
from engine import router_rules
from engine.fleet import router_shift
from engine.fleet.keeper import Keeper
from engine.fleet.live_router import LiveRouter
from engine.fleet.rooms import Rooms
from engine.store.routers import RouterRecords

log = logging.getLogger(__name__)

ROUTERS_MAX = 100  # of an account


class Routers:
    """All routers by name. `keeper_of` finds the keeper of a deployment, or raises NotFound."""

    def __init__(self, rooms: Rooms, keeper_of: Callable[[str], Keeper]) -> None:
        self._clock = rooms.clock
        self._driver = rooms.driver
        self._records = RouterRecords(rooms.store)
        self._keeper_of = keeper_of
        self._live: dict[str, LiveRouter] = {}
        self._moving: dict[str, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()  # from what a change is made of until it is written: none undoes another

    async def load(self) -> None:
        """What an earlier engine wrote; shifts go on where it left them."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        for record in await self._records.all():
            live = self._live[record.name] = LiveRouter(record, self._lives, wall)
            if live.shifts and record.shift is not None:
                live.step_at = now - max(0.0, (wall - record.shift.step_time).total_seconds())
                self._move(live)

    async def close(self) -> None:
        async with self._changing:  # a step that is being taken is written down
            for task in self._moving.values():
                task.cancel()
        await asyncio.gather(*self._moving.values(), return_exceptions=True)

    def find(self, name: str, account: str) -> LiveRouter | None:
        """A router of this account by its full name; None where there is none, be it another's."""
        live = self._live.get(name)
        return live if live is not None and live.account == account else None

    def all(self, account: str) -> list[Router]:
        return [self._shown(live.shown()) for live in self._live.values() if live.account == account]

    def names(self, account: str) -> Iterator[str]:
        return (live.name for live in self._live.values() if live.account == account)

    def get(self, name: str) -> Router:
        return self._shown(self._get(name).shown())

    def targets_of(self, router: Router) -> list[Keeper]:
        """The deployments of it that are there."""
        return [self._keeper_of(one) for one in router.targets if self._lives(one)]

    def users_of(self, deployment: str) -> list[str]:
        """The routers that may send requests there."""
        return [live.name for live in self._live.values() if deployment in live.record.targets]

    async def create(
        self, account: str, spec: Router, router_id: str | None, *, by: str, validate_only: bool = False
    ) -> Router:
        """A new router; with `validate_only` what it would be."""
        name = str(Name(account, "routers", check_id(router_id or random_id(), "routerId")))
        async with self._changing:
            if name in self._live:
                raise AlreadyExists(f"router {name!r} already exists", field="routerId", hint="choose another id")
            if len(self.all(account)) >= ROUTERS_MAX:
                raise FailedPrecondition(f"account {account!r} has {ROUTERS_MAX} routers", hint="delete one first")
            now = self._clock.wall()
            named = spec.model_copy(update={"name": name, "created_by": by, "create_time": now, "update_time": now})
            made = router_rules.whole(named, account)
            self._check_there(made, frozenset())
            if not validate_only:
                await self._records.put(made)
                self._live[name] = LiveRouter(made, self._lives, now)
            return self._shown(made)

    async def update(
        self, name: str, changes: Router, paths: frozenset[str] | None, *, validate_only: bool = False
    ) -> Router:
        async with self._changing:
            live = self._get(name)
            changed = router_rules.updated(live.record, changes, paths)
            changed = router_rules.whole(changed, live.account)
            self._check_there(changed, frozenset(live.record.targets))
            made = changed.model_copy(update={"update_time": self._clock.wall()})
            return self._shown(made) if validate_only else await self._take(live, made)

    async def delete(self, name: str, *, validate_only: bool = False) -> None:
        async with self._changing:
            live = self._get(name)
            if validate_only:
                return
            await self._records.drop(name)
            del self._live[name]
            live.leave()
            self._rest(name)

    async def shift(self, name: str, spec: RouterShiftSpec, *, by: str, validate_only: bool = False) -> Router:
        """Begin to move its traffic to `spec.to`, or end that with `spec.abort`."""
        async with self._changing:
            live = self._get(name)
            if spec.abort:
                if spec.to:
                    raise InvalidArgument("abort goes back: it takes no other field", field="to", hint="leave it out")
                return await self._abort(live, by, validate_only=validate_only)
            now = self._clock.wall()
            planned = router_rules.shift(live.record, spec)
            self._check_living(planned.to, live.account, "to")
            made = router_shift.begun(live.record, planned, now, by)
            if validate_only:
                return self._shown(made)
            shown = await self._take(live, made)
            live.step_at = self._clock.monotonic()
            self._move(live)
            assert made.shift is not None
            await self._tell("Normal", made, made.shift.events[-1])
            return shown

    async def _abort(self, live: LiveRouter, by: str, *, validate_only: bool) -> Router:
        if not live.shifts:
            raise FailedPrecondition(f"router {live.name!r} is not shifting", field="abort")
        made = router_shift.ended(live, ABORTED, f"by {by}", self._clock.wall())
        if validate_only:
            return self._shown(made)
        shown = await self._take(live, made)
        self._rest(live.name)
        assert made.shift is not None
        await self._tell("Warning", made, made.shift.events[-1])
        return shown

    async def _take(self, live: LiveRouter, made: Router) -> Router:
        await self._records.put(made)
        live.unwritten = False
        live.take(made, self._clock.wall())
        return self._shown(live.shown())

    def _shown(self, router: Router) -> Router:
        """What is simulated says so."""
        return router.model_copy(update={"simulated": True}) if self._driver.simulated else router

    def _move(self, live: LiveRouter) -> None:
        self._rest(live.name)
        self._moving[live.name] = asyncio.create_task(self._watch(live), name=f"shift {live.name}")

    def _rest(self, name: str) -> None:
        task = self._moving.pop(name, None)
        if task is not None:
            task.cancel()

    async def _watch(self, live: LiveRouter) -> None:
        """Until the shift is over, and written down as such."""
        while live.shifts or live.unwritten:
            await self._clock.sleep(router_shift.TICK_S)
            try:
                async with self._changing:
                    await router_shift.step(live, self._clock, self._records.put, self._tell)
            except Exception:
                log.exception("%s: the shift met an error and goes on", live.name)
        self._moving.pop(live.name, None)

    async def _tell(self, kind: str, router: Router, event: RouterEvent) -> None:
        """An event of the deployment that traffic is moved to."""
        if router.shift is not None and self._known(router.shift.to):
            told = f"router {router.id}: {event.message}"
            await self._keeper_of(router.shift.to).announce(kind, event.reason, told)

    def _get(self, name: str) -> LiveRouter:
        live = self._live.get(name)
        if live is None:
            raise NotFound(f"router {name!r} does not exist", field="name", hint="`firedeck router list` shows all")
        return live

    def _check_there(self, router: Router, known: frozenset[str]) -> None:
        """New targets must be there; one that went may be left as it is."""
        for one in router.targets:
            if one not in known:
                field = "complexity" if router.complexity else "weighted.targets"
                self._check_living(one, router.name.split("/")[1], field)

    def _check_living(self, deployment: str, account: str, field: str) -> None:
        """Another account's is not there either."""
        if deployment.split("/")[1] != account or not self._lives(deployment):
            raise NotFound(
                f"deployment {deployment!r} does not exist", field=field, hint="`firedeck deployment list` shows all"
            )

    def _known(self, deployment: str) -> bool:
        try:
            self._keeper_of(deployment)
        except NotFound:
            return False
        return True

    def _lives(self, deployment: str) -> bool:
        return self._known(deployment) and not self._keeper_of(deployment).deleted
