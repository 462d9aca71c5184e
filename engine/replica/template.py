"""Chat templates: Jinja that came with the model file, so foreign code. It runs in `template_sandbox`, for a limited
time, and may write a limited text.

The result is split into what the template wrote and what users wrote, so that a control token spelled out in a
message, a tool's description or an argument stays text. Sentinels around each message's text, and around whatever
else spells a control token, find the places; they are letters and digits, which neither trimming nor JSON changes.
A template that changes a text in other ways falls back to refusing such spellings (see `Rendered.unplaced`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from engine.replica import template_budget
from engine.replica.template_budget import ENTRY_CHARS, MAX_BUILT_CHARS, TemplateError
from engine.replica.template_sandbox import sandbox, time_limit

MAX_TEMPLATE_CHARS = 256 * 1024
MAX_OUTPUT_GROWTH_CHARS = 1024 * 1024  # over the size of the messages themselves
MAX_SECONDS = 2.0
NOTHING = re.compile(r"(?!)")  # matches nowhere
TEXT_KEYS = ("content", "reasoning_content")  # of a message: what people and models wrote


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of rendered text, and whether a user wrote it."""

    text: str
    is_content: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """The whole prompt. `unplaced` holds the user texts when they could not be told from the template's text."""

    segments: tuple[Segment, ...]
    unplaced: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


class ChatTemplate:
    """A compiled template. Raises TemplateError when `source` is no valid Jinja."""

    def __init__(self, source: str, *, bos_token: str, eos_token: str) -> None:
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateError("the model's chat template is too large")
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = sandbox().from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise TemplateError(f"the model's chat template is broken: {error}") from error

    def render(
        self,
        messages: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        control: re.Pattern[str] = NOTHING,
    ) -> Rendered:
        """The prompt for these messages (`role` and `content` as text, and what calls need), with the assistant's
        turn opened. `tools` are OpenAI's documents; `variables` go to the template as they are; `control` finds
        control tokens spelled out."""
        names = dict(variables or {})
        texts = tuple(texts_in([[m[key] for key in m if key != "role"] for m in messages] + (tools or [])))
        size = sum(map(len, texts)) + ENTRY_CHARS * len(texts)
        plain = self._render(messages, tools, names, size)
        marker = _Marker(control)
        try:
            marked = self._render([marker.message(m) for m in messages], marker.value(tools), names, size)
        except TemplateError:
            marked = ""
        segments = _split(marked, marker.opening, marker.closing)
        if "".join(segment.text for segment in segments) == plain:
            return Rendered(segments)
        return Rendered((Segment(plain, is_content=False),), unplaced=texts)

    def _render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        names: dict[str, Any],
        given: int,
    ) -> str:
        limit = MAX_OUTPUT_GROWTH_CHARS + 4 * given
        parts: list[str] = []
        with time_limit(MAX_SECONDS), template_budget.budget(MAX_BUILT_CHARS + 32 * given):
            try:
                stream = self._template.generate(
                    messages=messages, add_generation_prompt=True, tools=tools, **self._tokens, **names
                )
                for part in stream:
                    limit -= len(part)
                    if limit < 0:
                        raise TemplateError("the model's chat template writes without end")
                    parts.append(part)
            except TemplateError:
                raise
            except Exception as error:  # a foreign program may raise anything
                raise TemplateError(
                    f"the model's chat template refused the messages: {error}", field="messages"
                ) from error
        return "".join(parts)


class _Marker:
    """Puts sentinels into documents: around texts of messages, and around other texts that spell a control token.

    The others are left as they are, because templates compare them (a schema's types, say).
    """

    def __init__(self, control: re.Pattern[str]) -> None:
        mark = secrets.token_hex(16)
        self.opening, self.closing = f"x{mark}b", f"x{mark}e"
        self._control = control

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        marked = {key: value if key in TEXT_KEYS else self.value(value) for key, value in message.items()}
        return marked | {key: self._around(message[key]) for key in TEXT_KEYS if key in message}

    def value(self, value: Any) -> Any:
        """A JSON value with each suspicious text in it marked, keys included."""
        if isinstance(value, str):
            return self._around(value) if self._control.search(value) else value
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if isinstance(value, dict):
            return {self.value(key): self.value(one) for key, one in value.items()}
        return value

    def _around(self, text: str) -> str:
        """Sentinels inside the outer whitespace, where a template's trim cannot reach them."""
        core = text.strip()
        if not core:
            return text
        at = text.index(core)
        return text[:at] + self.opening + core + self.closing + text[at + len(core) :]


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value:
            yield from texts_in(one)
        if isinstance(value, dict):
            yield from texts_in(list(value.values()))


def _split(marked: str, opening: str, closing: str) -> tuple[Segment, ...]:
    """Segments of a marked rendering; adjacent template text is joined by construction."""
    segments: list[Segment] = []
    head, *pieces = marked.split(opening)
    segments.append(Segment(head, is_content=False))
    for piece in pieces:
        content, _, rest = piece.partition(closing)
        segments += [Segment(content, is_content=True), Segment(rest, is_content=False)]
    return tuple(segment for segment in segments if segment.text)
