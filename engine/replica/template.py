"""Chat templates: Jinja that came with the model file, so foreign code. Rendered in a sandbox with bounds.

Jinja's immutable sandbox keeps a template from Python's internals (CVE-2024-34359 and its relatives); on top of it
this file bounds time (a trace function stops endless loops), output, ranges and, together with `template_budget`,
all text and lists that expressions build. (One operation on bounded operands is not interrupted: milliseconds.)

The result is split into what the template wrote and what users wrote, so that a control token spelled out in a
message, a tool's description or an argument stays text. Sentinels around each message's text, and around whatever
else spells a control token, find the places; they are letters and digits, which neither trimming nor JSON changes.
A template that changes a text in other ways falls back to refusing such spellings (see `Rendered.unplaced`).
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.replica import template_budget
from engine.replica.template_budget import ENTRY_CHARS, MAX_BUILT_CHARS, TemplateError

MAX_TEMPLATE_CHARS = 256 * 1024
MAX_OUTPUT_GROWTH_CHARS = 1024 * 1024  # over the size of the messages themselves
MAX_RANGE = 10_000
MAX_SECONDS = 2.0
NOTHING = re.compile(r"(?!)")  # matches nowhere
TEXT_KEYS = ("content", "reasoning_content")  # of a message: what people and models wrote
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
            # Inside of loops and blocks Jinja hands over their variables too, for functions that want the context.
            given = {key: value for key, value in options.items() if key not in ("_loop_vars", "_block_vars")}
            return getattr(template_budget, name)(owner, *args, **given)
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
        with _time_limit(MAX_SECONDS), template_budget.budget(MAX_BUILT_CHARS + 32 * given):
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


class _Generation(Extension):
    """`{% generation %}` marks what a trainer learns from; here it is what it surrounds."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> _Sandbox:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation])
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
    spaces = None if indent is None else min(int(indent), 8)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=spaces, default=_listed)


def _listed(value: Any) -> list[Any]:
    """What filters such as `map` give is a list that has not been made yet."""
    if not isinstance(value, Iterator):
        raise TypeError(f"{type(value).__name__} is no JSON")
    return list(value)


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
