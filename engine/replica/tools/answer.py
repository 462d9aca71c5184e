"""One choice's text, read as it arrives, in the words of the wire: content, reasoning_content, tool_calls.

Source: https://platform.openai.com/docs/api-reference/chat/object and .../chat-streaming. Within one chunk a call has
one entry: clients merge entries by their index from chunk to chunk only.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from engine.replica.tools.calls import CallParser
from engine.replica.tools.family import Family
from engine.replica.tools.harmony import ChannelReader
from engine.replica.tools.parts import Arguments, CallOpened, Content, Part, Reasoning
from engine.replica.tools.reasoning import ReasoningSplitter

Json = dict[str, Any]


class Reader(Protocol):
    """Text in any cut -> parts."""

    def push(self, text: str) -> list[Part]: ...
    def finish(self, *, cut: bool = False) -> list[Part]: ...


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """How the answers of one request are to be read.

    `names`: the functions that may be called (none: no text is a call). `single`: no more than one call.
    `inside`: the prompt has opened the reasoning. `dropped`: markers that are control tokens of the model.
    `legacy`: the request spoke of functions, and so shall the answer. `schemas`: of the functions' parameters.
    """

    family: Family
    names: frozenset[str] = frozenset()
    single: bool = False
    inside: bool = False
    dropped: tuple[str, ...] = ()
    legacy: bool = False
    schemas: Mapping[str, Json] | None = None

    def readers(self) -> list[Reader]:
        """What the text goes through, first to last: each reads the content that the one before it leaves."""
        if self.family.channels:
            return [ChannelReader(self.names, single=self.single)]
        chain: list[Reader] = []
        if self.family.think is not None:
            chain.append(ReasoningSplitter(*self.family.think, inside=self.inside))
        if self.names or self.dropped:
            # Without functions no text is a call, but markers may still have to go.
            family = self.family if self.names else replace(self.family, opening="", noise=(), bare=False)
            chain.append(
                CallParser(family, self.names, single=self.single, dropped=self.dropped, schemas=self.schemas or {})
            )
        return chain


@dataclass(slots=True)
class Spoken:
    """What became certain at once: text, and by index the new pieces of calls (id and name on a call's first)."""

    content: str = ""
    reasoning: str = ""
    calls: dict[int, Json] = field(default_factory=dict)

    def delta(self, *, legacy: bool = False) -> Json:
        """The `delta` of a stream chunk; {} when there is nothing to say."""
        out: Json = {}
        if self.reasoning:
            out["reasoning_content"] = self.reasoning
        if self.content:
            out["content"] = self.content
        if self.calls and legacy:
            out["function_call"] = self.calls[0]["function"]
        elif self.calls:
            out["tool_calls"] = [{"index": index, **piece} for index, piece in self.calls.items()]
        return out


class Answer:
    """One choice. Text goes in with `push`, the end with `finish`; each returns what became certain."""

    def __init__(self, plan: AnswerPlan) -> None:
        self._readers, self._legacy = plan.readers(), plan.legacy
        self.content = ""
        self.reasoning = ""
        self.calls: list[Json] = []

    def push(self, text: str) -> Spoken:
        return self._spoken(self._through([Content(text)] if text else [], 0))

    def finish(self, *, cut: bool = False) -> Spoken:
        """`cut`: a limit has ended the text, not the model; what was going to be a call is then no content."""
        parts: list[Part] = []
        for place, reader in enumerate(self._readers):
            parts += self._through(reader.finish(cut=cut), place + 1)
        return self._spoken(parts)

    def finish_reason(self, reason: str) -> str:
        """The wire's reason for an end by `reason`: a call that was cut off by a limit is still cut off."""
        if reason != "stop" or not self.calls:
            return reason
        return "function_call" if self._legacy else "tool_calls"

    def message(self) -> Json:
        """The `message` of a whole answer, role left out. Content is null beside calls when there is none."""
        out: Json = {"content": self.content or (None if self.calls else "")}
        if self.reasoning:
            out["reasoning_content"] = self.reasoning
        if self.calls and self._legacy:
            out["function_call"] = self.calls[0]["function"]
        elif self.calls:
            out["tool_calls"] = self.calls
        return out

    def delta(self, spoken: Spoken) -> Json:
        return spoken.delta(legacy=self._legacy)

    def _through(self, parts: Sequence[Part], start: int) -> list[Part]:
        """`parts` after the readers from `start` on have read their content."""
        current = list(parts)
        for reader in self._readers[start:]:
            passed: list[Part] = []
            for part in current:
                passed += reader.push(part.text) if isinstance(part, Content) else [part]
            current = passed
        return current

    def _spoken(self, parts: Sequence[Part]) -> Spoken:
        spoken = Spoken()
        for part in parts:
            if isinstance(part, Content):
                spoken.content += part.text
            elif isinstance(part, Reasoning):
                spoken.reasoning += part.text
            else:
                self._add_call(spoken, part)
        self.content += spoken.content
        self.reasoning += spoken.reasoning
        return spoken

    def _add_call(self, spoken: Spoken, part: CallOpened | Arguments) -> None:
        if isinstance(part, CallOpened):
            identifier = f"call_{secrets.token_hex(12)}"
            self.calls.append(_call(identifier, part.name))
            spoken.calls[part.index] = _call(identifier, part.name)
            return
        self.calls[part.index]["function"]["arguments"] += part.text
        piece = spoken.calls.setdefault(part.index, {"function": {"arguments": ""}})
        piece["function"]["arguments"] += part.text


def _call(identifier: str, name: str) -> Json:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": ""}}
