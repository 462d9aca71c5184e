"""A request of Anthropic's Messages API, as the chat completion that it stands for. Pure.

    data   MessagesRequest, CountRequest   their fields, with types and limits; unknown ones are passed over
    verbs  chat_of                         the chat completion's body; InvalidArgument names what cannot be one
    near   `engine.gateway.messages` takes them, `messages_answer` writes the answers

Source: https://docs.anthropic.com/en/api/messages, /messages-count-tokens, /tool-use
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from client.errors import InvalidArgument
from engine.replica.fields import MAX_CONTENT_PARTS, MAX_MESSAGES, MAX_STOPS, StopText
from engine.replica.tool_fields import MAX_TOOLS, CallId, FunctionName
from engine.replica.wire_types import Body, Integer, Number, Text

Json = dict[str, Any]
ONLY_TEXT = "only text is read here"


class Block(Body):
    """One block of a turn. Which of the fields it has its type says."""

    type: Text
    text: Text | None = None
    id: CallId | None = None
    name: FunctionName | None = None
    input: Json | None = None
    tool_use_id: CallId | None = None
    content: Text | Annotated[list[Block], Field(fail_fast=True, max_length=MAX_CONTENT_PARTS)] | None = None
    is_error: bool | None = None
    thinking: Text | None = None


Blocks = Annotated[list[Block], Field(fail_fast=True, max_length=MAX_CONTENT_PARTS)]


class Turn(Body):
    role: Literal["user", "assistant"]
    content: Text | Blocks


class Tool(Body):
    type: Text | None = None
    name: FunctionName
    description: Text | None = None
    input_schema: Json | None = None
    strict: bool | None = None


class Choice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: Text | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Body):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Integer | None = None


class Format(Body):
    type: Literal["json_schema"]
    schema_: Json = Field(alias="schema")


class OutputConfig(Body):
    format: Format | None = None


class Metadata(Body):
    user_id: Text | None = None


class CountRequest(Body):
    """What decides how many tokens a prompt has."""

    model: Text
    messages: Annotated[list[Turn], Field(fail_fast=True, min_length=1, max_length=MAX_MESSAGES)]
    system: Text | Blocks | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None


class MessagesRequest(CountRequest):
    max_tokens: Annotated[Integer, Field(ge=1, lt=2**31)]
    stop_sequences: Annotated[list[StopText], Field(fail_fast=True, max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[Integer, Field(ge=0, le=100)] | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None


def chat_of(request: CountRequest) -> Json:
    """The body of the chat completion. `stream_options` and `return_stop_reason` are for `messages_answer`."""
    body: Json = {"model": request.model, "messages": [*_system(request.system), *_turns(request.messages)]}
    body |= _tools(request)
    if request.thinking is not None and request.thinking.type != "adaptive":
        body["thinking"] = request.thinking.model_dump(exclude_none=True)
    if isinstance(request, MessagesRequest):
        body |= _generation(request)
    return body


def _generation(request: MessagesRequest) -> Json:
    asked: Json = {
        "max_tokens": request.max_tokens, "temperature": request.temperature, "top_p": request.top_p,
        "top_k": request.top_k, "stop": request.stop_sequences or None, "stream": request.stream,
        "user": request.metadata.user_id if request.metadata else None,
    }  # fmt: skip
    wanted = {name: value for name, value in asked.items() if value is not None}
    if request.stop_sequences:
        wanted["return_stop_reason"] = True
    if request.output_config is not None and request.output_config.format is not None:
        wanted["response_format"] = {"type": "json_schema", "json_schema": request.output_config.format.schema_}
    return wanted


def _system(system: str | list[Block] | None) -> Iterator[Json]:
    if system:
        yield {"role": "system", "content": system if isinstance(system, str) else _texts(system, "system")}


def _turns(turns: list[Turn]) -> Iterator[Json]:
    if turns[-1].role == "assistant":
        raise InvalidArgument(
            "the last turn is the assistant's: answers are not continued here", field=f"messages.{len(turns) - 1}.role",
            hint="end with a turn of the user's",
        )  # fmt: skip
    for place, turn in enumerate(turns):
        field = f"messages.{place}.content"
        if isinstance(turn.content, str):
            yield {"role": turn.role, "content": turn.content}
        elif turn.role == "user":
            yield from _said_by_the_user(turn.content, field)
        else:
            yield _said_by_the_assistant(turn.content, field)


def _said_by_the_user(blocks: list[Block], field: str) -> Iterator[Json]:
    """Results of tools are messages of their own, before what the user says beside them."""
    for at, block in enumerate(blocks):
        if block.type == "tool_result":
            if block.tool_use_id is None:
                raise InvalidArgument(f"{field}.{at}.tool_use_id: is required", field=f"{field}.{at}.tool_use_id")
            content = block.content or ""
            text = content if isinstance(content, str) else _texts(content, f"{field}.{at}.content")
            yield {
                "role": "tool", "tool_call_id": block.tool_use_id,
                "content": f"Error: {text}" if block.is_error else text,
            }  # fmt: skip
    said = [block for block in blocks if block.type != "tool_result"]
    if said or not blocks:
        yield {"role": "user", "content": _texts(said, field)}


def _said_by_the_assistant(blocks: list[Block], field: str) -> Json:
    thoughts = "".join(block.thinking or "" for block in blocks if block.type == "thinking")
    calls = [_call(block, f"{field}.{at}") for at, block in enumerate(blocks) if block.type == "tool_use"]
    said = [block for block in blocks if block.type not in ("thinking", "redacted_thinking", "tool_use")]
    message: Json = {"role": "assistant", "content": _texts(said, field)}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = thoughts
    return message


def _call(block: Block, field: str) -> Json:
    for name in ("id", "name"):
        if getattr(block, name) is None:
            raise InvalidArgument(f"{field}.{name}: is required", field=f"{field}.{name}")
    function = {"name": block.name, "arguments": json.dumps(block.input or {})}
    return {"id": block.id, "type": "function", "function": function}


def _texts(blocks: list[Block], field: str) -> str:
    for at, block in enumerate(blocks):
        if block.type != "text" or block.text is None:
            raise InvalidArgument(
                f"{field}.{at}: {block.type[:40]} blocks are not supported", field=field, hint=ONLY_TEXT
            )
    return "".join(block.text or "" for block in blocks)


def _tools(request: CountRequest) -> Json:
    body: Json = {}
    if request.tools:
        body["tools"] = [_tool(tool, place) for place, tool in enumerate(request.tools)]
    choice = request.tool_choice
    if choice is None:
        return body
    if choice.type == "tool":
        if choice.name is None:
            raise InvalidArgument("tool_choice.name: is required", field="tool_choice.name")
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        body["tool_choice"] = "required" if choice.type == "any" else choice.type
    if choice.disable_parallel_tool_use:
        body["parallel_tool_calls"] = False
    return body


def _tool(tool: Tool, place: int) -> Json:
    if tool.type not in (None, "custom"):
        raise InvalidArgument(
            f"tools.{place}.type: there is no {tool.type[:40]} here", field=f"tools.{place}.type",
            hint="declare a tool of your own, with an input_schema",
        )  # fmt: skip
    function = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    function["strict"] = tool.strict  # type: ignore[assignment]
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}
