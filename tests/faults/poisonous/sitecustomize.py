"""On a replica's PYTHONPATH: requests whose body has one of four words do what bugs in C have done.

POISON ends the process, LATER does so a second after it came, WEDGE hangs the thread that decodes, VANISH is lost
before it gets there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time

if "engine.replica" in sys.orig_argv:
    from engine.replica import server
    from engine.replica.stepper import Stepper

    FOREVER_S, LATER_S = 3600.0, 1.0
    _read_body, _prefill = server._read_body, Stepper.prefill
    _hanging = False

    async def _read_body_or_worse(receive: server.Receive) -> bytes:
        global _hanging
        body = await _read_body(receive)
        if b"POISON" in body:
            os.kill(os.getpid(), signal.SIGSEGV)
        if b"LATER" in body:
            threading.Timer(LATER_S, os.kill, (os.getpid(), signal.SIGSEGV)).start()
            await asyncio.sleep(FOREVER_S)
        if b"VANISH" in body:
            await asyncio.sleep(FOREVER_S)
        _hanging = _hanging or b"WEDGE" in body
        return body

    def _prefill_or_hang(self: Stepper, *arguments: object) -> object:
        if _hanging:
            time.sleep(FOREVER_S)
        return _prefill(self, *arguments)

    server._read_body = _read_body_or_worse
    Stepper.prefill = _prefill_or_hang
