"""Which replica takes the next request. Pure.

    data   Prompt      what routing may know of a request: hashes of its text, its length, its session
           Candidate   a ready replica as it is now: what it has to do, what it has read of this prompt
           Choice      the one that was taken, among what, and by which rule
    verbs  choose      the one with the least expected time to the first token
           home        where a session belongs, by rendezvous hashing: who comes or goes moves its own share and no more
    near   `engine.fleet.balancer` brings the numbers, `engine.fleet.lobby` gives the places, `engine.telemetry.explain`
           tells why

The expected time is what the prompt and those ahead of it take to be read, less what is cached there; and what the
requests there cost besides, by what one takes on the mean: the wait for a slot where none is free, and a quarter of a
request where all slots are busy, falling with the square, because what is computed in one batch slows each other down.
So a cached prefix is worth the time that reading it would take and no more: one that all share makes no hot spot. A
session's home counts as if it held the whole prompt and had nothing running: it is left when it is full, or behind with
reading. Rendezvous hashing: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from engine.control.prefix import CHARACTERS_PER_TOKEN, Links

PREFETCH = 1  # requests beyond its slots that a replica may hold, so that a freed slot never waits for the gateway
CROWD = 0.25  # of what a request takes: what it costs to go where all slots are busy
REQUEST_S = 1.0  # what a request takes, before one has ended
CHARACTER_S = 0.0005 / CHARACTERS_PER_TOKEN  # what reading takes, of replicas that do not say

Rule = Literal["only", "affinity", "prefix", "load"]
RULES: tuple[Rule, ...] = ("only", "affinity", "prefix", "load")


@dataclass(slots=True, eq=False)
class Prompt:
    """`session` is a digest of what the client names its session by, "" for none. `taken` is the last choice made."""

    links: Links = ()
    characters: int = 0
    session: str = ""
    taken: Choice | None = None


class Costs(NamedTuple):
    """What a request takes on the mean, and reading a character: of all replicas alike, because what each measures of
    itself differs by chance, and the one that looks fastest would get everything while there is little to do."""

    request_s: float = REQUEST_S
    character_s: float = CHARACTER_S


USUAL = Costs()


class Candidate(NamedTuple):
    """A ready replica: `in_flight` requests are there, `slots` can run at once. In characters: `cached` of this very
    prompt, `ahead` of others that it has been given and not read yet, `held` in all; `full`: the share of its cache
    that is in use, so that what it reads takes the place of something."""

    id: str
    in_flight: int
    slots: int
    cached: int = 0
    ahead: int = 0
    held: int = 0
    full: float = 0.0

    @property
    def room(self) -> int:
        return self.slots + PREFETCH - self.in_flight

    def expected_s(self, prompt: Prompt, costs: Costs, *, at_home: bool = False) -> float:
        """To the first token of a request that went there now."""
        busy, queued = self.in_flight / self.slots, max(0, self.in_flight + 1 - self.slots)
        crowd = CROWD * (busy * busy - at_home)
        unread = 0 if at_home else (prompt.characters - self.cached) * (1 + self.full)
        return costs.request_s * (crowd + queued / self.slots) + (self.ahead + unread) * costs.character_s


class Choice(NamedTuple):
    """Which replica was taken, and among what: `ready` replicas, of which `with_room`, of which `fresh` had not failed
    this very request. `in_flight` and `slots` are the taken one's, before the request; `cached` of the prompt's
    `characters` it had read before. `elsewhere`: one that was passed by had read more, or was the session's home.
    `ejected` replicas were not asked at all, because requests failed there."""

    id: str
    in_flight: int
    slots: int
    ready: int
    with_room: int
    fresh: int
    rule: Rule = "load"
    cached: int = 0
    characters: int = 0
    expected_s: float = 0.0
    elsewhere: Literal["", "home", "prefix"] = ""
    ejected: int = 0

    @property
    def unread(self) -> int:
        return self.characters - self.cached

    @property
    def why(self) -> str:
        """The end of: it was taken because it was ..."""
        passed = f"; {_counted(self.ejected, 'replica')} that failed other requests got none" if self.ejected else ""
        return self._rule() + passed

    def _rule(self) -> str:
        if self.ready == 1:
            return "the only replica that took requests"
        if self.with_room == 1:
            return f"the only one of {self.ready} replicas with room"
        if self.fresh == 1 < self.with_room:
            return "the only one with room that had not failed this very request"
        asked = f"{_counted(self.in_flight, 'request')} on {_counted(self.slots, 'slot')}"
        if self.rule == "affinity":
            return f"the home of its session among {self.ready} replicas ({asked})"
        if self.rule == "prefix":
            return f"the one that had read the first {self.cached:,} of its {self.characters:,} characters ({asked})"
        missed = {
            "": "", "home": ", for the home of its session had too much to do",
            "prefix": ", for one that had read more of its prompt had too much to do",
        }[self.elsewhere]  # fmt: skip
        return f"the least loaded for its size of {self.ready} replicas ({asked}){missed}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def home(session: str, ids: Iterable[str]) -> str | None:
    """Of these replicas the one where the session belongs; of fewer the same one, as long as it is among them."""
    return max(ids, key=lambda one: (_weight(session, one), one), default=None)


def _weight(session: str, replica: str) -> bytes:
    return hashlib.blake2b(f"{session}\0{replica}".encode(), digest_size=8).digest()


def choose(
    candidates: Sequence[Candidate],
    avoid: frozenset[str] = frozenset(),
    prompt: Prompt | None = None,
    costs: Costs = USUAL,
    ejected: int = 0,
) -> Choice | None:
    """The replica with the least expected time, or None when all are full.

    Those in `avoid` (they have failed this very request) are taken only when there is no other. Among equals the one
    that has read least is taken, so that the memory of all is used.
    """
    with_room = [c for c in candidates if c.room > 0]
    fresh = [c for c in with_room if c.id not in avoid]
    eligible = fresh or with_room
    if not eligible:
        return None
    asked = prompt or Prompt()
    at_home = home(asked.session, [c.id for c in eligible]) if asked.session else None

    def rank(c: Candidate) -> tuple[float, float, int, str]:
        return c.expected_s(asked, costs, at_home=c.id == at_home), c.in_flight / c.slots, c.held, c.id

    taken = min(eligible, key=rank)
    cached = [c.cached for c in eligible]
    most, least = max(cached), min(cached)
    elsewhere: Literal["", "home", "prefix"] = ""
    rule: Rule = "load"
    if len(eligible) == 1:
        rule = "only"
    elif taken.id == at_home:
        rule = "affinity"
    elif taken.cached == most > least:
        rule = "prefix"
    elif at_home is not None:
        elsewhere = "home"
    elif taken.cached < most:
        elsewhere = "prefix"
    return Choice(
        taken.id, taken.in_flight, taken.slots, len(candidates), len(with_room), len(fresh), rule, taken.cached,
        asked.characters, taken.expected_s(asked, costs), elsewhere, ejected,
    )  # fmt: skip
