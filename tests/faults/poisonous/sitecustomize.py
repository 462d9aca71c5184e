"""On a replica's PYTHONPATH, a request whose body has the word POISON ends the process as a crash in C would."""

from __future__ import annotations

import os
import signal
import sys

if "engine.replica" in sys.orig_argv:
    from engine.replica import server

    _read_body = server._read_body

    async def _read_body_or_die(receive: server.Receive) -> bytes:
        body = await _read_body(receive)
        if b"POISON" in body:
            os.kill(os.getpid(), signal.SIGSEGV)
        return body

    server._read_body = _read_body_or_die
