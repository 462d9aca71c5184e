"""Prompts cut from real English: the help texts that every Python carries."""

from __future__ import annotations

import re
from pydoc_data.topics import topics

BOUNDARIES = (64, 63, 65, 128, 200)  # tokens: about where llama.cpp's CPU attention changes its way
WORDS_A_PASSAGE = 220  # more than 200 tokens of them
REPEATED_TOKENS = 35


def sentences() -> list[str]:
    """Sentences of 30 to 300 letters, in a fixed order, without tables and code."""
    text = re.sub(r"\s+", " ", " ".join(topics[name] for name in sorted(topics)))
    return [s for s in re.split(r"(?<=[.!?]) ", text) if re.fullmatch(r"[A-Z][\w ,;'\"()-]{29,299}\.", s)]


def passages(count: int) -> list[str]:
    """`count` texts of WORDS_A_PASSAGE words or more, each beginning with another sentence."""
    found = sentences()
    return [_passage(found, i * (len(found) // count)) for i in range(count)]


def cut(passages: list[list[int]]) -> list[list[int]]:
    """Passages as token ids, cut to prompts of 8 to 200 tokens. Of twenty, sixteen are of 8 to 40; one ends about where
    attention changes; one says the same again and again, as text that quotes does; two begin as others do."""
    beginnings = passages[0][:70], passages[1][:130]
    prompts = []
    for i, own in enumerate(passages):
        ten, kind = divmod(i, 10)
        if kind < 8:
            prompts.append(own[: 8 + i * 33 // len(passages)])
        elif kind == 9:
            prompts.append([*beginnings[ten % 2], *own[: 5 + 3 * ten]])
        elif ten % 2:
            prompts.append(own[: BOUNDARIES[ten // 2 % len(BOUNDARIES)]])
        else:
            prompts.append((own[:REPEATED_TOKENS] * 6)[: 70 + ten * 37 % 130])
    return prompts


def _passage(found: list[str], at: int) -> str:
    words: list[str] = []
    while len(words) < WORDS_A_PASSAGE:
        words += found[at % len(found)].split()
        at += 1
    return " ".join(words)
