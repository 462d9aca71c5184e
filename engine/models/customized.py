"""`fireworks.json` beside a model's files: how conversations become its prompts, and what a request means that says
nothing. In the GGUF file that is made of the folder its template is the file's own, and the rest stands below the keys
here, where a replica finds it (`engine.replica.defaults`).

    {"conversation_config": {"style": "jinja", "args": {"template": "...", "system": "..."}},
     "defaults": {"stop": ["<|im_end|>"], "temperature": 0.6, "top_p": 0.9, "top_k": 40}}

What is not understood is refused with the reason. Source of the fields: https://docs.fireworks.ai (uploading models,
fireworks.json; conversation styles).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models.cursor import open_regular

NAME = "fireworks.json"
DEFAULTS_KEY, CONVERSATION_KEY = "firedeck.defaults", "firedeck.conversation"  # JSON texts of a GGUF file's metadata
MAX_BYTES = 1 << 20
STOPS_MAX, STOP_CHARS_MAX = 4, 256  # as of a request
STYLES = ("jinja", "chatml")
# Least, most, and whether it is a whole number.
_RANGES: Mapping[str, tuple[float, float, bool]] = MappingProxyType({
    "temperature": (0, 2, False), "top_p": (0, 1, False), "min_p": (0, 1, False), "top_k": (0, 100, True),
    "presence_penalty": (-2, 2, False), "frequency_penalty": (-2, 2, False), "repetition_penalty": (0, 2, False),
})  # fmt: skip
_CHATML_SYSTEM = "You are a helpful assistant."
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Its text comes first where the conversation does not begin with one of its own.
_SYSTEM = (
    "{%% if messages[0]['role'] != 'system' %%}{%% set messages = [{'role': 'system', 'content': %s}] + messages %%}"
    "{%% endif %%}"
)
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Conversation:
    """As `conversation_config` and a model's `conversationConfig` have it."""

    style: str
    template: str | None = None
    system: str | None = None

    @property
    def source(self) -> str:
        """The Jinja template."""
        system = self.system if self.system is not None or self.style == "jinja" else _CHATML_SYSTEM
        # JSON's texts are Jinja's too.
        first = _SYSTEM % json.dumps(system, ensure_ascii=False) if system is not None else ""
        return first + (self.template or _CHATML)


@dataclass(frozen=True, slots=True)
class Customized:
    """What a fireworks.json says; `defaults` by the names of a request's fields."""

    conversation: Conversation | None = None
    defaults: Mapping[str, Any] = field(default_factory=lambda: _NONE)

    @property
    def metadata(self) -> dict[str, str]:
        """Of the GGUF file."""
        found = {DEFAULTS_KEY: json.dumps(dict(self.defaults))} if self.defaults else {}
        if (talk := self.conversation) is not None:
            told = {"style": talk.style} | ({"system": talk.system} if talk.system is not None else {})
            found |= {CONVERSATION_KEY: json.dumps(told), "tokenizer.chat_template": talk.source}
        return found


def read(files: Mapping[str, Path], declared: Conversation | None = None) -> Customized:
    """What the fireworks.json among `files` says, if there is one, and the conversation that was `declared` with the
    model. InvalidArgument for what is unusable, FailedPrecondition for what is not understood here."""
    found = _read(_parsed(files[NAME])) if NAME in files else Customized()
    if declared is None:
        return found
    if found.conversation is not None:
        raise FailedPrecondition(
            f"{NAME} has a conversation_config, and the model a conversationConfig", field="conversationConfig",
            hint="leave one of them out",
        )  # fmt: skip
    return Customized(declared, found.defaults)


def conversation(style: Any, template: Any, system: Any, at: str) -> Conversation:
    """One that can be served; `at` is where it stands."""
    if style not in STYLES:
        raise FailedPrecondition(
            f"the conversation style {str(style)[:40]!r} is not served ({', '.join(STYLES)} are)", field=at,
            hint='write it as a template: {"style": "jinja", ...}',
        )  # fmt: skip
    for name, value in (("template", template), ("system", system)):
        if value is not None and not _is_text(value):
            raise _bad(f"its {name} is no text", at)
    if (style == "jinja") != bool(template):
        raise _bad("a template goes with the style jinja, and with it alone", at)
    return Conversation(style, template, system)


def check_unused(files: Mapping[str, Path], declared: Any, what: str) -> None:
    """FailedPrecondition where something is said of a conversation that `what`, whose files these are, cannot have."""
    said = _read(_parsed(files[NAME])) if NAME in files else Customized()
    if said != Customized() or declared is not None:
        where = NAME if said != Customized() else "conversationConfig"
        raise FailedPrecondition(
            f"{where} is not served of {what}", field="conversationConfig" if where != NAME else "file",
            hint="leave it out, and give it with the base model's folder (config.json, tokenizer.json, safetensors)",
        )  # fmt: skip


def _read(whole: Any) -> Customized:
    if not isinstance(whole, dict):
        raise _bad("it is not a JSON object")
    _known(whole, ("base_model", "conversation_config", "defaults"), "it")
    talk = None
    if (given := whole.get("conversation_config")) is not None:
        if not isinstance(given, dict) or not isinstance(given.get("args") or {}, dict):
            raise _bad("its conversation_config is no object, or its args are none")
        args = given.get("args") or {}
        _known(given, ("style", "args"), "conversation_config")
        _known(args, ("template", "system"), "conversation_config.args")
        talk = conversation(given.get("style"), args.get("template"), args.get("system"), "file")
    return Customized(talk, defaults(whole.get("defaults")))


def defaults(given: Any) -> dict[str, Any]:
    """What a request may leave out: stop words, and how tokens are chosen. FiredeckError for anything else."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _bad("its defaults are no object")
    _known(given, ("stop", *_RANGES), "defaults")
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        if name == "stop":
            found = found | {"stop": _stops(value)}
            continue
        low, high, whole = _RANGES[name]
        if type(value) not in ((int,) if whole else (int, float)) or not low <= value <= high:
            raise _bad(f"its default {name} is {str(value)[:40]} ({low} to {high} are accepted)")
    return found


def _stops(value: Any) -> list[str]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not 1 <= len(stops) <= STOPS_MAX:
        raise _bad(f"its default stop is not one to {STOPS_MAX} texts")
    if not all(_is_text(one) and 1 <= len(one) <= STOP_CHARS_MAX for one in stops):
        raise _bad(f"a text of its default stop does not have 1 to {STOP_CHARS_MAX} characters")
    return list(stops)


def _is_text(value: Any) -> bool:
    """JSON can say half of a character, which no file can hold."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _known(given: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in given:
        if name not in names:
            raise FailedPrecondition(
                f"{NAME}: {where} has {str(name)[:40]!r}, which is not served ({', '.join(names)} are)", field="file",
                hint="leave it out; what a request should say it says itself",
            )  # fmt: skip


def _parsed(path: Path) -> Any:
    with open_regular(path) as fd:
        raw = os.pread(fd, MAX_BYTES + 1, 0)
    if len(raw) > MAX_BYTES:
        raise _bad(f"it has more than {MAX_BYTES:,} bytes")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _bad(f"it is not JSON: {str(error)[:80]}") from None


def _bad(why: str, at: str = "file") -> FiredeckError:
    where = NAME if at == "file" else at
    return InvalidArgument(f"{where} is not usable: {why}", field=at, hint='{"conversation_config": {...}, ...}')
