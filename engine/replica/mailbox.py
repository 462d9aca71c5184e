"""From the scheduler's thread to the event loop: events wait in a mailbox a request, wake-ups are one a step.

`Outbox.flush` costs one `call_soon_threadsafe` however many requests got tokens; when the loop lags, tokens of one
choice pile up and leave as one chunk.
"""

from __future__ import annotations

import asyncio
from collections import deque

from engine.replica.job import Delta, Event


class Outbox:
    """One a process. `flush` is called on the scheduler's thread, after events were pushed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.unread: list[Mailbox] = []

    def flush(self) -> None:
        if self.unread:
            mailboxes, self.unread = self.unread, []
            try:
                self._loop.call_soon_threadsafe(_wake, mailboxes)
            except RuntimeError:  # the loop is closed: the process is ending and nobody reads any more
                return


class Mailbox:
    """The events of one request: `push` from the scheduler, `batch` on the event loop."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._events: deque[Event] = deque()
        self._ready = asyncio.Event()
        self._announced = False
        self._closed = False

    def push(self, event: Event) -> None:
        self._events.append(event)
        if not self._announced:
            self._announced = True
            self._outbox.unread.append(self)

    def close(self) -> None:
        """The reader went away: `batch` returns None from now on. Event loop only."""
        self._closed = True
        self._ready.set()

    def wake(self) -> None:
        # Cleared before the events are read: a push from now on announces itself again.
        self._announced = False
        self._ready.set()

    async def batch(self) -> list[Event] | None:
        """Everything that arrived since the last call (at least one event), or None once closed."""
        while not self._closed:
            events = [self._events.popleft() for _ in range(len(self._events))]
            if events:
                return coalesce(events)
            self._ready.clear()
            await self._ready.wait()
        return None


def _wake(mailboxes: list[Mailbox]) -> None:
    for mailbox in mailboxes:
        mailbox.wake()


def coalesce(events: list[Event]) -> list[Event]:
    """The same events with neighbouring deltas of one choice joined; order within a choice is kept."""
    merged: list[Event] = []
    open_delta: dict[int, int] = {}  # choice -> where its last delta stands, while nothing else of it followed
    for event in events:
        at = open_delta.get(event.index)
        if isinstance(event, Delta) and at is not None:
            before = merged[at]
            assert isinstance(before, Delta)
            merged[at] = Delta(event.index, before.text + event.text, before.tokens + event.tokens, event.last)
            continue
        if isinstance(event, Delta):
            open_delta[event.index] = len(merged)
        else:
            open_delta.pop(event.index, None)
        merged.append(event)
    return merged
