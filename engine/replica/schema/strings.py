"""JSON strings in GBNF: characters, lengths, formats, and keys other than given ones.

Every rule here allows only text that decodes to what is meant: no lone surrogates, no control characters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

_CODE = '"u" ([0-9a-cefA-CEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2})'
CHAR = r"""[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | """ + f"{_CODE})"
PLAIN = r"""[^"\\\x00-\x1F\x7F]"""  # the only spelling of a character, so that a key can be told from others

MAX_NESTING = 40  # of groups in a tree of literals


class Format(NamedTuple):
    """GBNF between the quotes, and the fewest and most characters it stands for."""

    gbnf: str
    shortest: int
    longest: int


_DAY = '("0" [1-9] | "1" [0-9] | "2" [0-8])'
_LONG = '("0" [13578] | "10" | "12") "-31"'
_DATE = (
    f'[12] [0-9] [0-9] [0-9] "-" (("0" [1-9] | "1" [0-2]) "-" {_DAY}'
    f' | ("0" [13-9] | "1" [0-2]) "-" ("29" | "30") | {_LONG})'
)
_CLOCK = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]'
_TIME = f'{_CLOCK} ":" [0-5] [0-9] ("." [0-9]{{1,6}})? ("Z" | [+-] {_CLOCK})'
_OCTET = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9]? [0-9])'
_HEX = "[0-9a-fA-F]"
_LABEL = "[a-z] [a-z0-9]{0,30}"
_HOST = f'{_LABEL} ("." {_LABEL}){{0,3}}'
_URI = f'("http" "s"? "://" {_HOST} ("/" [A-Za-z0-9_.-]{{0,64}}){{0,8}})'
_POINTER = '("/" [A-Za-z0-9_ -]{0,32}){0,8}'
_DURATION = (
    '"P" (([1-9] [0-9]{0,2} "D") ("T" [1-9] [0-9]{0,2} "H")? | "T" [1-9] [0-9]{0,2} [HMS] | [1-9] [0-9]{0,2} [YMW])'
)
_UUID = f'{_HEX}{{8}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{12}}'
_EMAIL = f'[a-z0-9] [a-z0-9_+-]{{0,30}} ("." [a-z0-9] [a-z0-9_+-]{{0,30}})? "@" {_HOST}'

_ADDRESS = Format(_URI, 8, 8 + 127 + 520)
FORMATS: dict[str, Format] = {
    "date": Format(_DATE, 10, 10),
    "time": Format(_TIME, 9, 21),
    "date-time": Format(f'{_DATE} "T" {_TIME}', 20, 32),
    "duration": Format(_DURATION, 3, 10),
    "uuid": Format(_UUID, 36, 36),
    "email": Format(_EMAIL, 3, 191),
    "idn-email": Format(_EMAIL, 3, 191),
    "hostname": Format(_HOST, 1, 127),
    "idn-hostname": Format(_HOST, 1, 127),
    "ipv4": Format(f'{_OCTET} "." {_OCTET} "." {_OCTET} "." {_OCTET}', 7, 15),
    "ipv6": Format(f'{_HEX}{{1,4}} (":" {_HEX}{{1,4}}){{7}}', 15, 39),
    "uri": _ADDRESS,
    "uri-reference": _ADDRESS,
    "uri-template": _ADDRESS,
    "iri": _ADDRESS,
    "iri-reference": _ADDRESS,
    "json-pointer": Format(_POINTER, 0, 264),
    "relative-json-pointer": Format(f'("0" | [1-9] [0-9]?) {_POINTER}', 1, 266),
}


def quoted(text: str) -> str:
    """A GBNF literal for exactly this text."""
    out = []
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char < " " or char == "\x7f":
            out.append(f"\\x{ord(char):02X}")
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def json_literals(values: Iterable[object]) -> list[str]:
    """GBNF for one JSON text of each value, those with the same beginning together: llama.cpp tries every alternative
    with every token. UnicodeEncodeError for lone surrogates, which have no text."""
    texts = [json.dumps(value, ensure_ascii=False) for value in values]
    "".join(texts).encode("utf-8")
    return _together(sorted(set(texts)), MAX_NESTING)


def _together(texts: list[str], nesting: int) -> list[str]:
    if len(texts) < 2 or not nesting:
        return [quoted(text) for text in texts]
    ways = [] if texts[0] else ['""']
    for _, group in groupby(filter(None, texts), key=lambda text: text[0]):
        alike = list(group)
        shared = _shared(alike[0], alike[-1])  # sorted: what the outermost share, all do
        head, tails = alike[0][:shared], _together([text[shared:] for text in alike], nesting - 1)
        ways.append(quoted(head) if len(alike) == 1 else f"{quoted(head)} ({' | '.join(tails)})")
    return ways


def _shared(a: str, b: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def other_keys(names: Iterable[str]) -> str:
    """GBNF between the quotes for any key of plain characters that is none of `names`."""
    plain = [name for name in names if all(c >= " " and c not in '"\\\x7f' for c in name)]
    return _differs(sorted(set(plain)))


def _differs(names: list[str]) -> str:
    """Text that is none of `names`, by a tree over their first characters."""
    if not names:
        return f"{PLAIN}*"
    heads = sorted({name[0] for name in names if name})
    ways = [] if "" in names else ['""']
    excluded = "".join(_in_class(head) for head in heads)
    ways.append(f"{PLAIN[:-1]}{excluded}] {PLAIN}*")
    for head in heads:
        tails = [name[1:] for name in names if name.startswith(head)]
        ways.append(f"{quoted(head)} {_differs(tails)}")
    return "(" + " | ".join(ways) + ")"


def _in_class(char: str) -> str:
    return "\\" + char if char in "[]\\" else f"\\x{ord(char):02X}" if char in "^-" else char
