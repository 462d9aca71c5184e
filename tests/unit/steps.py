"""What a piece of work costs, counted and not timed: of the same work it is the same each time, on any machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps_of(work: Callable[[], object]) -> int:
    """How many steps the interpreter takes for it."""
    steps = 0

    def tracing(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return tracing

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()  # what finalizers of earlier garbage do is not its work
    sys.settrace(tracing)
    try:
        work()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return steps
