"""Where foreign templates run: Jinja's immutable sandbox with less in it, and a limit of time.

The sandbox keeps a template from Python's internals (CVE-2024-34359 and its relatives); on top of it this file bounds
time (a trace function stops endless loops), ranges and, together with `template_budget`, all text and lists that
expressions build. (One operation on bounded operands is not interrupted: milliseconds.)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from engine.replica.template_budget import TemplateError

MAX_RANGE = 10_000
# Methods and filters that turn a small template into a huge string.
UNBOUNDED_METHODS = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "translate"})
UNBOUNDED_FILTERS = (
    "batch", "center", "filesizeformat", "format", "indent", "pprint", "slice", "urlize", "wordwrap", "xmlattr",
)  # fmt: skip


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


class _Generation(Extension):
    """`{% generation %}` marks what a trainer learns from; here it is what it surrounds."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def sandbox() -> jinja2.Environment:
    """A fresh environment to compile one model's template in."""
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
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TemplateError in this thread when the block still runs Python lines after `seconds` of this thread's own.

    Time that a busy machine gave to others is not the template's fault.
    """
    deadline, used_up = time.monotonic() + seconds, time.thread_time() + seconds
    before = sys.gettrace()

    def check(_frame: FrameType, _event: str, _arg: Any) -> Callable[..., Any]:
        if time.monotonic() > deadline and time.thread_time() > used_up:  # the second clock is dear: asked last
            raise TemplateError("the model's chat template takes too long")
        return check

    sys.settrace(check)
    try:
        yield
    finally:
        sys.settrace(before)
