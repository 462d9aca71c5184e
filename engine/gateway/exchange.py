"""One request of the inference API on its way: what was asked, what was sent back, what came of it.

    data   ParsedRequest  what `routes` has read of it
           Exchange       made by `routes`, filled by whoever answers
    verbs  sent_headers   those that go to a replica with it; time_left: of what its client gives it
    near   `forward` and `relay` answer it; `admit`, `policy` and `routes` read what came of it

Whose request it is, its key says: what a client says of that goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from client.errors import InvalidArgument
from engine.asgi import Scope
from engine.control.route import Prompt
from engine.gateway.prompt import ISOLATION_HEADER
from engine.gateway.sse import Journal, Sent
from engine.keys import Principal
from engine.telemetry.meter import Usage

GENERATES = frozenset({"/v1/chat/completions", "/v1/completions"})  # paths whose answers are texts, perhaps streams
POOLS = frozenset({"/v1/embeddings", "/v1/rerank"})  # whose answers are numbers
COMPUTED = GENERATES | POOLS  # all others are answered without the model
TIME_LEFT_MIN_S = 0.001  # the least that a replica takes as a timeout
_TENANT_HEADER = "x-firedeck-tenant"  # to the replica: whose fair share a request counts against
ADDON_HEADER = "x-firedeck-addon"  # to the replica: the adapter that the request's model string stands for
MOST_TOKENS_HEADER = "x-firedeck-max-tokens"  # to the replica: what an answer may have, where a limit leaves less
TIMEOUT_HEADER = "x-request-timeout"  # how many seconds the client gives its request
_SENT_HEADERS = (ISOLATION_HEADER, TIMEOUT_HEADER)  # of the client's, to the replica


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """`addon`: the adapter that its model string stands for."""

    caller: Principal
    fields: dict[str, Any]
    addon: str | None
    scope: Scope


@dataclass(slots=True)
class Exchange:
    """One request on its way: what was asked, what was sent back, what came of it. Instants are monotonic seconds."""

    path: str
    body: bytes
    stream: bool
    request_id: str
    began_at: float
    now: Callable[[], float]
    sent_headers: dict[str, str]
    answering: bool = False  # the status line has been sent
    ttft_s: float | None = None
    status: int = 500
    usage: Usage = field(default_factory=Usage)  # as the replica told it, at the end
    sent: Sent = field(default_factory=Sent)
    journal: Journal = field(default_factory=Journal)
    generation: str = ""  # of the replicas that can go on with what was sent
    lost: bool = False  # a replica died under it, or seemed to
    prompt: Prompt = field(default_factory=Prompt)  # what routing may know of it
    held: bool = False  # what replicas answered waits for a guard, and the client has seen nothing of it
    judged: bool = True  # no guard can end it any more
    cached: bool = False  # it was answered without a replica
    garbled: bool = False  # the last one gave something that is no answer
    whole: bool = False  # its last token and its usage are here, and about to be sent
    broken: bool = False  # it was ended by an error event

    @property
    def over(self) -> bool:
        """Something was sent, and nobody could go on after it."""
        return self.answering and not self.journal.usable

    @property
    def ended(self) -> bool:
        """All of it is said, well or badly: that its client is gone then is no news."""
        return self.broken or (self.whole and self.judged)

    @property
    def used(self) -> Usage:
        """What it is charged: what the replica says at its end, else what the client was sent."""
        return self.sent.used(self.usage)

    @property
    def charged(self) -> Usage:
        """What of it is billed: what a cache answered, or a guard holds back, nobody was sent."""
        return Usage() if self.cached or self.held else self.used

    @property
    def shortened(self) -> bool:
        """Its answer may be shorter than one to an equal request."""
        return MOST_TOKENS_HEADER in self.sent_headers

    def shorten(self, most_tokens: int | None) -> None:
        """No answer to it is to have more tokens than these; None for no bound but its own."""
        if most_tokens is not None:
            self.sent_headers[MOST_TOKENS_HEADER] = str(most_tokens)

    def token_seen(self) -> None:
        if self.ttft_s is None:
            self.ttft_s = self.now() - self.began_at


def sent_headers(headers: dict[str, str], caller: Principal) -> dict[str, str]:
    """Those of the client's headers that a replica must see, and whose request it is: the key says that, never the
    client. InvalidArgument for what HTTP cannot carry on."""
    sent = {name: headers[name] for name in _SENT_HEADERS if name in headers}
    for name, value in sent.items():
        if not value.isascii():
            raise InvalidArgument(f"the header {name} must be ASCII", field=name)
    return sent | {_TENANT_HEADER: f"{caller.account}/{caller.key_id}"}


def time_left(exchange: Exchange) -> float | None:
    """Seconds that are left of what the client gives its request; None when it gives no number above 0.

    A value that is no such number goes on as it is: the replica says what is wrong with it.
    """
    try:
        seconds = float(exchange.sent_headers.get(TIMEOUT_HEADER, ""))
    except ValueError:
        return None
    return max(TIME_LEFT_MIN_S, seconds - (exchange.now() - exchange.began_at)) if seconds > 0 else None
