"""The grammar of an answer that must be a call: a family's spelling around grammars made from the tools' schemas.

Grammars are joined as text: the rules of each get a prefix of their own, so that they never meet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.replica.tools.family import Family, Spelling

MAX_CALLS = 8  # of one forced answer: a small model would go on for ever
# Literals, character classes, comments, repetitions and tokens by name stay as they are; what is left is a rule's name.
_TOKEN = re.compile(
    r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|\{[^{}]*\}|!?<[^>\s]*>|(?P<name>[A-Za-z][A-Za-z0-9-]*)', re.S
)


def forced_gbnf(family: Family, functions: Sequence[tuple[str, str]], *, several: bool) -> str:
    """GBNF of one call (or up to MAX_CALLS, when `several`) of `functions`: names, each with the GBNF of arguments."""
    spelling = family.spelling
    calls = [_call(spelling, name, f"a{i}-root") for i, (name, _) in enumerate(functions)]
    rest = f"({_row(spelling.between, rule='call')}){{0,{MAX_CALLS - 1}}}" if several else ""
    root = " ".join(filter(None, (_row(spelling.first, rule="call"), rest, _row(spelling.last))))
    arguments = [prefixed(gbnf, f"a{i}-") for i, (_, gbnf) in enumerate(functions)]
    return "\n".join([f"root ::= {root}", f"call ::= {' | '.join(calls)}", *arguments])


def either_gbnf(first: str, second: str) -> str:
    """GBNF of whatever one of two grammars allows."""
    return "\n".join(["root ::= x-root | y-root", prefixed(first, "x-"), prefixed(second, "y-")])


def after_reasoning(closing: str, gbnf: str) -> str:
    """GBNF of an answer whose reasoning the prompt has opened: it may go on, and has to close first."""
    root = f"root ::= thought {gbnf_literal(closing)} [\\n]{{0,2}} x-root"
    return "\n".join([root, f"thought ::= {_anything_but(closing)}", prefixed(gbnf, "x-")])


def prefixed(gbnf: str, prefix: str) -> str:
    """The same grammar with `prefix` before the name of each rule."""
    return _TOKEN.sub(lambda found: prefix + found.group() if found["name"] else found.group(), gbnf)


def gbnf_literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _call(spelling: Spelling, name: str, arguments: str) -> str:
    return _row(spelling.before.replace("NAME", name), rule=arguments) + " " + _row(spelling.after)


def _row(text: str, *, rule: str = "") -> str:
    """A literal, left out when it is empty, and a rule after it."""
    return " ".join(filter(None, (gbnf_literal(text) if text else "", rule)))


def _anything_but(marker: str) -> str:
    """Text in which every character that begins `marker` is followed by another than in it."""
    first, second = (re.escape(c) if c in "[]^\\-" else c for c in marker[:2])
    return f"([^{first}] | {gbnf_literal(marker[0])} [^{second}])*"
