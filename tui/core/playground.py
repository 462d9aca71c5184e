"""The playground as data: what is asked of whom, an answer as it grows, and what is told of it. Pure.

Seat    one side: a model, the conversation so far, whether drafts are allowed
Answer  grows with every chunk of the stream; its instants are the caller's
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tui.core import units
from tui.core.placed import short

if TYPE_CHECKING:
    from client.addon_types import DeployedModel
    from client.fleet_types import DeploymentStatus

MOST_TOKENS = 512
SHOWN = 20  # of the conversation's last messages


@dataclass(frozen=True, slots=True)
class Choice:
    """Something to ask: a deployment, or an adapter on one. `model` is what a request names."""

    model: str
    label: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` so far. `tokens` is a count of pieces until the server has said how many there were. None is not told."""

    asked_at: datetime
    first_at: datetime | None = None
    last_at: datetime | None = None
    text: str = ""
    pieces: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    tokens: int | None = None
    server_ttft_s: float | None = None
    accepted: int | None = None
    acceptance: float | None = None
    finish: str = ""
    error: str = ""
    done: bool = False

    @property
    def ttft_ms(self) -> float | None:
        """From here: the network and the queue included."""
        return None if self.first_at is None else (self.first_at - self.asked_at) / timedelta(milliseconds=1)

    @property
    def per_second(self) -> float | None:
        """Tokens a second after the first one; None while that cannot be told."""
        count = self.pieces if self.tokens is None else self.tokens
        if self.first_at is None or self.last_at is None or count < 2 or self.last_at <= self.first_at:
            return None
        return (count - 1) / (self.last_at - self.first_at).total_seconds()

    def grown(self, chunk: Mapping[str, Any], now: datetime) -> Answer:
        """After a chunk of a chat's stream."""
        said, finish = _said(chunk)
        grown = replace(self, finish=finish or self.finish, **_usage(chunk), **_perf(chunk))
        if not said:
            return grown
        first = self.first_at or now
        return replace(grown, text=self.text + said, pieces=self.pieces + 1, first_at=first, last_at=now)

    def failed(self, why: str) -> Answer:
        return replace(self, error=why, done=True)

    def ended(self) -> Answer:
        return replace(self, done=True)


def _said(chunk: Mapping[str, Any]) -> tuple[str, str]:
    """Text and finish reason of a chunk's first choice; reasoning is text too."""
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        text = (delta.get("reasoning_content") or "") + (delta.get("content") or "")
        return text, choice.get("finish_reason") or ""
    return "", ""


def _usage(chunk: Mapping[str, Any]) -> dict[str, Any]:
    usage = chunk.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    known = {
        "prompt_tokens": usage.get("prompt_tokens"), "tokens": usage.get("completion_tokens"), "cached_tokens": cached,
    }  # fmt: skip
    return {name: value for name, value in known.items() if isinstance(value, int)}


def _perf(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """Fireworks' perf metrics, which come with the last chunk."""
    perf = chunk.get("perf_metrics") or {}
    known = {
        "server_ttft_s": perf.get("server-time-to-first-token"),
        "accepted": perf.get("speculation-generated-tokens"), "acceptance": perf.get("speculation-acceptance"),
    }  # fmt: skip
    return {name: value for name, value in known.items() if isinstance(value, int | float)}


def figures(answer: Answer) -> str:
    """One line: what was measured here, and what the server told besides."""
    parts = [f"TTFT {units.milliseconds(answer.ttft_ms)}"]
    if answer.server_ttft_s is not None:
        parts[0] += f" (server {units.milliseconds(answer.server_ttft_s * 1000)})"
    parts.append(f"{units.rate(answer.per_second)} tok/s")
    parts.append(f"{answer.tokens} tokens" if answer.tokens is not None else f"~{answer.pieces} tokens")
    if answer.prompt_tokens is not None:
        parts.append(f"cached {units.count(answer.cached_tokens)} of {answer.prompt_tokens}")
    if answer.accepted is not None:
        parts.append(f"drafts accepted {answer.accepted} ({units.percent(answer.acceptance)})")
    elif answer.done and not answer.error:
        parts.append("no drafts")
    if answer.finish and answer.finish != "stop":
        parts.append(f"ended: {answer.finish}")
    return "  ".join(parts)


@dataclass(frozen=True, slots=True)
class Seat:
    """One side. `said` is the conversation that is over; `asked` and `answer` what goes on or was last."""

    choice: Choice
    drafts: bool = True
    said: tuple[tuple[str, str], ...] = ()
    asked: str = ""
    answer: Answer | None = None

    @property
    def title(self) -> str:
        return self.choice.label + ("" if self.drafts else ", no drafts")

    @property
    def deployment(self) -> str:
        """Whose replicas answer."""
        return self.choice.model.rpartition("#")[2]

    @property
    def busy(self) -> bool:
        return self.answer is not None and not self.answer.done

    def begun(self, prompt: str, now: datetime) -> Seat:
        """After a new prompt; an answer that failed is not part of the conversation."""
        return replace(self, said=self.settled(), asked=prompt, answer=Answer(now))

    def settled(self) -> tuple[tuple[str, str], ...]:
        if self.answer is None or self.answer.error or not self.answer.text:
            return self.said
        return (*self.said, ("user", self.asked), ("assistant", self.answer.text))

    def body(self) -> dict[str, Any]:
        """The request, as for OpenAI's clients; drafts are switched off where they are not wanted."""
        talk = (*self.said, ("user", self.asked))
        return {
            "model": self.choice.model, "max_tokens": MOST_TOKENS, "perf_metrics_in_response": True,
            "messages": [{"role": role, "content": text} for role, text in talk],
        } | ({} if self.drafts else {"disable_speculation": True})  # fmt: skip

    def lines(self) -> tuple[tuple[str, str], ...]:
        """(who, text) of what is shown, the newest last."""
        now = (("user", self.asked), ("assistant", self.answer.text)) if self.answer is not None else ()
        return (*self.said, *now)[-SHOWN:]


def choices(statuses: Iterable[DeploymentStatus], loaded: Iterable[DeployedModel]) -> tuple[Choice, ...]:
    """Every deployment that is not deleted or failed, then the adapters that are loaded on one."""
    live = [status.deployment for status in statuses if status.deployment.state not in ("DELETED", "FAILED")]
    bases = {one.name: one.base_model for one in live}
    found = [Choice(one.model_string, short(one.name)) for one in live]
    for one in loaded:
        place = one.deployment or ""
        if place in bases and one.model != bases[place] and one.state == "DEPLOYED":
            label = f"{(one.model or '').rpartition('/')[2]} on {short(place)}"
            found.append(Choice(f"{one.model}#{place}", label))
    return tuple(found)


def in_turn(seats: Iterable[Seat]) -> bool:
    """Whether two sides have to be asked one after the other: on the same replicas each would slow the other."""
    found = [seat.deployment for seat in seats]
    return len(found) != len(set(found))
