"""On a replica's PYTHONPATH: requests whose body has one of these words do what bugs have done.

POISON ends the process, LATER does so as soon as its client has left (the log says when it is there), MIDWAY at the
30th token of an answer, WEDGE hangs the thread that decodes, VANISH is lost before it gets there, FLOOD writes 300 MB
into the log, GREEDY takes memory until there is no more. A replica of a deployment called `never-ready` never answers,
one of `stuck-loader` never goes on to read its model; an engine gives up on them after FIREDECK_TEST_START_TIMEOUT_S
and FIREDECK_TEST_LOAD_STALLED_AFTER_S seconds, and on one that makes no token after FIREDECK_TEST_STALLED_AFTER_S,
where those are set.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time

if "serve" in sys.orig_argv:
    from engine.control import reconcile

    for name in ("START_TIMEOUT_S", "LOAD_STALLED_AFTER_S", "STALLED_AFTER_S"):
        if f"FIREDECK_TEST_{name}" in os.environ:
            setattr(reconcile, name, float(os.environ[f"FIREDECK_TEST_{name}"]))

if "accounts/local/deployments/never-ready" in sys.orig_argv:
    time.sleep(3600)

if "accounts/local/deployments/stuck-loader" in sys.orig_argv:
    from engine.replica import llama

    llama.start_backend = lambda: time.sleep(3600)

if "engine.replica" in sys.orig_argv:
    from engine.replica import server
    from engine.replica.sequence import Sequence
    from engine.replica.stepper import Stepper

    FOREVER_S = 3600.0
    HOARD_BYTES = 8 << 20
    _read_body, _prefill = server._read_body, Stepper.prefill
    _take, MIDWAY = Sequence.take, 30
    _hanging = _crashing = False

    def _flood() -> None:
        line = b"x" * 99_999 + b"\n"
        for _ in range(3000):  # at most 100 MB/s
            with contextlib.suppress(OSError):
                os.write(2, line)
            time.sleep(0.001)
        while True:  # the log may be as long as any file of a replica may be
            with contextlib.suppress(OSError):
                os.write(2, b"the flood is over\n")
                return
            time.sleep(0.01)

    async def _read_body_or_worse(receive: server.Receive, more: int = 0) -> bytes:
        global _hanging, _crashing
        body = await _read_body(receive, more)
        if b"POISON" in body:
            os.kill(os.getpid(), signal.SIGSEGV)
        if b"LATER" in body:
            os.write(2, b"LATER is here\n")
            while (await receive())["type"] != "http.disconnect":
                pass
            os.kill(os.getpid(), signal.SIGSEGV)
        if b"VANISH" in body:
            await asyncio.sleep(FOREVER_S)
        if b"FLOOD" in body:
            threading.Thread(target=_flood, daemon=True).start()
        if b"GREEDY" in body:
            hoard = []
            while True:
                hoard.append(bytearray(HOARD_BYTES))
        _hanging = _hanging or b"WEDGE" in body
        _crashing = _crashing or b"MIDWAY" in body
        return body

    def _prefill_or_hang(self: Stepper, *arguments: object) -> object:
        if _hanging:
            time.sleep(FOREVER_S)
        return _prefill(self, *arguments)

    def _take_or_crash(self: Sequence, *arguments: object) -> object:
        if _crashing and self.generated >= MIDWAY:
            os.kill(os.getpid(), signal.SIGSEGV)
        return _take(self, *arguments)

    Sequence.take = _take_or_crash
    server._read_body = _read_body_or_worse
    Stepper.prefill = _prefill_or_hang
