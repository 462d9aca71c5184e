"""An answer on its way through guards and the response cache: held back as long as it has to be, and kept.

data   Passing    passed on as it comes, or held back whole until `release`
       Windowed   a stream that is let out while it is written, as far as no rule can be broken any more
near   `shield` puts one in the way; `judging` says which, and hears a guard's model with the first;
       `engine.control.windowed` says how far the second goes
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence

from engine.access.guards import Standing
from engine.asgi import Message, Send
from engine.control.windowed import Window
from engine.gateway import cached
from engine.gateway.answer_text import Place, places_of
from engine.gateway.exchange import Exchange
from engine.gateway.relay import Stopped

_END = b"data: [DONE]\n\n"
Keep = Callable[[bytes], None]


class Passing:
    """`send` that gives an answer's body to `keep` before its last piece is passed on: who has it whole and asks again
    finds it kept. With `hold` nothing is passed on, or kept, until `release`."""

    def __init__(self, send: Send, exchange: Exchange, keep: Keep | None, *, hold: bool) -> None:
        self._send, self._exchange, self._keep, self._hold = send, exchange, keep, hold
        self._held: list[Message] = []
        self.body = bytearray()
        self.status = 0
        exchange.held, exchange.judged = hold, not hold

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._keep is not None:
                message = {**message, "headers": [*message["headers"], (cached.HEADER, b"miss")]}
        elif self._hold or (self._keep is not None and len(self.body) <= cached.ENTRY_BYTES_MAX):
            self.body += message.get("body", b"")
        if self._hold:
            await self._hold_back(message)
            return
        if message["type"] == "http.response.body" and (not message.get("more_body") or self.body.endswith(_END)):
            self._kept()
        await self._send(message)

    async def release(self) -> None:
        """It has passed."""
        self._exchange.judged = True
        self._kept()
        await self._let_out(self._held)

    async def _hold_back(self, message: Message) -> None:
        self._held.append(message)

    async def _let_out(self, messages: Sequence[Message]) -> None:
        """The first token is there for the client only now, where none was before."""
        exchange = self._exchange
        if exchange.held and exchange.ttft_s is not None:
            exchange.ttft_s = exchange.now() - exchange.began_at
        exchange.held = False
        for message in messages:
            await self._send(message)

    def _kept(self) -> None:
        if self._keep is not None and self.body:
            self._keep(bytes(self.body))
            self.body.clear()


class Windowed(Passing):
    """Of a stream with one choice. Its texts are read one behind the other, as the whole is in the end; where one goes
    on after another has begun, nothing more is let out until `release`.

    Raises Stopped as soon as a rule is broken: what was let out before is no part of the match."""

    def __init__(self, send: Send, exchange: Exchange, keep: Keep | None, standing: Sequence[Standing]) -> None:
        super().__init__(send, exchange, keep, hold=True)
        self._windows = [(one, Window(one.rules)) for one in standing]
        self._places: list[Place] = []
        self._length = 0  # of what was read
        self._in_order = True
        self._waiting: deque[tuple[int, bytes]] = deque()  # how much of the text has to be safe for an event, and that

    async def _hold_back(self, message: Message) -> None:
        if message["type"] == "http.response.start" or self.status != 200 or not message.get("more_body"):
            self._held.append(message)
            return
        for event in message["body"].split(b"\n\n")[:-1]:
            self._read(event)
            self._waiting.append((self._length, event + b"\n\n"))
        safe = min(window.safe for _, window in self._windows) if self._in_order else 0
        if 0 < safe >= next((length for length, _ in self._waiting if length), safe + 1):
            await self._go(safe)

    async def release(self) -> None:
        self._exchange.judged = True
        self._kept()
        if self._waiting:
            await self._go(self._length)
        await self._let_out(self._held)

    async def _go(self, safe: int) -> None:
        """All that is before what is not safe yet; in front of it the status line, where that has not gone."""
        going = bytearray()
        while self._waiting and self._waiting[0][0] <= safe:
            going += self._waiting.popleft()[1]
        first = [one for one in self._held if one["type"] == "http.response.start"]
        self._held = [one for one in self._held if one not in first]
        await self._let_out([*first, {"type": "http.response.body", "body": bytes(going), "more_body": True}])

    def _read(self, event: bytes) -> None:
        data = event[5:].strip() if event.startswith(b"data:") else b""
        if data[:1] != b"{" or not self._in_order:
            return
        for place, text in self._texts(data):
            begins = place not in self._places
            if not begins and place != self._places[-1]:
                self._in_order = False
                return
            piece = f"\n{text}" if begins and self._places else text
            self._places += [place] if begins else []
            self._length += len(piece)
            for one, window in self._windows:
                if window.feed(piece):
                    raise Stopped(one)

    def _texts(self, data: bytes) -> list[tuple[Place, str]]:
        try:
            return [*places_of(json.loads(data).get("choices") or [])]
        except (ValueError, AttributeError, RecursionError):  # nobody can say what it says
            self._in_order = False
            return []
