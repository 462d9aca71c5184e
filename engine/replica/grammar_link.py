"""One child process that follows grammars, and the replica's end of the way to it: requests, answers, time used.

What the child does is in `grammar_child`, what is sent in `grammar_wire`.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import sys
from collections import deque

import psutil

from engine.replica import grammar_wire as wire

PATIENCE = 40  # times as much wall time as a request may take of the CPU's, for machines with more to do than cores
START_S = 60.0


class Late(Exception):
    """The child took too long over one request."""


class Died(Exception):
    """The child is gone."""


class Child:
    """One child process and the way to it. One thread at a time, but for `closed`."""

    def __init__(self, model_path: str, memory_file: int, memory: wire.Memory, rows: list[int]) -> None:
        """`rows` are the free rows of the memory; the child has one of them until its end."""
        self.closed: deque[int] = deque()  # positions to free; filled by any thread, told with the next request
        self._numbers = itertools.count(1)
        self._memory, self._rows = memory, rows
        self._row = rows.pop()
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, "-m", "engine.replica.grammar_child"]
        arguments = [model_path, str(theirs.fileno()), str(memory_file), str(self._row)]
        with theirs:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the last line of ours is the reason why a replica ended
                pass_fds=(theirs.fileno(), memory_file),
            )
        self._ready = False

    def wait_ready(self) -> None:
        """Wait until the vocabulary is loaded. Raises Died, or TimeoutError past START_S."""
        if not self._ready:
            self._channel.settimeout(START_S)
            self._ready = self._receive() == wire.READY

    def open(self, opening: bytes, limit_s: float) -> int | None:
        """The number of a new position (`opening`: wire.opening); None when llama.cpp cannot read the grammar."""
        number = next(self._numbers)
        return number if self.request(wire.OPEN, number, 0, limit_s, opening) == wire.YES else None

    def request(self, operation: int, number: int, token: int, limit_s: float, body: bytes = b"") -> int:
        """One request and its answer. Raises Late or Died."""
        while self.closed:
            self._send(wire.HEADER.pack(wire.CLOSE, self.closed.popleft(), 0, 0))
        self._channel.settimeout(limit_s)
        self._send(wire.HEADER.pack(operation, number, token, len(body)) + body)
        return self._answer(limit_s)

    def row(self) -> wire.Flags:
        """The flags of the last FILL, to be copied before the next request."""
        row: wire.Flags = self._memory.rows[self._row]
        return row

    def end(self) -> None:
        """Kill and reap."""
        self._channel.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._rows.append(self._row)

    def _answer(self, limit_s: float) -> int:
        """A child that got too little of a busy machine's time is given more, up to PATIENCE times the limit."""
        for _ in range(PATIENCE):
            with contextlib.suppress(TimeoutError):
                return self._receive()
            if self._used_s() > limit_s * 0.9:
                break
        raise Late

    def _used_s(self) -> float:
        """CPU seconds of the child since its request began."""
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            raise Died from None
        return float(times.user + times.system - self._memory.clocks[self._row])

    def _send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except TimeoutError:
            raise Late from None
        except OSError:
            raise Died from None

    def _receive(self) -> int:
        try:
            answer = self._channel.recv(1)
        except TimeoutError:
            raise
        except OSError:
            raise Died from None
        if not answer:
            raise Died
        return answer[0]
