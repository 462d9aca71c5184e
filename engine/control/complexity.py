"""Is a request simple enough for the small model? Pure, by a rule that its router states.

    data   Rule    the limits that a router names; what it does not name does not count
           Facts   what of a request the rule is about: numbers and yes or no, none of its text
    verbs  facts   read them off an OpenAI body; judge: simple or not, with the reason
    near   `engine.gateway.policy` asks; `engine.fleet.routers` has the rules; `request_text` reads the prompt

Bodies are the client's and may be anything: what cannot be read counts for nothing here and is refused by a replica.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.control import request_text


@dataclass(frozen=True, slots=True)
class Rule:
    """A request is simple when it keeps to all limits (None: no limit) and needs nothing that is not allowed."""

    prompt_chars: int | None = None
    max_tokens: int | None = None
    turns: int | None = None
    tools: bool = False
    response_format: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """`prompt_chars` of all texts of the prompt; `max_tokens` None where the request sets no limit; `turns`: messages
    of the user; `media`: it has content that is no text."""

    prompt_chars: int = 0
    max_tokens: int | None = None
    turns: int = 1
    tools: bool = False
    response_format: bool = False
    media: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    simple: bool
    why: str


def judge(rule: Rule, facts: Facts) -> Judgement:
    """The reason is what stands against it, or all that it was measured by."""
    against = list(_against(rule, facts))
    return Judgement(not against, ", ".join(against or _kept(rule, facts)))


def _against(rule: Rule, facts: Facts) -> Iterable[str]:
    if rule.prompt_chars is not None and facts.prompt_chars > rule.prompt_chars:
        yield f"{facts.prompt_chars} characters of prompt are more than {rule.prompt_chars}"
    if rule.max_tokens is not None and facts.max_tokens is None:
        yield f"it sets no max_tokens, which may be at most {rule.max_tokens}"
    elif rule.max_tokens is not None and facts.max_tokens is not None and facts.max_tokens > rule.max_tokens:
        yield f"max_tokens {facts.max_tokens} is more than {rule.max_tokens}"
    if rule.turns is not None and facts.turns > rule.turns:
        yield f"{facts.turns} turns are more than {rule.turns}"
    if facts.tools and not rule.tools:
        yield "it has tools"
    if facts.response_format and not rule.response_format:
        yield "it has a response_format"
    if facts.media:
        yield "it has content that is no text"


def _kept(rule: Rule, facts: Facts) -> Iterable[str]:
    if rule.prompt_chars is not None:
        yield f"{facts.prompt_chars} of at most {rule.prompt_chars} characters of prompt"
    if rule.max_tokens is not None:
        yield f"max_tokens {facts.max_tokens} of at most {rule.max_tokens}"
    if rule.turns is not None:
        yield f"{facts.turns} of at most {rule.turns} turns"
    if not rule.tools:
        yield "no tools"
    if not rule.response_format:
        yield "no response_format"


def facts(body: Mapping[str, Any]) -> Facts:
    """Of a request to any of the inference routes."""
    messages = request_text.messages(body)
    wanted = body.get("response_format")
    shaped = wanted is not None and not (isinstance(wanted, Mapping) and wanted.get("type") == "text")
    return Facts(
        prompt_chars=request_text.characters(body),
        max_tokens=request_text.answer_limit(body),
        turns=sum([one.get("role") == "user" for one in messages]) if messages else 1,
        tools=bool(body.get("tools") or body.get("functions")),
        response_format=shaped,
        media=request_text.has_media(body),
    )
