"""Which replica has lately read which beginning of a prompt. Pure, in memory alone, and without a tokeniser.

    data   links         a prompt's text in blocks of 256 characters, each hashed with all before it
           PrefixIndex   of each replica of a deployment the links that it read last, within a budget of bytes
    verbs  links_of      hash a text; `scope` is what else must be equal for a cache to serve (adapter, isolation keys)
           read          a replica reads this prompt now
           known         how many of a prompt's first blocks a replica has read
           keep          forget all replicas but these
    near   `engine.gateway.prompt` makes the text of a request, `engine.fleet.balancer` asks and tells

Python's own hash of text is salted anew in each process, so that nobody outside can make two texts collide; a
collision would cost a reading, never mix two answers up. Nothing of the text is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence

BLOCK_CHARACTERS = 256
BLOCKS_MAX = 1024  # of a prompt: what follows makes no difference any more
BLOCK_TOKENS = 64  # the same of a prompt that comes as tokens
CHARACTERS_PER_TOKEN = 4
BUDGET_BYTES = 8 << 20  # of a deployment
LINK_BYTES = 192  # of one link in the index, as measured, rounded up

Links = tuple[int, ...]


def links_of(text: Sequence[Hashable], scope: Hashable, block: int = BLOCK_CHARACTERS) -> Links:
    """Of a text, or of token ids (with `block` of BLOCK_TOKENS), block by block; what is left over has no link.

    TypeError for what cannot be hashed."""
    link, links = hash(scope), []
    for start in range(0, min(len(text) // block, BLOCKS_MAX) * block, block):
        link = hash((link, text[start : start + block]))
        links.append(link)
    return tuple(links)


class PrefixIndex:
    """The links of each replica, least recently read first. Each reading touches a link before those it builds on, so
    that a link is never thrown out before one that builds on it: what is known of a prompt is always a beginning."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._links_max = budget_bytes // LINK_BYTES
        self._read: dict[str, OrderedDict[int, None]] = {}

    def known(self, replica: str, links: Links) -> int:
        """How many of the first blocks it has read."""
        read = self._read.get(replica)
        if not read or not links or links[0] not in read:
            return 0
        known, unknown = 1, len(links) + 1
        while unknown - known > 1:
            middle = (known + unknown) // 2
            if links[middle - 1] in read:
                known = middle
            else:
                unknown = middle
        return known

    def read(self, replica: str, links: Links, most: int | None = None) -> None:
        """It reads this prompt; `most`: how many blocks its cache can hold, where that is known."""
        if not links:
            return
        if replica not in self._read:
            self._read[replica] = OrderedDict()
            for other in self._read.values():
                self._trim(other, self._share)
        read = self._read[replica]
        for link in reversed(links):
            read[link] = None
            read.move_to_end(link)
        self._trim(read, self._share if most is None else min(self._share, most))

    @property
    def _share(self) -> int:
        """Of the budget, in links, that of one replica."""
        return self._links_max // len(self._read)

    @staticmethod
    def _trim(read: OrderedDict[int, None], most: int) -> None:
        while len(read) > most:
            read.popitem(last=False)

    def held(self, replica: str) -> int:
        """Blocks that are known of it."""
        return len(self._read.get(replica, ()))

    def keep(self, living: Collection[str]) -> None:
        for gone in self._read.keys() - living:
            del self._read[gone]

    def __len__(self) -> int:
        return sum(map(len, self._read.values()))
