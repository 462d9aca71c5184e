"""What adapters are used for: when each was asked last, what is under way, and what came of it.

    data   Use         of one adapter on one deployment, since it was loaded there
           Former      the version whose place it took, as long as it may have it back
    verbs  began, ended   by the gateway, for each request
           idle_s         since nobody asks for it
           failing        those that are to give their place back, and why
    near   `engine.fleet.addon_care` acts on it, `engine.control.addon_trial` decides

Instants are monotonic; on disk they are on the axis of time that cannot be set (`engine.fleet.lived`). At most
WRITE_AFTER_S of what is known here is lost to a kill, and the first request after a while is written at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace

from client.addon_types import DeployedModel
from client.errors import FiredeckError
from engine.control.addon_trial import WATCHED_S, Outcomes, goes_back
from engine.fleet.rooms import Rooms

log = logging.getLogger(__name__)

WRITE_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Former:
    """As it was loaded, what had come of its requests, and since when the other one, which has its place, is watched:
    since that one was loaded, and again since the first of its requests."""

    spec: DeployedModel
    outcomes: Outcomes
    since: float


@dataclass(eq=False, slots=True)
class Use:
    """Of the adapter in the record called `name`."""

    name: str
    used_at: float
    outcomes: Outcomes = field(default_factory=Outcomes)
    former: Former | None = None
    running: int = 0
    returning: bool = False  # the former one is being put back
    written: tuple[float, Outcomes, Former | None] | None = None  # as it is on disk
    written_at: float = float("-inf")

    @property
    def known(self) -> tuple[float, Outcomes, Former | None]:
        return self.used_at, self.outcomes, self.former


class AddonUses:
    """All of an engine, by deployment and model. `stirred`: there is something to write, or to act on."""

    def __init__(self, rooms: Rooms) -> None:
        self._clock, self._lived, self._store = rooms.clock, rooms.lived, rooms.store
        self._uses: dict[tuple[str, str], Use] = {}
        self.stirred = asyncio.Event()

    def __iter__(self) -> Iterator[Use]:
        return iter(list(self._uses.values()))

    async def load(self, addons: Iterable[DeployedModel]) -> None:
        """What an earlier engine wrote of these; one of which it wrote nothing was used now."""
        known = {row["name"]: row["use"] for row in await self._store.fetch("addon_uses")}
        for record in addons:
            use = self.add(record)
            if doc := known.get(record.name):
                try:
                    self._restore(use, doc)
                except (KeyError, TypeError, ValueError):
                    log.warning("%s: how it was used before cannot be read any more", record.name)

    def add(self, record: DeployedModel, former: Former | None = None) -> Use:
        """It was loaded now. Requests that run with it from before, while it was being unloaded, still do."""
        use = self._uses.setdefault((record.deployment or "", record.model or ""), Use("", 0.0))
        use.name, use.used_at, use.former = record.name, self._clock.monotonic(), former
        use.outcomes, use.returning, use.written, use.written_at = Outcomes(), False, None, float("-inf")
        return use

    def drop(self, record: DeployedModel) -> None:
        self._uses.pop((record.deployment or "", record.model or ""), None)

    def of(self, record: DeployedModel) -> Use:
        return self._uses.get((record.deployment or "", record.model or "")) or self.add(record)

    def began(self, deployment: str, model: str | None) -> Use | None:
        """A request goes to the deployment with this adapter; None for one with none."""
        use = self._uses.get((deployment, model)) if model is not None else None
        if use is not None:
            use.running += 1
            self._used(use)
        return use

    def ended(self, use: Use | None, *, failed: bool | None) -> None:
        """`failed`: by no fault of its client; None where that tells nothing of the adapter."""
        if use is None:
            return
        use.running -= 1
        self._used(use)
        if failed is not None:
            if use.former is not None and not use.outcomes.requests:
                use.former = replace(use.former, since=self._clock.monotonic())
            use.outcomes = use.outcomes.and_one(failed=failed)
        if self._why_back(use):
            self.stirred.set()

    def running(self, record: DeployedModel) -> int:
        """Requests that are under way with it."""
        use = self._uses.get((record.deployment or "", record.model or ""))
        return use.running if use is not None else 0

    def touch(self, record: DeployedModel) -> None:
        """Its idle time begins anew, if it is an adapter."""
        use = self._uses.get((record.deployment or "", record.model or ""))
        if use is not None:
            self._used(use)

    def idle_s(self, record: DeployedModel) -> float:
        """Since nobody asks for it; 0 while requests are under way."""
        use = self.of(record)
        return 0.0 if use.running else self._clock.monotonic() - use.used_at

    def failing(self, refused: Callable[[str], str] = lambda name: "") -> list[tuple[Use, Former, str]]:
        """Those that are to give their place back to the former one, and why, unless that is under way. `refused`
        tells of a record why no replica could load it, or "". The former one is kept until it is back: who acts on
        this may be stopped."""
        found = []
        for use in self:
            if use.former is None or use.returning:
                continue
            if why := self._why_back(use) or refused(use.name):
                found.append((use, use.former, why))
                use.returning = True
            elif use.outcomes.requests and self._clock.monotonic() - use.former.since > WATCHED_S:
                use.former = None
        return found

    async def write(self) -> None:
        """What is not on disk yet."""
        now = self._clock.monotonic()
        fresh = [(use, use.known) for use in self if use.known != use.written]
        if not fresh:
            return
        for use, _ in fresh:
            use.written_at = now
        try:
            await self._store.transact([("put_addon_use", {"name": u.name, "use": self._doc(u)}) for u, _ in fresh])
        except FiredeckError as error:
            log.warning("when adapters were used last is not written down: %s", error.text)
            return
        for use, known in fresh:
            use.written = known

    def _used(self, use: Use) -> None:
        use.used_at = self._clock.monotonic()
        if use.used_at - use.written_at >= WRITE_AFTER_S:
            self.stirred.set()

    @staticmethod
    def _why_back(use: Use) -> str:
        return goes_back(use.outcomes, use.former.outcomes) if use.former else ""

    def _doc(self, use: Use) -> str:
        former = use.former and {
            "spec": use.former.spec.to_wire(), "outcomes": asdict(use.former.outcomes),
            "since": self._lived.at(use.former.since),
        }  # fmt: skip
        return json.dumps({"used": self._lived.at(use.used_at), "outcomes": asdict(use.outcomes), "former": former})

    def _restore(self, use: Use, doc: str) -> None:
        read, here = json.loads(doc), self._lived.monotonic
        outcomes, former = Outcomes(**read["outcomes"]), read["former"]
        use.used_at, use.outcomes = here(read["used"]), outcomes
        if former is not None:
            spec = DeployedModel.model_validate(former["spec"])
            use.former = Former(spec, Outcomes(**former["outcomes"]), here(former["since"]))
