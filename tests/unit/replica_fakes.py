"""A replica's model made of arithmetic: the next token follows from everything before it, so that any token that lies
in the wrong place shows in the text. What llama.cpp would abort on is an assertion here."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from client.errors import FiredeckError
from engine.replica.costs import CostTable
from engine.replica.hardware import Layout
from engine.replica.job import AdapterSet, AdapterUse, Delta, Event, Failed, Finished, Job, Started
from engine.replica.loaded import Loaded
from engine.replica.sampling import SamplingOptions
from engine.replica.scheduler import Scheduler
from engine.replica.speculation import SharedSpeculation, SpeculationSettings

POISON = 7  # a sequence that begins with it cannot be evaluated
SIZE = 16
FLAT = CostTable({1: 1.0, 8: 1.1}, 0.1, {32: 1.2})
WIDE = 8
A, B = ((AdapterUse(name, f"digest of {name}", 1.0),) for name in "ab")
Cell = tuple[int, AdapterSet, bool]  # a token, the adapters that it was computed under, whether in a wide call


def next_token(cells: list[Cell]) -> int:
    """What the fake model writes after `cells`: anything but 0, which ends a text, and POISON."""
    weights = (sum(len(use.name) + ord(use.name[-1]) for use in adapters) + wide for _t, adapters, wide in cells)
    token = sum((i + 3) * (cell[0] + w) for i, (cell, w) in enumerate(zip(cells, weights, strict=True)))
    token = (token + 5 * len(cells)) % (SIZE - 1) + 1
    return 1 if token == POISON else token


def reference(prompt: list[int], count: int, adapters: AdapterSet = ()) -> list[int]:
    """The `count` tokens that the fake model writes after `prompt`, worked out one by one."""
    cells: list[Cell] = [(token, adapters, len(prompt) >= WIDE) for token in prompt]
    for _ in range(count):
        cells.append((next_token(cells), adapters, False))
    return [token for token, *_how in cells[len(prompt) :]]


class FakeVocabulary:
    end_tokens = frozenset({0})
    size = SIZE

    def piece(self, token: int, *, special: bool = False) -> bytes:
        return bytes([97 + token])


class FakeModel:
    vocabulary = FakeVocabulary()
    can_reuse_prefix = True


class FakeAdapters:
    """Any adapter is there; `limit` of them fit."""

    def __init__(self, limit: int = 99) -> None:
        self.limit = limit
        self.cached: set[str] = set()

    def can_serve(self, wanted: AdapterSet, in_use: Any) -> bool:
        return len({use.digest for use in wanted} | set(in_use)) <= self.limit

    def activate(self, context: FakeContext, wanted: AdapterSet, in_use: Any) -> bool:
        assert len({use.digest for use in wanted} | set(in_use)) <= self.limit
        switched = context.adapters != wanted
        context.adapters = wanted
        return switched

    def sweep(self, in_use: Any) -> None:
        return


class FakeContext:
    """Memory as lists of tokens by sequence id, each with the adapters that it was computed under."""

    slots, length, batch, rows = 4, 64, 16, 8
    unified = False
    capacity = slots * length

    def __init__(self) -> None:
        self.held: dict[int, list[int]] = {i: [] for i in range(self.slots)}
        self.adapters: AdapterSet = ()
        self._how: dict[int, list[tuple[AdapterSet, bool]]] = {i: [] for i in range(self.slots)}
        self._saved: list[list[tuple[AdapterSet, bool]]] = []
        self.widths: list[int] = []
        self.prefilled: list[int] = []
        self._rows: list[int] = []

    def decode_step(self, sequences: Any, tokens: Any, positions: Any) -> int:
        assert list(sequences) == sorted(sequences)
        self.widths.append(len(sequences))
        if any(self.held[s][:1] == [POISON] for s in sequences):
            return -3
        if self._full(len(sequences)):
            return 1
        for sequence, token, position in zip(sequences, tokens, positions, strict=True):
            assert position == len(self.held[sequence])
            self._append(sequence, token, wide=False)
        self._rows = [self._next(s) for s in sequences]
        return 0

    def prefill(self, sequence: int, tokens: Any, start: int, *, rows: str) -> int:
        assert 0 < len(tokens) <= self.batch
        assert rows != "all" or len(tokens) <= self.rows
        assert start == len(self.held[sequence])
        if self._full(len(tokens)):
            return 1
        self.prefilled.append(len(tokens))
        self._rows = []
        for token in tokens:
            self._append(sequence, int(token), wide=len(tokens) >= WIDE)
            self._rows.append(self._next(sequence))
        if rows == "last":
            self._rows = self._rows[-1:]
        return 0

    def _append(self, sequence: int, token: int, *, wide: bool) -> None:
        del self._how[sequence][len(self.held[sequence]) :]
        self.held[sequence].append(token)
        self._how[sequence].append((self.adapters, wide))

    def _next(self, sequence: int) -> int:
        return next_token([(t, *how) for t, how in zip(self.held[sequence], self._how[sequence], strict=True)])

    def _full(self, more: int) -> bool:
        """Whether that many more cells are not there; a copy shares the cells of its source, entry by entry."""
        cells = {id(cell) for cells in self._how.values() for cell in cells}
        return self.unified and len(cells) + more > self.capacity

    def logits(self, rows: int) -> Any:
        out = np.zeros((rows, SIZE), np.float32)
        out[np.arange(rows), self._rows[:rows]] = 9
        return out

    def keep(self, sequence: int, tokens: int) -> bool:
        del self.held[sequence][tokens:]
        del self._how[sequence][tokens:]
        return True

    def copy(self, source: int, target: int) -> None:
        self.held[target] = list(self.held[source])
        self._how[target] = list(self._how[source])

    def save(self, sequence: int) -> Any:
        self._saved.append(list(self._how[sequence]))
        return np.asarray([len(self._saved) - 1, *self.held[sequence]], np.int32).view(np.uint8)

    def load(self, sequence: int, state: Any) -> bool:
        number, *held = state.view(np.int32).tolist()
        self.keep(sequence, 0)
        if self._full(len(held)):
            return False
        self.held[sequence] = held
        self._how[sequence] = [(adapters, wide) for adapters, wide in self._saved[number]]
        return True

    def synchronize(self) -> None:
        return

    def clear(self, *, wipe: bool = False) -> None:
        self.held = {i: [] for i in range(self.slots)}
        self._how = {i: [] for i in range(self.slots)}


class Drafter:
    """A draft model that never gets anywhere."""

    slots, step_ms, prefill_token_ms = 4, 0.1, 0.1

    def missing(self, slot: int, tokens: Any) -> int:
        return len(tokens)

    def catch_up(self, slot: int, tokens: Any, budget_tokens: int) -> int:
        return len(tokens)

    def propose(self, slot: int, tokens: Any, limit: int) -> list[int]:
        return []

    def forget(self, slot: int) -> None:
        return


class Sink:
    """Collects the events of one request."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.over = threading.Event()

    def push(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, (Finished, Failed)):
            self.over.set()

    @property
    def tokens(self) -> list[int]:
        return [token.identifier for event in self.events if isinstance(event, Delta) for token in event.tokens]

    @property
    def started(self) -> Started:
        return next(event for event in self.events if isinstance(event, Started))

    @property
    def error(self) -> FiredeckError | None:
        last = self.events[-1]
        return last.error if isinstance(last, Failed) else None


class Breaks(Sink):
    """Calls something on the scheduler's thread when its `at`th event comes."""

    def __init__(self, at: int, action: Any) -> None:
        super().__init__()
        self._at, self._action = at, action

    def push(self, event: Event) -> None:
        super().push(event)
        if len(self.events) == self._at:
            self._action()


def job(prompt: list[int], max_tokens: int = 5, **fields: Any) -> Any:
    """A greedy job with a sink of its own (typed loosely: tests read the sink's records)."""
    return Job(
        0, prompt, max_tokens, SamplingOptions(temperature=0), (), fields.pop("cache_key", ("",)),
        fields.pop("sink", None) or Sink(), **fields,
    )  # fmt: skip


def new_scheduler(
    context: Any = None,
    *,
    prefix_bytes: int = 1 << 20,
    adapters: Any = None,
    drafting: SpeculationSettings | None = None,
    costs: CostTable = FLAT,
    adapter_sequences: int | None = None,
    drafter: Any = None,
) -> Scheduler:
    """A scheduler on the fake model; nothing runs until `run` or `serving`."""
    loaded: Any = Loaded(
        model=FakeModel(),  # type: ignore[arg-type]
        context=context or FakeContext(),
        costs=costs,
        adapters=adapters or FakeAdapters(),
        speculation=SharedSpeculation(costs.verify, drafter),
        drafting=drafting or SpeculationSettings(),
        draft_model=drafter,
        layout=Layout(0, 0, 1, 8, WIDE),
        wide=WIDE,
        prefix_bytes=prefix_bytes,
        adapter_sequences=adapter_sequences,
    )
    return Scheduler(loaded, lambda: None)


class serving:
    """`with serving(scheduler):` its loop runs on a thread."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._thread = threading.Thread(target=scheduler.run)

    def __enter__(self) -> Scheduler:
        self._thread.start()
        return self._scheduler

    def __exit__(self, *_error: object) -> None:
        self._scheduler.stop()
        self._thread.join()


def finish(scheduler: Scheduler, jobs: list[Any]) -> list[Event]:
    """Submit each as a request of its own and wait; the last event of each."""
    for one in jobs:
        scheduler.submit([one])
    return wait(jobs)


def wait(jobs: list[Any]) -> list[Event]:
    for one in jobs:
        assert one.sink.over.wait(30)
    return [one.sink.events[-1] for one in jobs]
