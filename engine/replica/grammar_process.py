"""Grammars of clients, followed in child processes that can be killed: no grammar can hold or end the replica.

    worker threads --parse--> checker    the first look at a grammar
    scheduler -----advance--> stepper    the positions of running sequences

Both are children of one kind, started at the first grammar. An operation that takes too long costs its own request
only: the child is killed, the checker takes its place, and every other position is opened there again, from its
grammar and the tokens it has taken, when it is next used. A child that dies by itself is replaced in the same way,
and the operation tried once more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.errors import InvalidArgument, Unavailable
from engine.replica import grammar_wire as wire
from engine.replica.grammar_link import Child, Died, Late

Logits = NDArray[np.float32]

STEP_S = 0.25  # CPU time that one operation of a running sequence may take
CHECK_S = 0.5  # the same for the first look at a grammar
REPLAY_TOKEN_S = 0.001  # more for each token that is taken again
QUEUE_S = 5.0  # for the others that want their grammars looked at
MAX_CHECKED = 256
FIELD = "response_format"


@dataclass(eq=False, slots=True)
class Grammar:
    """A position in a grammar. One thread at a time; a clone is a reader of its own.

    `visible` are the control tokens whose spelling is text of the answer; the grammar allows no others.
    """

    _processes: GrammarProcesses
    gbnf: str
    visible: frozenset[int]
    field: str  # of the request, for errors
    tokens: list[int] = dataclasses.field(default_factory=list)  # taken so far
    number: int = 0  # in the child `home`
    home: Child | None = None

    def clone(self) -> Grammar:
        """Another reader at the same position; opened in the child when it is first used."""
        return Grammar(self._processes, self.gbnf, self.visible, self.field, list(self.tokens))

    def allows(self, token: int) -> bool:
        """Whether `token` may come next."""
        return self._processes.stepper.ask(self, wire.ALLOWS, token)

    def advance(self, token: int) -> bool:
        """Move past `token` if it may come next; False leaves the position where it is, as does an end token."""
        allowed = self._processes.stepper.ask(self, wire.ADVANCE, token)
        if allowed and token not in self._processes.end_tokens:
            self.tokens.append(token)
        return allowed

    def mask(self, logits: Logits) -> Logits:
        """A copy of one row of logits with -inf where the grammar forbids the token."""
        return np.where(self._processes.stepper.row(self), logits, np.float32(-np.inf))

    def close(self) -> None:
        """Free the child's state of this position."""
        home, self.home = self.home, None
        if home is not None:
            home.closed.append(self.number)

    def opening(self) -> bytes:
        return wire.opening(self.gbnf, self.tokens, sorted(self.visible))

    def __del__(self) -> None:
        self.close()


class Line:
    """The child of one purpose, replaced when it is killed or dies. Any thread."""

    def __init__(self, start: Callable[[], Child], limit_s: float, reserve: Line | None) -> None:
        self.child: Child | None = None
        self._start, self._limit_s, self._reserve = start, limit_s, reserve
        self._lock = threading.Lock()

    def ask(self, grammar: Grammar, operation: int, token: int) -> bool:
        """One request about a position."""
        with self._hold():
            return self._request(grammar, operation, token) == wire.YES

    def row(self, grammar: Grammar) -> wire.Flags:
        """Which tokens may come next, a copy."""
        with self._hold():
            self._request(grammar, wire.FILL, 0)
            assert self.child is not None
            return self.child.row().copy()

    def start(self) -> None:
        """Start the child if there is none and nobody is busy with it; it gets ready by itself."""
        if self._lock.acquire(blocking=False):
            try:
                self.child = self.child or self._start()
            finally:
                self._lock.release()

    def give_up(self) -> Child | None:
        """The child, for another line; None when there is none or it is busy."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            child, self.child = self.child, None
            if child is not None and child.process.poll() is not None:
                child.end()  # whoever killed ours may have killed it too
                return None
            return child
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            if self.child is not None:
                self.child.end()
            self.child = None

    @contextlib.contextmanager
    def _hold(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=QUEUE_S):
            raise Unavailable("too many grammars are being looked at", retry_after_s=1.0)
        try:
            yield
        finally:
            self._lock.release()

    def _request(self, grammar: Grammar, operation: int, token: int) -> int:
        """The answer; again in a new child when this one dies, which may have been somebody else's doing."""
        for last in (False, False, True):
            try:
                child = self._ready()
                if grammar.home is not child:
                    self._open(grammar, child)
                return child.request(operation, grammar.number, token, self._limit_s)
            except Late:
                self._replace()
                raise InvalidArgument("the grammar became too ambiguous to follow", field=grammar.field) from None
            except Died:
                self._replace()
                if last:
                    raise InvalidArgument("llama.cpp cannot follow the grammar", field=grammar.field) from None
        raise AssertionError

    def _open(self, grammar: Grammar, child: Child) -> None:
        """Make the child the position's home. InvalidArgument when llama.cpp cannot read the grammar."""
        number = child.open(grammar.opening(), self._limit_s + REPLAY_TOKEN_S * len(grammar.tokens))
        if number is None:
            raise InvalidArgument("llama.cpp cannot parse the grammar", field=grammar.field)
        grammar.number, grammar.home = number, child

    def _ready(self) -> Child:
        """The child once it answers. Unavailable when none can be started."""
        for last in (False, True):
            self.child = self.child or self._start()
            try:
                self.child.wait_ready()
                return self.child
            except (Died, TimeoutError):
                self.child.end()
                self.child = None
                if last:
                    break
        raise Unavailable("the process that follows grammars cannot be started", retry_after_s=1.0)

    def _replace(self) -> None:
        """Another child in place of this one: the reserve's, which is ready, or a new one."""
        if self.child is not None:
            self.child.end()
        self.child = self._reserve.give_up() if self._reserve is not None else None
        self.child = self.child or self._start()
        if self._reserve is not None:
            self._reserve.start()


class GrammarProcesses:
    """The children of one replica. `parse` may run on any thread; positions belong to the scheduler's."""

    def __init__(self, model_path: str, vocabulary_size: int, end_tokens: frozenset[int]) -> None:
        self.end_tokens = end_tokens
        self._model_path = model_path
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the replica runs
        self._file.truncate(wire.memory_bytes(vocabulary_size))
        self._memory = wire.Memory(self._file.fileno(), vocabulary_size)
        self._rows = list(range(wire.ROWS))
        self._checker = Line(self._start, CHECK_S, None)
        self.stepper = Line(self._start, STEP_S, self._checker)
        self._checked: OrderedDict[tuple[str, frozenset[int]], None] = OrderedDict()
        self._lock = threading.Lock()

    def parse(self, gbnf: str, field: str = FIELD, visible: frozenset[int] = frozenset()) -> Grammar:
        """The beginning of a grammar, tried once. InvalidArgument for one that does not parse or takes too long."""
        grammar = Grammar(self, gbnf, visible, field)
        with self._lock:
            known = (gbnf, visible) in self._checked
        if not known:
            self._check(grammar.clone())
            with self._lock:
                self._checked[gbnf, visible] = None
                if len(self._checked) > MAX_CHECKED:
                    self._checked.popitem(last=False)
        return grammar

    def pids(self) -> list[int]:
        """The children that run now, the stepper's first."""
        return [line.child.process.pid for line in (self.stepper, self._checker) if line.child is not None]

    def close(self) -> None:
        """End the children."""
        for line in (self.stepper, self._checker):
            line.close()

    def _check(self, trial: Grammar) -> None:
        self.stepper.start()  # gets ready meanwhile
        try:
            if not self._checker.row(trial).any():
                raise InvalidArgument("the grammar allows no text of this model's vocabulary", field=trial.field)
        finally:
            trial.close()

    def _start(self) -> Child:
        return Child(self._model_path, self._file.fileno(), self._memory, self._rows)
