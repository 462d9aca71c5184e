"""One answer of a simulated replica in the words of the wire: bodies, chunks, and perf metrics that are true."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from client.errors import InvalidArgument
from engine.perf_headers import perf_headers
from engine.placement.port import Launch

Json = dict[str, Any]
CHARACTERS_PER_TOKEN = 4


@dataclass(slots=True)
class Times:
    """Instants of the fleet's clock, in seconds; `concurrent`: requests that were there when it came."""

    arrived: float
    concurrent: int
    admitted: float = 0.0
    prefilled: float = 0.0
    finished: float = 0.0

    def perf(self) -> Json:
        """The durations among Fireworks' perf metrics, in seconds."""
        return {
            "server-time-to-first-token": round(self.prefilled - self.arrived, 6),
            "server-processing-time": round(self.finished - self.arrived, 6),
            "prefill-queue-duration": round(self.admitted - self.arrived, 6),
            "prefill-duration": round(self.prefilled - self.admitted, 6),
            "generation-duration": round(self.finished - self.prefilled, 6),
            "num-concurrent-requests": self.concurrent,
        }

    def opening(self) -> bytes:
        """What is over when a stream begins, as `Server-Timing` (milliseconds)."""
        queue, prefill = self.admitted - self.arrived, self.prefilled - self.admitted
        return f"queue;dur={queue * 1000:.3f}, prefill;dur={prefill * 1000:.3f}".encode()


def prompt_tokens_of(asked: Json, *, chat: bool) -> int:
    """By its length alone: there is no vocabulary."""
    prompt = asked.get("messages") if chat else asked.get("prompt")
    text = prompt if isinstance(prompt, str) else json.dumps(prompt)
    return 1 + len(text) // CHARACTERS_PER_TOKEN


class Answer:
    """`created`: epoch seconds; `times` are filled in by who makes the tokens."""

    def __init__(self, asked: Json, launch: Launch, times: Times, *, chat: bool, tokens: int, created: int) -> None:
        self.tokens, self.times = tokens, times
        self._launch, self._created = launch, created
        self.prompt_tokens = prompt_tokens_of(asked, chat=chat)
        self._chat = chat
        self._finish = "stop" if most_of(asked) is None else "length"
        kind = ("chatcmpl", "chat.completion") if chat else ("cmpl", "text_completion")
        self._id, self._object = f"{kind[0]}-simulated-{secrets.token_hex(6)}", kind[1]
        self._model = str(asked.get("model", ""))
        self._tells_perf = asked.get("perf_metrics_in_response") is True

    def whole(self, text: str) -> Json:
        said: Json = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return self._ended(self._body(self._object, said | {"index": 0, "finish_reason": self._finish}))

    def chunk(self, text: str, *, last: bool = False) -> Json:
        delta = {} if last else {"role": "assistant", "content": text}
        said: Json = {"delta": delta} if self._chat else {"text": text}
        kind = "chat.completion.chunk" if self._chat else self._object
        body = self._body(kind, said | {"index": 0, "finish_reason": self._finish if last else None})
        return self._ended(body) if last else body

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Of a whole answer."""
        return perf_headers(self._perf())

    def _ended(self, body: Json) -> Json:
        return body | {"usage": self._usage()} | ({"perf_metrics": self._perf()} if self._tells_perf else {})

    def _body(self, kind: str, choice: Json) -> Json:
        return {
            "id": self._id, "object": kind, "created": self._created, "model": self._model,
            "system_fingerprint": "simulated", "choices": [choice],
        }  # fmt: skip

    def _usage(self) -> Json:
        total = self.prompt_tokens + self.tokens
        cached = {"cached_tokens": 0}
        return {
            "prompt_tokens": self.prompt_tokens, "completion_tokens": self.tokens, "total_tokens": total,
            "prompt_tokens_details": cached,
        }  # fmt: skip

    def _perf(self) -> Json:
        return {
            "prompt-tokens": self.prompt_tokens, "cached-prompt-tokens": 0, **self.times.perf(),
            "deployment": self._launch.deployment, "backend-host": self._launch.replica,
        }  # fmt: skip


def most_of(asked: dict[str, Any]) -> int | None:
    """The tokens that the request allows, None where it sets no limit."""
    most = asked.get("max_tokens")
    most = asked.get("max_completion_tokens") if most is None else most
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise InvalidArgument("max_tokens must be a whole number of 1 or more", field="max_tokens")
    return most
