"""Chat requests as templates read them: messages with calls and results, tools, and what is known of the reasoning.

Older forms (functions, function_call, messages of role `function`) become today's here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from client.errors import InvalidArgument
from engine.replica.fields import ChatRequest, Message

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """`messages`: role and content as text; on the assistant's maybe tool_calls (arguments as objects) and
    reasoning_content, on results tool_call_id and name. `tools`: OpenAI's documents; none are shown when empty.
    `thinks`: whether the model shall think (None: as it likes), `effort`: how hard, in the wire's word."""

    messages: list[Json]
    tools: list[Json] = field(default_factory=list)
    thinks: bool | None = None
    effort: str | None = None
    history: str | None = None


def conversation(request: ChatRequest) -> Conversation:
    """Raises InvalidArgument for results that answer no call, and for content that is no text."""
    effort = request.reasoning_effort
    return Conversation(
        messages=_with_history(_Messages(request.messages).all(), request.reasoning_history),
        tools=[function.document() for function in request.function_specs] if request.callable_functions else [],
        thinks=request.thinks,
        effort=effort if isinstance(effort, str) and effort != "none" else None,
        history=request.reasoning_history,
    )


class _Messages:
    """Turns the messages one by one, with an eye on which calls have been made."""

    def __init__(self, messages: list[Message]) -> None:
        self._given = messages
        self._called: dict[str, str] = {}  # id of a call -> name of its function

    def all(self) -> list[Json]:
        return [self._document(message, f"messages.{place}") for place, message in enumerate(self._given)]

    def _document(self, message: Message, place: str) -> Json:
        document: Json = {"role": message.role, "content": message.text(f"{place}.content")}
        if message.role == "assistant":
            return document | self._assistant(message, place)
        if message.role == "tool":
            return document | self._result(message, place)
        if message.role == "function":
            return document | {"role": "tool"} | self._old_result(message, place)
        return document

    def _assistant(self, message: Message, place: str) -> Json:
        extra: Json = {}
        if message.reasoning_content:
            extra["reasoning_content"] = message.reasoning_content
        calls = [(call.id, call.function) for call in message.tool_calls or ()]
        if message.function_call is not None:
            calls.append((_old_id(place), message.function_call))
        self._called |= {identifier: function.name for identifier, function in calls}
        if calls:
            extra["tool_calls"] = [
                {
                    "id": identifier,
                    "type": "function",
                    "function": {"name": function.name, "arguments": function.arguments},
                }
                for identifier, function in calls
            ]
        return extra

    def _result(self, message: Message, place: str) -> Json:
        identifier = message.tool_call_id
        if identifier is None:
            raise InvalidArgument("a tool message needs the id of the call it answers", field=f"{place}.tool_call_id")
        if identifier not in self._called:
            raise InvalidArgument(
                "a tool message must answer a call in an assistant message before it", field=f"{place}.tool_call_id"
            )
        return {"tool_call_id": identifier, "name": self._called[identifier]}

    def _old_result(self, message: Message, place: str) -> Json:
        """Results by the function's name answer its latest call."""
        made = [identifier for identifier, name in self._called.items() if name == message.name]
        if not made:
            raise InvalidArgument(
                "a function message must name a function called in a message before it", field=f"{place}.name"
            )
        return {"tool_call_id": made[-1], "name": message.name}


def _old_id(place: str) -> str:
    return "call_" + hashlib.sha256(place.encode()).hexdigest()[:24]


def _with_history(messages: list[Json], history: str | None) -> list[Json]:
    """Reasoning of earlier turns: none (`disabled`), since the last user message (`interleaved`), or all of it."""
    if history not in ("disabled", "interleaved"):
        return messages
    last_user = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=-1)
    kept = len(messages) if history == "disabled" else last_user
    return [
        {key: value for key, value in message.items() if key != "reasoning_content"} if place < kept else message
        for place, message in enumerate(messages)
    ]
