"""The one place from which changes are sent: refuses when locked, re-checks the target by name, writes the journal."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from client.errors import FailedPrecondition, FiredeckError, PermissionDenied
from client.fleet_types import DeploymentStats, DeploymentStatus
from client.router_types import SHIFTING, RouterShiftSpec
from client.types import DeploymentSpec
from tui.core import adapter_plan, router_page, shift_plan
from tui.core.journal import Entry, Journal, known_as
from tui.core.placed import plain, short
from tui.core.plan import Plan, Verb, delete
from tui.core.way_back import undo
from tui.sources.base import FleetSource

LOCKED = "the dashboard is read-only"
CUT_OFF = "outcome unknown: the dashboard ended before the answer came"
DONE: dict[Verb, str] = {
    "create": "created", "scale": "scaled", "update": "changed", "delete": "deleted", "undelete": "brought back",
    "shift": "set shifting", "roll_back": "rolled back", "load": "loaded", "unload": "taken off",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, in a sentence; `undo` takes it back where that is possible; `warning` may be empty.

    `follow` is True if replicas may now come or go, worth telling when they have.
    """

    verb: Verb
    text: str
    name: str
    undo: Plan | None = None
    warning: str = ""
    follow: bool = False


class Executor:
    """Carries plans out, each in its own context. `locked` is asked each time: a dialog that is still open cannot get
    around the lock."""

    def __init__(
        self,
        at: Callable[[str], FleetSource],
        journal: Journal,
        clock: Callable[[], datetime],
        locked: Callable[[str], bool],
    ) -> None:
        """`at` and `locked`: the source and the lock of a context by its name."""
        self._at, self.journal, self._clock, self._locked = at, journal, clock, locked

    async def run(self, plan: Plan, seen: DeploymentStatus | None = None) -> Outcome:
        """Send `plan`; raises FiredeckError if it was refused here or there. `seen` is what the user looked at.

        Every end is journalled, that of a cancelled sending too: the server may have acted on it.
        """
        try:
            name, back = await self._send(plan)
        except FiredeckError as error:
            await self._write(plan, f"{error.name}: {error.text}")
            raise
        except asyncio.CancelledError:
            self.journal.write(self._entry(plan, CUT_OFF))  # at once: the event loop may be ending
            raise
        warning = await self._write(plan, "ok")
        text = f"{short(name)} was {DONE[plan.verb]}"
        follow = plan.verb in ("create", "scale", "update", "undelete")
        return Outcome(plan.verb, text, name, back or await self._undo(plan, seen), warning, follow=follow)

    async def _send(self, plan: Plan) -> tuple[str, Plan | None]:
        """The name of what was changed, and the way back where that is known from the answer alone."""
        if not plan.ready:
            raise FailedPrecondition("there is nothing to send, or something must be put right first")
        if self._locked(plan.context):
            raise PermissionDenied(LOCKED, hint="unlock it first")
        source = self._at(plan.context)
        if plan.verb == "create":
            made = await source.create(plan.spec or DeploymentSpec(), plan.id or None)
            unheard = DeploymentStatus(deployment=made, stats=DeploymentStats(window_s=0))
            return made.name, delete(unheard, self._clock(), None)
        if plan.verb in ("shift", "roll_back"):
            return plan.target, await self._shift(source, plan)
        if plan.verb == "unload":
            return await self._unload(source, plan)
        await self._recheck(source, plan)
        match plan.verb:
            case "load":
                one = await source.load_adapter(plan.model, plan.target)
                return one.name, adapter_plan.back(plan, one)
            case "scale":
                await source.scale(plan.target, plan.replica_count or 0)
            case "update":
                await source.update(plan.target, plan.spec or DeploymentSpec())
            case "delete":
                await source.delete(plan.target, ignore_checks=plan.ignore_checks)
            case "undelete":
                await source.undelete(plan.target)
        return plan.target, None

    async def _unload(self, source: FleetSource, plan: Plan) -> tuple[str, Plan | None]:
        """It must still be the one that the user saw."""
        found = [one for one in await source.deployed_models() if one.name == plan.target]
        if not found or found[0].create_time != plan.seen_created:
            raise FailedPrecondition(f"{plan.id} is not loaded any more as it was", hint="look again")
        await source.unload_adapter(plan.target)
        return plan.target, adapter_plan.back(plan, found[0])

    async def _shift(self, source: FleetSource, plan: Plan) -> Plan | None:
        """Of a router: its last shift must still be the one that the user saw, and going on just where that is meant.
        The way back is told by what has become of it."""
        last = (await source.router(plan.target)).shift
        seen = plan.seen_created == (last.start_time if last is not None else None)
        shifts = last is not None and last.state == SHIFTING
        if plan.verb == "shift":
            if not seen or shifts:
                raise FailedPrecondition(f"{plan.id} was shifted by somebody else meanwhile", hint="look again")
            return router_page.roll_back(await source.shift(plan.target, plan.shift or RouterShiftSpec()))
        if not seen or not shifts:
            raise FailedPrecondition(f"that shift of {plan.id} is over", hint="look again")
        await source.abort_shift(plan.target)
        with contextlib.suppress(FiredeckError):  # it is rolled back, whether its way back can be told or not
            return shift_plan.again(await source.router(plan.target))
        return None

    async def _recheck(self, source: FleetSource, plan: Plan) -> None:
        """The deployment of this name must still be the one, and in the state, that the user saw."""
        current = await source.get(plan.target)
        if plan.seen_created is not None and current.create_time != plan.seen_created:
            raise FailedPrecondition(f"{plan.id} was replaced by another deployment of that name", hint="look again")
        if plan.seen_state is not None and current.state != plan.seen_state:
            raise FailedPrecondition(
                f"{plan.id} is {current.state} now, it was {plan.seen_state} when you looked", hint="look again"
            )

    async def _undo(self, plan: Plan, seen: DeploymentStatus | None) -> Plan | None:
        if seen is None or plan.verb not in ("scale", "update", "delete", "undelete"):
            return None
        try:
            now = await self._at(plan.context).get(plan.target)
        except FiredeckError:
            return None
        return undo(plan, seen.model_copy(update={"deployment": now}), self._clock())

    async def _write(self, plan: Plan, outcome: str) -> str:
        """In a thread: a slow disk must not stop the screen."""
        return await asyncio.to_thread(self.journal.write, self._entry(plan, outcome))

    def _entry(self, plan: Plan, outcome: str) -> Entry:
        return Entry(
            time=self._clock(), user=_user(), context=known_as(self._at(plan.context).context), verb=plan.verb,
            target=plain(plan.target), before={c.field: c.before for c in plan.changes},
            after={c.field: c.after for c in plan.changes}, outcome=outcome,
        )  # fmt: skip


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
