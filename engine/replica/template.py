"""Chat templates: Jinja that came with the model file, so foreign code. Rendered in a sandbox with bounds.

Jinja's immutable sandbox keeps a template from Python's internals (CVE-2024-34359 and its relatives); on top of it
this file bounds time (a trace function stops endless loops), output, ranges and, together with `template_budget`,
all text and lists that expressions build. (One operation on bounded operands is not interrupted: milliseconds.)

The result is split into what the template wrote and what users wrote, so that a control token spelled out in a
message stays text. Sentinels around each message's text find the places; a template that changes a message beyond
trimming it falls back to refusing such spellings (see `Rendered.unplaced`).
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.replica import template_budget
from engine.replica.template_budget import MAX_BUILT_CHARS, TemplateError

MAX_TEMPLATE_CHARS = 256 * 1024
MAX_OUTPUT_GROWTH_CHARS = 1024 * 1024  # over the size of the messages themselves
MAX_RANGE = 10_000
MAX_SECONDS = 2.0
# Methods and filters that turn a small template into a huge string.
UNBOUNDED_METHODS = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "translate"})
UNBOUNDED_FILTERS = (
    "batch", "center", "filesizeformat", "format", "indent", "pprint", "slice", "urlize", "wordwrap", "xmlattr",
)  # fmt: skip


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


class _Generator(CodeGenerator):
    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        """`~` is no operator that a sandbox can intercept: it compiles to a join, here to one that pays."""
        self.write("environment.text_join((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})
    code_generator_class = _Generator
    text_join = staticmethod(template_budget.text_join)

    def wrap_str_format(self, value: Any) -> None:
        """Not wrapped but left to `is_safe_attribute`: the wrapper would let a format spec allocate gigabytes."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr in UNBOUNDED_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            return template_budget.add(left, right)
        plain = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "**" or not plain:
            raise jinja2.exceptions.SecurityError(f"operator {operator} is not available on these operands")
        return template_budget.charged(super().call_binop(context, operator, left, right))

    def call(self, context: Any, function: Any, *args: Any, **options: Any) -> Any:
        """Calls pay for what they return; the two text methods that can multiply a text, before they run."""
        owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
        if isinstance(owner, str) and name in ("replace", "join"):
            return getattr(template_budget, name)(owner, *args, **options)
        return template_budget.charged(super().call(context, function, *args, **options))


class ChatTemplate:
    """A compiled template. Raises TemplateError when `source` is no valid Jinja."""

    def __init__(self, source: str, *, bos_token: str, eos_token: str) -> None:
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateError("the model's chat template is too large")
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        environment = _environment()
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise TemplateError(f"the model's chat template is broken: {error}") from error

    def render(self, messages: list[dict[str, Any]]) -> Rendered:
        """The prompt for these messages (`role` and `content` as text), with the assistant's turn opened."""
        plain = self._render(messages)
        mark = secrets.token_hex(16)
        opening, closing = f"\x02{mark}<", f"\x03{mark}>"
        try:
            marked = self._render([_mark(message, opening, closing) for message in messages])
        except TemplateError:
            marked = ""
        segments = _split(marked, opening, closing)
        if "".join(segment.text for segment in segments) == plain:
            return Rendered(segments)
        return Rendered((Segment(plain, is_content=False),), unplaced=tuple(m["content"] for m in messages))

    def _render(self, messages: list[dict[str, Any]]) -> str:
        given = sum(len(m["content"]) for m in messages)
        limit = MAX_OUTPUT_GROWTH_CHARS + 4 * given
        parts: list[str] = []
        with _time_limit(MAX_SECONDS), template_budget.budget(MAX_BUILT_CHARS + 32 * given):
            try:
                stream = self._template.generate(
                    messages=messages, add_generation_prompt=True, tools=None, **self._tokens
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


def _mark(message: dict[str, Any], opening: str, closing: str) -> dict[str, Any]:
    """The message with sentinels inside its outer whitespace, where a template's trim cannot reach them."""
    content = message["content"]
    core = content.strip()
    if not core:
        return message
    at = content.index(core)
    return {**message, "content": content[:at] + opening + core + closing + content[at + len(core) :]}


def _split(marked: str, opening: str, closing: str) -> tuple[Segment, ...]:
    """Segments of a marked rendering; adjacent template text is joined by construction."""
    segments: list[Segment] = []
    head, *pieces = marked.split(opening)
    segments.append(Segment(head, is_content=False))
    for piece in pieces:
        content, _, rest = piece.partition(closing)
        segments += [Segment(content, is_content=True), Segment(rest, is_content=False)]
    return tuple(segment for segment in segments if segment.text)


def _environment() -> _Sandbox:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    for name in UNBOUNDED_FILTERS:
        environment.filters.pop(name, None)
    environment.filters |= {
        "tojson": _tojson,
        "join": template_budget.join_filter,
        "replace": template_budget.replace_filter,
    }
    for name, function in environment.filters.items():
        environment.filters[name] = template_budget.charging(function)
    environment.globals = {
        "range": _bounded_range,
        "namespace": environment.globals["namespace"],
        "dict": dict,
        "raise_exception": _raise_exception,
        "strftime_now": lambda pattern: datetime.now().strftime(str(pattern)[:64]),
    }
    return environment


def _bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise TemplateError(f"the model's chat template asks for a range over {MAX_RANGE}")
    return numbers


def _raise_exception(message: object) -> None:
    raise TemplateError(str(message)[:500], field="messages")


def _tojson(value: Any, indent: int | None = None, ensure_ascii: bool = False, **_ignored: Any) -> str:
    """Plain JSON: Jinja's own filter escapes for HTML, which models were not trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=None if indent is None else min(int(indent), 8))


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TemplateError in this thread when the block still runs Python lines after `seconds`."""
    deadline = time.monotonic() + seconds
    before = sys.gettrace()

    def check(_frame: FrameType, _event: str, _arg: Any) -> Callable[..., Any]:
        if time.monotonic() > deadline:
            raise TemplateError("the model's chat template takes too long")
        return check

    sys.settrace(check)
    try:
        yield
    finally:
        sys.settrace(before)
