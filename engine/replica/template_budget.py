"""What a chat template may build while it renders: characters and list entries, all expressions together.

A template of one line can double a string until memory is gone (`s ~ s`, `s + s`, `replace`, `join`), each step too
short for a time limit to see. So every operation that makes text or lists out of others pays for its result, and
those whose result can be far larger than their operands pay before they run.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from client.errors import InvalidArgument

MAX_BUILT_CHARS = 32 * 1024 * 1024  # over what the messages themselves call for
ENTRY_CHARS = 64  # what an entry of a list costs in memory, told in characters
MAX_NUMBER = 2**64


class TemplateError(InvalidArgument):
    """The template refused the messages (its own raise_exception) or broke one of the bounds."""


_spent = threading.local()  # a template renders on one thread


@contextmanager
def budget(chars: int) -> Iterator[None]:
    """Allow this thread's templates to build `chars` characters until the block ends."""
    _spent.left = chars
    try:
        yield
    finally:
        _spent.left = 0


def charge(chars: int) -> None:
    """Take from the budget. Raises TemplateError when nothing is left."""
    _spent.left = getattr(_spent, "left", 0) - chars
    if _spent.left < 0:
        raise TemplateError("the model's chat template builds too much text")


def charged(value: Any) -> Any:
    """`value`, paid for by its size. Numbers are bounded too: a big one squared again and again has no end."""
    if isinstance(value, str):
        charge(len(value))
    elif isinstance(value, (list, tuple, dict, set)):
        charge(ENTRY_CHARS * len(value))
    elif isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise TemplateError("the model's chat template computes with huge numbers")
    return value


def text_join(values: Iterable[Any]) -> str:
    """The `~` operator."""
    texts = [str(value) for value in values]
    charge(sum(map(len, texts)))
    return "".join(texts)


def add(left: Any, right: Any) -> Any:
    """The `+` operator."""
    if isinstance(left, Collection) and isinstance(right, Collection):
        charge((len(left) + len(right)) * (1 if isinstance(left, str) else ENTRY_CHARS))
        return left + right  # type: ignore[operator]
    return charged(left + right)


def replace(text: str, old: Any, new: Any, count: Any = None) -> str:
    """`str.replace`, paid for before it runs."""
    old, new = str(old), str(new)
    times = -1 if count is None else int(count)
    found = text.count(old) if times < 0 else min(times, text.count(old))
    charge(len(text) + found * len(new))
    return text.replace(old, new, times)


def join(separator: str, values: Iterable[Any]) -> str:
    """`str.join`, paid for before it runs; takes what is no text too, as Jinja's filter does."""
    texts = [str(value) for value in values]
    charge(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def join_filter(values: Iterable[Any], d: Any = "", attribute: Any = None) -> str:
    """Jinja's `join`; of `attribute` only the plain name of a key."""
    if attribute is not None:
        values = [value.get(attribute, "") for value in values]
    return join(str(d), values)


def replace_filter(text: Any, old: Any, new: Any, count: Any = None) -> str:
    """Jinja's `replace`."""
    return replace(str(text), old, new, count)


def charging(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its results paid for. Keeps Jinja's marks on it."""

    @functools.wraps(function)
    def paid(*args: Any, **options: Any) -> Any:
        return charged(function(*args, **options))

    return paid
