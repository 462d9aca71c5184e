"""One replica process, as the engine knows it: where it is, how far it is, and the way to talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from client.errors import FiredeckError, Unavailable
from client.fleet_types import ReplicaView
from engine.clock import Clock
from engine.control.reconcile import Observed, Stage
from engine.fleet.hop import Hop
from engine.fleet.reply import Broken, Unreached
from engine.fleet.report import (
    NOTHING,
    REPORT_BYTES_MAX,
    TOKEN_COUNTERS,
    UNREADABLE,
    Produced,
    Report,
    check_report,
)
from engine.fleet.vitals import Vitals
from engine.placement.port import Need, Node, Placed
from engine.telemetry.replica_figures import ReplicaFigures
from engine.telemetry.window import Rate

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.5
STARTING_POLL_S = 0.05  # somebody may be waiting for it
POLL_TIMEOUT_S = 3.0
# What a model can do is seen by asking: text, else embeddings, else relevance.
PROBES: tuple[tuple[str, dict[str, object]], ...] = (
    ("/v1/completions", {"model": "probe", "prompt": "Hello", "max_tokens": 1, "temperature": 0}),
    ("/v1/embeddings", {"model": "probe", "input": "Hello"}),
    ("/v1/rerank", {"model": "probe", "query": "Hello", "documents": ["Hello"]}),
)
PROBE_TIMEOUT_S = 120.0
SPEED_WINDOW_S = 3.0


class SentRequest:
    """One request that was sent to a replica, which has so many `characters` to read for it. `answered()` once its
    answer has begun, after `took_s`; again does no harm."""

    def __init__(self, replica: Replica, clock: Clock, characters: int) -> None:
        self._replica, self._clock, self._began_at = replica, clock, clock.monotonic()
        self._entry = replica.vitals.asked(self._began_at)
        self.took_s: float | None = None
        self._unread = characters
        replica.unread += characters

    def answered(self) -> None:
        if self.took_s is not None:
            return
        self.took_s = self._clock.monotonic() - self._began_at
        self._replica.vitals.answered(self._entry)
        self._replica.unread -= self._unread


async def as_it_is(replica: Replica) -> None:
    """Nothing is to be done before a replica is ready."""


Prepare = Callable[["Replica"], Awaitable[None]]


class Replica:
    """A handle on one replica. `watch()` keeps `stage` and `report` true until it is cancelled. What it counts goes to
    `figures`, those of its deployment."""

    def __init__(self, replica_id: str, generation: str, key: str, clock: Clock, figures: ReplicaFigures) -> None:
        now = clock.monotonic()
        self.id = replica_id
        self.generation = generation
        self.key = key
        self.stage = Stage.PENDING_SCHEDULING
        self.stage_since = now
        self.started_at = now
        self.started_wall = clock.wall()
        self.ready_at: float | None = None
        self.ready_wall: datetime | None = None
        self.placed: Placed | None = None
        self.node: Node | None = None  # where it stands, as it was when it was placed
        self.need = Need()  # what it has of that node
        self.short_since: float | None = None  # no room for it since then (monotonic)
        self.retry_at = now  # when there will be another try to place it
        self.report = Report(at=now)
        self.progress: float | None = None
        self.reason = ""
        self.wedged = False
        self.broken = False  # its engine said so itself
        self.given_up = False  # it did not become ready, and is ended for that
        self.counted = False  # its failure
        self.crashed = False  # its process is gone, by its own fault
        self.suspect = False  # it failed a request and has not answered since: route around it
        self.in_flight = 0  # requests that the gateway has here
        self.unread = 0  # characters of their prompts that it has not read yet, as far as can be told from here
        self.taken_over = False  # an earlier engine started it
        self.http: httpx.AsyncClient | None = None  # for its first request and for settings
        self.hop: Hop | None = None  # for requests and looks
        self.vitals = Vitals(now)
        self._unreadable = False  # an answer of it could not be read
        self._produced = NOTHING
        self._speed = Rate(SPEED_WINDOW_S)
        self._clock = clock
        self._figures = figures

    def enter(self, stage: Stage, reason: str = "") -> None:
        if stage == self.stage:
            return
        self.stage, self.stage_since, self.reason = stage, self._clock.monotonic(), reason
        self.progress = None
        if stage == Stage.READY and self.ready_wall is None:
            self.ready_at, self.ready_wall = self._clock.monotonic(), self._clock.wall()

    def attach(self, placed: Placed, node: Node | None) -> None:
        """The process exists: talk to it from now on."""
        self.placed, self.node, self.short_since = placed, node, None
        self.report.at = self._clock.monotonic()
        self.vitals.spare(self.report.at)
        self.hop = Hop(str(placed.socket), self.key)
        self.http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(placed.socket)),
            base_url="http://replica",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=httpx.Timeout(None, connect=5.0, pool=None),
        )

    def take_over(self, created_at: float) -> None:
        """An earlier engine started it, at this instant of the wall clock: it stays as old as it is."""
        self.taken_over = self.vitals.heard = True
        now, began = self._clock.wall(), datetime.fromtimestamp(created_at, UTC)
        self.started_wall = min(began, now)
        self.started_at -= (now - self.started_wall).total_seconds()

    async def close(self) -> None:
        if self.hop is not None:
            self.hop.close()
        if self.http is not None:
            await self.http.aclose()

    async def look(self) -> None:
        """Ask the process how it is; a silent one only grows older, and so do figures that cannot be read."""
        path = "/stats" if self.stage in {Stage.READY, Stage.DRAINING, Stage.STOPPING} else "/health"
        if self.hop is None or self.hop.closed:
            return
        try:
            async with asyncio.timeout(POLL_TIMEOUT_S):
                raw = await self.hop.get(path, REPORT_BYTES_MAX)
            body = json.loads(raw)
            if isinstance(body, dict):
                self.take(body)
        except (Unreached, Broken, TimeoutError):
            return
        except UNREADABLE as error:  # it may be of another version
            if not self._unreadable:
                log.warning("replica %s: its answer to %s cannot be read: %r", self.id, path, error)
            self._unreadable = True

    async def probe(self) -> None:
        """Make one real token: READY means that a request was answered. Raises Unavailable with the reason."""
        assert self.http is not None
        for path, body in PROBES:
            try:
                response = await self.http.post(path, json=body, timeout=PROBE_TIMEOUT_S)
            except httpx.HTTPError as error:
                raise Unavailable(f"the first request failed: {error or type(error).__name__}") from error
            if response.status_code != 400:  # 400: this model does something else
                break
        if response.status_code != 200:
            raise Unavailable(f"the first request was answered {response.status_code}: {response.text[:300]}")

    async def start_up(self, prepare: Prepare = as_it_is) -> None:
        """From process to READY, or a FiredeckError that says why not. `prepare`: the last thing before READY."""
        while True:
            await self.look()
            if self.report.body.get("status") == "ready":
                break
            if self.report.body.get("status") == "failed":
                raise Unavailable(str(self.report.body.get("reason", "the model could not be loaded")))
            self.progress = self.report.body.get("progress")
            await asyncio.sleep(STARTING_POLL_S)
        looking = asyncio.create_task(self.watch())  # it may take as long as it likes, but not fall silent
        try:
            await self.probe()
            await prepare(self)
        finally:
            looking.cancel()
        if self.stage == Stage.INITIALIZING:  # else it was told to end while it answered
            self.enter(Stage.READY)

    async def watch(self) -> None:
        """Look again and again; never ends by itself."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_INTERVAL_S)

    def take_produced(self) -> Produced:
        """Tokens since the last call."""
        produced, self._produced = self._produced, NOTHING
        return produced

    @property
    def slots(self) -> int | None:
        return self.report.body.get("slots")

    @contextlib.contextmanager
    def asked(self, characters: int = 0) -> Iterator[SentRequest]:
        """For the time of one request to it: as long as the request has no answer, the replica owes one, and has
        `characters` of its prompt to read."""
        sent = SentRequest(self, self._clock, characters)
        try:
            yield sent
        finally:
            sent.answered()

    def observed(self, now: float, *, alive: bool) -> Observed:
        """What `control.reconcile` needs to know."""
        silent_s, stalled_s, unanswered_s = self.vitals.ages(now)
        return Observed(  # by place: ten thousand of them a look, and by name each takes twice as long
            self.id, self.stage, self.generation, alive, self.in_flight, self.started_at, self.stage_since,
            silent_s, stalled_s, self.vitals.call_s, unanswered_s, self.wedged, self.short_since is not None,
            self.report.cached_tokens,
        )  # fmt: skip

    def view(self, restarts: int, *, whole: bool = True) -> ReplicaView:
        """What the dashboard shows; `whole`: with its process."""
        body = self.report.body
        device = body.get("device", {})
        return ReplicaView(
            id=self.id,
            stage=self.stage.value,
            pid=self.placed.pid if self.placed and whole else None,
            device=device.get("kind"),
            node=self.node.name if self.node else None,
            region=self.node.region if self.node else None,
            accelerator_type=self.node.accelerator_type if self.node else None,
            progress=self.progress,
            started_at=self.started_wall,
            ready_at=self.ready_wall,
            running=body.get("running"),
            waiting=body.get("waiting"),
            slots=body.get("slots"),
            kv_used_tokens=body.get("kv_used_tokens"),
            kv_capacity_tokens=body.get("kv_capacity_tokens"),
            tokens_per_second=self._speed.per_second(self._clock.monotonic()) if "counters" in body else None,
            last_progress_age_s=body.get("last_progress_age_s"),
            restarts=restarts,
            reason=self.reason,
        )

    def take(self, body: dict[str, Any]) -> None:
        now = self._clock.monotonic()
        self.vitals.take(body, now)  # first: it answered, whether or not the rest can be read
        check_report(body)
        old, self.report = self.report, Report(body, now)
        self._figures.take(self.id, body, from_birth=not self.taken_over)
        self.suspect = False
        self.broken = self.broken or body.get("status") == "failed"
        if self.stage == Stage.READY and body.get("status") in {"draining", "failed"}:
            # Somebody else told it to end, or its engine broke: no request may go there any more.
            self.enter(Stage.STOPPING, str(body.get("reason") or "it was told to end from outside"))
        # The first counters of a replica that was taken over are its whole past, not what it just did.
        if "counters" not in body or "counters" not in old.body:
            return
        prompt, generated = (max(0, self.report.count(name) - old.count(name)) for name in TOKEN_COUNTERS)
        if prompt or generated:
            self._produced = Produced(self._produced.prompt + prompt, self._produced.generated + generated)
            self._speed.add(self.report.at, generated)


def failure_text(error: BaseException) -> str:
    return error.text if isinstance(error, FiredeckError) else f"{type(error).__name__}: {error}"
