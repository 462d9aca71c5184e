"""An answer on its way to a client, which may have to wait, or to be kept.

data   Passing    `send` for one answer
near   `shield` puts it in the way; `judging` hears a guard's model with it
"""

from __future__ import annotations

from collections.abc import Callable

from engine.asgi import Message, Send
from engine.gateway import cached
from engine.gateway.exchange import Exchange

_END = b"data: [DONE]\n\n"


class Passing:
    """`send` that gives an answer's body to `keep` before its last piece is passed on: who has it whole and asks again
    finds it kept. With `hold` nothing is passed on, or kept, until `release`."""

    def __init__(self, send: Send, exchange: Exchange, keep: Callable[[bytes], None] | None, *, hold: bool) -> None:
        self._send, self._exchange, self._keep, self._hold = send, exchange, keep, hold
        self._held: list[Message] = []
        self.body = bytearray()
        self.status = 0
        exchange.held = hold

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._keep is not None:
                message = {**message, "headers": [*message["headers"], (cached.HEADER, b"miss")]}
        elif self._hold or (self._keep is not None and len(self.body) <= cached.ENTRY_BYTES_MAX):
            self.body += message.get("body", b"")
        if self._hold:
            self._held.append(message)
            return
        if message["type"] == "http.response.body" and (not message.get("more_body") or self.body.endswith(_END)):
            self._kept()
        await self._send(message)

    async def release(self) -> None:
        """It has passed. The first token is there for the client only now."""
        exchange = self._exchange
        exchange.held = False
        if exchange.ttft_s is not None:
            exchange.ttft_s = exchange.now() - exchange.began_at
        self._kept()
        for message in self._held:
            await self._send(message)

    def _kept(self) -> None:
        if self._keep is not None and self.body:
            self._keep(bytes(self.body))
            self.body.clear()
