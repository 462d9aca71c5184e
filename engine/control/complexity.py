"""Is a request simple enough for the small model? Pure, by a rule that its router states.

    data   Rule    the limits that a router names; what it does not name does not count
           Facts   what of a request the rule is about: numbers and yes or no, none of its text
    verbs  facts   read them off an OpenAI body; judge: simple or not, with the reason
    near   `engine.gateway.policy` asks; `engine.fleet.routers` has the rules

Bodies are the client's and may be anything: what cannot be read counts for nothing here and is refused by a replica.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.control.prefix import CHARACTERS_PER_TOKEN


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
    messages = [one for one in _list(body.get("messages")) if isinstance(one, Mapping)]
    contents = [one.get("content") for one in messages]
    given = [body.get(name) for name in ("prompt", "input", "query", "documents")]
    limit = next((n for name in ("max_tokens", "max_completion_tokens") if (n := _count(body.get(name)))), None)
    wanted = body.get("response_format")
    shaped = wanted is not None and not (isinstance(wanted, Mapping) and wanted.get("type") == "text")
    return Facts(
        prompt_chars=sum([_characters(one) for one in (*contents, *given)]),
        max_tokens=limit,
        turns=sum([one.get("role") == "user" for one in messages]) if messages else 1,
        tools=bool(body.get("tools") or body.get("functions")),
        response_format=shaped,
        media=any(_is_media(part) for content in contents for part in _list(content)),
    )


def _characters(given: Any) -> int:
    """Of a text, of tokens, of parts of a message, or of a list of those."""
    if isinstance(given, str):
        return len(given)
    if type(given) is int:
        return CHARACTERS_PER_TOKEN
    if isinstance(given, Mapping):
        return _characters(given.get("text"))
    return sum([_characters(one) if not isinstance(one, list) else _flat(one) for one in _list(given)])


def _flat(given: list[Any]) -> int:
    """A list in a list is a prompt of tokens; what is deeper means nothing."""
    return sum([_characters(one) for one in given if not isinstance(one, list)])


def _is_media(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type", "text") != "text"


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
