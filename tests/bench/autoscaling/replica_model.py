"""One replica as a fluid: its sequences share decode rounds, its prompts share what the rounds leave for prefill.

A round is one token for each running sequence and then, while prompts wait, prompt work of `SHARED_CHUNK_MS`, more
where more of them wait than run, up to `ALONE_CHUNK_MS`. Prompts take turns at it. Both are as the scheduler of a real
replica has them (`engine.replica.planner`). Between two events rates are constant, so that an hour is thousands of
events and not millions of steps.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engine.control.route import PREFETCH
from engine.replica.costs import CostTable
from engine.replica.planner import tabulate
from engine.replica.scheduler import ALONE_CHUNK_MS, SHARED_CHUNK_MS

SLOTS = 8
# Measured with `engine.replica.costs` on one core of a 2-core Xeon that had nothing else to do: SmolLM2-135M, Q4_0.
MEASURED = CostTable({1: 3.75, 2: 9.66, 4: 12.35, 8: 19.46}, prefill_token_ms=0.828)


@dataclass(frozen=True)
class Model:
    """What every replica is. `round_s[n]`: one token for each of n sequences; `start_s`: from placing to ready."""

    round_s: tuple[float, ...]
    prefill_token_s: float
    start_s: float
    slots: int = SLOTS
    shared_s: float = SHARED_CHUNK_MS / 1000
    alone_s: float = ALONE_CHUNK_MS / 1000

    @classmethod
    def of(cls, costs: CostTable, start_s: float, slots: int = SLOTS) -> Model:
        best_ms = tabulate(costs, slots).best_ms
        return cls(tuple(ms / 1000 for ms in best_ms), costs.prefill_token_ms / 1000, start_s, slots)

    def work_s(self, prompt_tokens: float, output_tokens: float) -> float:
        """How long such a request keeps a replica whose slots are all busy."""
        return prompt_tokens * self.prefill_token_s + output_tokens * self.round_s[-1] / self.slots

    def chunk_s(self, prompts: int, running: int) -> float:
        """Prompt work of a round in which so many prompts wait and so many sequences run (`planner.plan_chunks`)."""
        return min(self.alone_s, self.shared_s * max(1.0, prompts / running)) if running else self.alone_s


def costs_of(file: Path) -> CostTable:
    """The newest table of a `costs.json` that replicas have left in a data folder. ValueError when it has none."""
    entries = json.loads(file.read_text()).values()
    if not entries:
        raise ValueError(f"{file} holds no costs")
    newest = max(entries, key=lambda entry: entry["at"])
    steps = {int(width): float(ms) for width, ms in newest["step_ms"].items()}
    return CostTable(steps, float(newest["prefill_token_ms"]))


@dataclass(slots=True)
class Request:
    """One request of a trace and what became of it; times are seconds on the trace's axis."""

    at: float
    prompt_tokens: int
    output_tokens: int
    first_token_at: float | None = None
    ended_at: float | None = None
    refused: bool = False


class Told(Protocol):
    """Who hears of a request's first token and of its end."""

    def answered(self, request: Request) -> None: ...

    def ended(self, request: Request) -> None: ...


@dataclass(slots=True, eq=False)
class Replica:
    """A replica of `model`. `serve`, `advance` and `due` are all that a simulator needs."""

    id: int
    model: Model
    started_at: float
    ready_at: float
    draining: bool = False
    version: int = 0  # of its schedule: events of an older one are void
    prompts: list[tuple[float, int, Request]] = field(default_factory=list)  # heap by `_read` at which it is read
    waiting: deque[Request] = field(default_factory=deque)  # beyond the slots, at most PREFETCH
    decoding: list[tuple[float, int, Request]] = field(default_factory=list)  # heap by `_decoded` at which it ends
    prefilled: float = 0.0  # prompt tokens, ever
    decoded_tokens: float = 0.0  # generated tokens, ever
    _now: float = 0.0
    _decoded: float = 0.0  # tokens that a sequence would have made that had run all the time
    _read: float = 0.0  # tokens that a prompt would have been read of that had had its turns all the time
    _number: int = 0

    @property
    def in_flight(self) -> int:
        return len(self.prompts) + len(self.decoding) + len(self.waiting)

    @property
    def has_room(self) -> bool:
        return self.in_flight < self.model.slots + PREFETCH

    def begin(self, now: float) -> None:
        """Its time starts when it is ready."""
        self._now = now

    def serve(self, request: Request) -> None:
        """Take one more request; the caller has advanced to now and looked for room."""
        if len(self.prompts) + len(self.decoding) >= self.model.slots:
            self.waiting.append(request)
        else:
            self._begin(request)
        self.version += 1

    def advance(self, now: float, told: Told) -> None:
        """Work until `now`, telling of first tokens and ends. No event of this replica may be skipped over."""
        elapsed = now - self._now
        prefill, decode = self._rates()
        self._now = now
        self._read += elapsed * prefill
        self._decoded += elapsed * decode
        self.prefilled += elapsed * prefill * len(self.prompts)
        self.decoded_tokens += elapsed * decode * len(self.decoding)
        while self.prompts and self.prompts[0][0] <= self._read + 1e-6:
            self._first_token(heapq.heappop(self.prompts)[2], told)
        while self.decoding and self.decoding[0][0] <= self._decoded + 1e-6:
            self._end(heapq.heappop(self.decoding)[2], told)
        self.version += 1

    def due(self) -> float | None:
        """When the next prompt or sequence is done if nothing comes in between."""
        prefill, decode = self._rates()
        instants = []
        if self.prompts:
            instants.append(max(0.0, self.prompts[0][0] - self._read) / prefill)
        if self.decoding:
            instants.append(max(0.0, self.decoding[0][0] - self._decoded) / decode)
        return self._now + min(instants) if instants else None

    def made(self, now: float) -> tuple[float, float]:
        """(prompt tokens, generated tokens after the first of each request) until `now`, no event lying between."""
        prefill, decode = self._rates()
        elapsed = max(0.0, now - self._now)
        prefilled = self.prefilled + elapsed * prefill * len(self.prompts)
        return prefilled, self.decoded_tokens + elapsed * decode * len(self.decoding)

    def _rates(self) -> tuple[float, float]:
        """(tokens a second of each prompt, tokens a second of each running sequence)."""
        running, prompts = len(self.decoding), len(self.prompts)
        chunk_s = self.model.chunk_s(prompts, running) if prompts else 0.0
        round_s = self.model.round_s[running] + chunk_s
        if round_s == 0:
            return 0.0, 0.0
        prefill = chunk_s / round_s / self.model.prefill_token_s / prompts if prompts else 0.0
        return prefill, 1 / round_s if running else 0.0

    def _begin(self, request: Request) -> None:
        self._number += 1
        heapq.heappush(self.prompts, (self._read + request.prompt_tokens, self._number, request))

    def _first_token(self, request: Request, told: Told) -> None:
        request.first_token_at = self._now
        told.answered(request)
        if request.output_tokens <= 1:
            self._end(request, told)
            return
        self._number += 1
        heapq.heappush(self.decoding, (self._decoded + request.output_tokens - 1, self._number, request))

    def _end(self, request: Request, told: Told) -> None:
        request.ended_at = self._now
        told.ended(request)
        if self.waiting:
            self._begin(self.waiting.popleft())
