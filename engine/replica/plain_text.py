"""Text that is no prompt of its own to token ids: the parts of a fill-in-the-middle prompt, an expected output.

No opening tokens, and no control tokens however they are spelled.
"""

from __future__ import annotations

from client.errors import InvalidArgument
from engine.replica.llama import Vocabulary
from engine.replica.prompt import PromptMaker


def expected_tokens(prompts: PromptMaker, vocabulary: Vocabulary, expected: str | list[int], limit: int) -> list[int]:
    """The first `limit` token ids of the output that a client expects; no more of it is read than can be of use."""
    if not expected:
        return []
    if isinstance(expected, str):
        beginning = first_bytes(expected, limit * vocabulary.longest_piece_bytes)
        return prompts.text(beginning, parse_special=False, add_special=False, field="prediction")[:limit]
    if max(expected) >= vocabulary.size:
        raise InvalidArgument(f"token ids end at {vocabulary.size - 1}", field="speculation")
    return expected[:limit]


def infill_tokens(prompts: PromptMaker, vocabulary: Vocabulary, before: str, after: str) -> list[int]:
    """A prompt that asks for what stands between two texts, in the order prefix, suffix, middle (arXiv 2207.14255)."""
    marks = vocabulary.infill_tokens
    if marks is None:
        raise InvalidArgument("this model was not trained to fill in the middle", field="suffix")
    opening = [vocabulary.bos] if vocabulary.adds_bos else []
    prefix = prompts.text(before, parse_special=False, add_special=False)
    suffix = prompts.text(after, parse_special=False, add_special=False, field="suffix")
    return [*opening, marks.prefix, *prefix, marks.suffix, *suffix, marks.middle]


def first_bytes(text: str, count: int) -> str:
    """As much of the beginning as `count` bytes of UTF-8 hold."""
    return text if len(text) * 4 <= count else text.encode("utf-8")[:count].decode("utf-8", "ignore")


def last_bytes(text: str, count: int) -> str:
    """As much of the end as `count` bytes of UTF-8 hold."""
    raw = text.encode("utf-8")
    return text if len(raw) <= count else raw[len(raw) - count :].decode("utf-8", "ignore")


def fragments(vocabulary: Vocabulary, tokens: list[int]) -> list[str | int]:
    """A prompt as its pieces: text, and between it the control tokens as ids."""
    control = frozenset(vocabulary.special_tokens.values())
    pieces: list[str | int] = []
    start = 0
    for at, token in enumerate([*tokens, -1]):
        if at < len(tokens) and token not in control:
            continue
        if at > start:
            pieces.append(vocabulary.text(tokens[start:at]))
        if at < len(tokens):
            pieces.append(token)
        start = at + 1
    return pieces
