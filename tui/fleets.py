"""What the dashboard watches: one context, or several by their names, each with its source, picture and lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from textual.message import Message

from client.config import Context
from tui.core import contexts
from tui.core.config import Config
from tui.core.contexts import Standing
from tui.core.journal import Entry, known_as
from tui.core.placed import join
from tui.core.snapshot import Picture
from tui.poller import AccountPoller, Poller
from tui.sources.base import FleetSource
from tui.sources.joined import JoinedSource


class Fleets:
    """One context alone is called by an empty name, and its picture is the app's own."""

    def __init__(self, source: FleetSource, *, readonly: bool) -> None:
        self.members: dict[str, FleetSource] = source.members if isinstance(source, JoinedSource) else {"": source}
        self.pictures = {name: Picture(stale_after=one.facts.stale_after) for name, one in self.members.items()}
        self.locks = {name: readonly or one.context.prod for name, one in self.members.items()}

    @property
    def several(self) -> bool:
        return "" not in self.members

    @property
    def first(self) -> str:
        return next(iter(self.members))

    def context(self, name: str) -> Context:
        return self.members[name].context

    @property
    def known_as(self) -> dict[str, str]:
        """What the journal and the inbox call each of them."""
        return {name: known_as(one.context) for name, one in self.members.items()}

    @property
    def view_key(self) -> str:
        """What the last view is kept by."""
        found = (one.context for one in self.members.values())
        return " + ".join(f"{one.name} {one.base_url} {one.account}" for one in found)

    def whole(self, name: str, part: Picture, now: datetime) -> Picture:
        """The picture of all, after this one's has changed."""
        self.pictures[name] = part
        return contexts.whole(self.pictures, now) if self.several else part

    def standings(self, now: datetime, config: Config) -> tuple[Standing, ...]:
        """How each stands; none of one alone."""
        return tuple(self._standing(name, now, config) for name in self.members) if self.several else ()

    def _standing(self, name: str, now: datetime, config: Config) -> Standing:
        context = self.context(name)
        word, tone = contexts.standing(self.pictures[name], now)
        colour = config.tone_of(context)
        return Standing(name, word, tone, colour, context.prod, self.locks[name], context.account)

    def pollers(
        self, post: Callable[[Message], object], clock: Callable[[], datetime]
    ) -> Iterator[Poller | AccountPoller]:
        for name, source in self.members.items():
            yield Poller(source, post, clock, context=name)
            yield AccountPoller(source, post, context=name)

    def held(self, done: Sequence[Entry]) -> list[Entry]:
        """What was done in these contexts, by the names that deployments are held by here."""
        names = {known: name for name, known in self.known_as.items()}
        return [entry.at(join(names[entry.context], entry.target)) for entry in done if entry.context in names]
