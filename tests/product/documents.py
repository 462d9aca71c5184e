"""What a document shows to type: commands, code, flags, arguments, calls and names. Pure.

`examples.toml` is held against it wherever the documents are at hand (`FIREDECK_PRODUCT`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("examples.toml")

_COMMAND = re.compile(r"(firectl|curl)\b")
_SPAN = re.compile(r"`([^`\n]+)`")
_FLAG = re.compile(r"(?<!\w)(?:--|—(?=[a-z-]+=))[a-z]+(?:-[a-z]+)*(?:=\w+| [A-Z]{2,}\b)?")
_NAME = re.compile(
    r"accounts/[\w<>-]+/(?:models|deployments)/(?:<[\w-]+>|[a-z0-9]+(?:[-_][a-z0-9]+)*)(?:#accounts/\S+)?"
)
_METHOD = re.compile(r"### `(\w+)\(")
_ARGUMENT = re.compile(r"\* `(\w+)` \*.+?\* - ")
_CALL = re.compile(r"\w+\(.*\)|\w+=\w+")
_FENCE = "```"


@dataclass(frozen=True, order=True, slots=True)
class Snippet:
    """`line` is the first that has it, from 1; `text` as it stands there."""

    document: str
    line: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A snippet with why it cannot be run here, "" where it is run."""

    snippet: Snippet
    not_run: str


def read() -> list[Example]:
    """All that the file has, in its order."""
    return [
        Example(Snippet(document, line, kind, text), "".join(not_run))
        for document, kinds in tomllib.loads(FILE.read_text()).items()
        for kind, rows in kinds.items() for line, text, *not_run in rows
    ]  # fmt: skip


def run_here(kind: str) -> list[str]:
    """The texts of a kind that are run."""
    return sorted({one.snippet.text for one in read() if one.snippet.kind == kind and not one.not_run})


def snippets(document: str, text: str) -> list[Snippet]:
    """Each once for its kind, at the line that has it first."""
    lines = text.splitlines()
    commands = list(_commands(lines))
    within = {line for number, shown in commands for line in range(number, number + shown.count("\n") + 1)}
    prose = [(number, line) for number, line in enumerate(lines, 1) if number not in within]
    first: dict[tuple[str, str], int] = {}
    found = [*((number, "command", shown) for number, shown in commands), *_code(lines), *_mentioned(prose)]
    for number, kind, shown in found:
        first[kind, shown] = min(first.get((kind, shown), number), number)
    return sorted(Snippet(document, number, kind, shown) for (kind, shown), number in first.items())


def _commands(lines: list[str]) -> Iterator[tuple[int, str]]:
    """From the line that begins with the program to that after which no quote is open and nothing is continued."""
    until = 0
    for number, line in enumerate(lines, 1):
        if number <= until or not _COMMAND.match(line):
            continue
        taken = [line]
        while taken[-1].endswith("\\") or "\n".join(taken).count("'") % 2:
            taken.append(lines[number - 1 + len(taken)])
        until = number + len(taken) - 1
        yield number, "\n".join(taken)


def _code(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """Between fences; of a document that begins within a block, from the last empty line before its end."""
    begun: int | None = None
    for number, line in enumerate(lines, 1):
        if not line.startswith(_FENCE):
            continue
        if line != _FENCE:  # it names a language, and so begins
            begun = number
            continue
        if begun is None:
            begun = max(n for n, above in enumerate(lines[: number - 1], 1) if not above)
        yield begun + 1, "code", "\n".join(lines[begun : number - 1])
        begun = None


def _mentioned(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str, str]]:
    """What prose names. An argument is that of the method whose heading it stands below, or of the class itself."""
    method = "LLM"
    for number, line in lines:
        if heading := _METHOD.match(line):
            method = heading[1]
        for kind, pattern in (("flag", _FLAG), ("name", _NAME)):
            yield from ((number, kind, found[0]) for found in pattern.finditer(line))
        if argument := _ARGUMENT.match(line):
            yield number, f"argument of {method}", argument[1]
        for span in _SPAN.findall(line):
            if span.startswith("firectl "):
                yield number, "command", span
            elif _CALL.fullmatch(span):
                yield number, "call", span
