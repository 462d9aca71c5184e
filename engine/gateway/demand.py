"""How many tokens a request may take, by what its body says. Pure.

    data   Answers     how much it may generate, and what is left of that within a limit
    verbs  prompt_estimate, answers_of
    near   `engine.gateway.admit` charges it, `engine.control.limits` decides

A prompt is estimated: a token for each BYTES_PER_TOKEN bytes of the body. What is generated is bounded, by `max_tokens`
or by ANSWER_TOKENS_MAX, which a replica generates at most where that is not given.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from engine.control import request_text

BYTES_PER_TOKEN = 4
ANSWER_TOKENS_MAX = 2048  # without max_tokens (https://docs.fireworks.ai/api-reference/post-chatcompletions)
ANSWER_TOKENS = 256  # without max_tokens: with less left, or a quarter of the limit, it waits rather than be cut short
CONTEXT_MAX = 1 << 20  # tokens, where a deployment does not say
CHOICES_MAX = 128  # more are refused by every replica


class Answers(NamedTuple):
    """`choices` of at most `most` tokens each; `named`: the request itself says how many."""

    choices: int
    most: int
    named: bool

    @property
    def tokens(self) -> int:
        return self.choices * self.most

    @property
    def estimate(self) -> int:
        """Where nothing bounds it."""
        return self.tokens if self.named else self.choices * min(self.most, ANSWER_TOKENS)

    def within(self, limit: int, left: int) -> Answers:
        """What of it can be let in where `left` of a `limit` is left: never more than the whole limit. One that names
        no length takes what is left, but waits for ANSWER_TOKENS or a quarter of the limit."""
        whole = max(1, limit // self.choices)
        most = min(self.most, whole)
        if not self.named:
            least = min(most, ANSWER_TOKENS, max(1, whole // 4))
            most = max(least, min(most, left // self.choices))
        return self._replace(most=most)


def prompt_estimate(fields: dict[str, Any], body: bytes) -> int:
    """Tokens: counted where the prompt is given as such, else by length."""
    counted = request_text.token_count(fields.get("prompt"))
    return math.ceil(len(body) / BYTES_PER_TOKEN) if counted is None else counted


def answers_of(fields: dict[str, Any], context: int | None) -> Answers:
    """Each answer is at most a `context` long. What is no number is for the replica to refuse."""
    named = request_text.answer_limit(fields)
    choices = max(_count(fields.get("n")), _count(fields.get("best_of")), 1) * _prompts(fields.get("prompt"))
    most = min(ANSWER_TOKENS_MAX if named is None else named, context or CONTEXT_MAX)
    return Answers(min(choices, CHOICES_MAX), most, named is not None)


def _prompts(prompt: object) -> int:
    """How many there are: each of a list of texts or of lists of tokens has answers of its own."""
    several = isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list)
    return len(prompt) if several and isinstance(prompt, list) else 1


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
