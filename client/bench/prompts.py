"""Prompts of a wanted length, different from each other from the first word on, the same for the same seed.

Short common English words are one token each in the vocabularies of today's models, so words stand for tokens; what
the server counted is what is reported.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

_COMMON = (
    "the of and to in is that for it as was with be by on not he this are or his from at which but have an had they "
    "you were their one all we can her has there been if more when will would who so no out up into do any time some "
    "two could them than its over now only new other like then may first such man our these made day most where "
    "must before right too us old while last might great back work long house world water light hand part place year "
    "live after good own life away three small every under night home side without four once high upon school head "
    "far left door line name sea land river stone bird tree road ship fire wind rain snow city king book paper word "
    "number color green white black blue red open close walk turn move play run stand hear talk think know find give"
)
WORDS = tuple(_COMMON.split())
PREFIX_STREAM = "prefix"  # beside the streams of the requests, which have their numbers


@dataclass(frozen=True, slots=True)
class Workload:
    """What each request asks. Lengths are tokens; a prompt has `shared_prefix` + `prompt_tokens` of them."""

    model: str
    prompt_tokens: int = 200
    shared_prefix: int = 0
    output_tokens: int = 64
    ignore_eos: bool = True
    chat: bool = False
    temperature: float = 0.0
    seed: int = 0

    @property
    def path(self) -> str:
        return "/chat/completions" if self.chat else "/completions"

    def body(self, index: int) -> dict[str, Any]:
        """The JSON body of request number `index` (warm-up requests are negative)."""
        prompt = self.prompt(index)
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}]} if self.chat else {"prompt": prompt}
        more = {"ignore_eos": True} if self.ignore_eos else {}
        return {
            "model": self.model,
            **asked,
            "max_tokens": self.output_tokens,
            "temperature": self.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            **more,
        }

    def prompt(self, index: int) -> str:
        prefix = _words(self.seed, PREFIX_STREAM, self.shared_prefix)
        return " ".join([*prefix, *_words(self.seed, index, self.prompt_tokens)])


def _words(seed: int, stream: int | str, count: int) -> list[str]:
    return random.Random(f"{seed}/{stream}").choices(WORDS, k=count)
