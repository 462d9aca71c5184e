"""How replicas ended, for the traces of the requests that they had: one word each, none of what they logged."""

from __future__ import annotations

import re
from collections import OrderedDict

DEATHS_MAX = 1024
# What llama.cpp, CUDA, C++ and Python say when there is no memory left.
_MEMORY = re.compile(r"out of memory|bad_alloc|MemoryError|(failed|unable) to allocate|cudaMalloc failed", re.I)


class Deaths:
    """How replicas ended, which is known a little later than that they are lost: the newest `DEATHS_MAX`."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[str, str] = OrderedDict()

    def tell(self, replica: str, last_words: str) -> None:
        """`last_words`: what it logged last. Only what they mean is kept."""
        self._kinds[replica] = "out_of_memory" if _MEMORY.search(last_words) else "died"
        if len(self._kinds) > DEATHS_MAX:
            self._kinds.popitem(last=False)

    def kind(self, replica: str) -> str | None:
        """died, out_of_memory, or None where no death is known."""
        return self._kinds.get(replica)


DEATHS = Deaths()
