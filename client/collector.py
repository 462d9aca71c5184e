"""Python's collector of cycles, in a process that must not stand still.

Each full collection held up every stream of an engine for 80 ms with what is there at its start, for 70 ms more with
1,000 streams, and the dashboard of 5,000 deployments for 285 ms.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

FULL_EVERY = 50  # collections of the younger: some 2,000 requests
YOUNGER = 700, 10  # Python's own
AT_FIRST = 50_000  # objects more than went


def spare(*, look_once: bool = True, full_every: int = FULL_EVERY) -> None:
    """Take what there is by now out of what is looked through, and look through all else more rarely. What is there at
    the start goes by its count of references alone, where it goes at all. `look_once`: for what could go before."""
    if look_once:
        gc.collect()
    gc.freeze()
    gc.set_threshold(*YOUNGER, full_every)


@contextmanager
def paused() -> Iterator[None]:
    """While modules are imported: what they make stays, and to look through it again and again, then or later, takes
    more than a tenth of the time that a command or the dashboard needs to start. So does what is read first, the page
    of a list or the picture of a fleet: until `spare` it is looked for less often."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(AT_FIRST)
        gc.enable()
