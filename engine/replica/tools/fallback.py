"""Tools for chat templates that know of none: the system message tells of them, calls and results are plain text.

The spelling is that of Hermes function calling, which most models have seen: JSON between <tool_call> and </tool_call>.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

_INSTRUCTION = """\
You can call functions. Each line is one of them:
<tools>
{tools}
</tools>
To call a function, answer with its name and arguments as JSON, like this:
<tool_call>
{{"name": "function_name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


def instruction(tools: Sequence[dict[str, Any]]) -> str:
    """What the system message says about the tools."""
    lines = (json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    return _INSTRUCTION.format(tools="\n".join(lines))


def with_instruction(messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, role: str) -> list[Message]:
    """The messages with the tools told in the first one of `role` ("system": made when the first is none)."""
    text = instruction(tools)
    at = next((i for i, message in enumerate(messages) if message["role"] == role), None)
    if role == "system" and at != 0:
        return [{"role": "system", "content": text}, *messages]
    if at is None:
        return [{"role": role, "content": text}, *messages]
    told = messages[at] | {"content": "\n\n".join(filter(None, (messages[at]["content"], text)))}
    return [*messages[:at], told, *messages[at + 1 :]]


def as_text(messages: Sequence[Message]) -> list[Message]:
    """The messages with calls and results as text of the assistant and of the user."""
    plain: list[Message] = []
    for message in messages:
        if message["role"] == "tool":
            _add_result(plain, f"<tool_response>\n{message['content']}\n</tool_response>")
        elif message.get("tool_calls"):
            calls = (_call(call["function"]) for call in message["tool_calls"])
            kept = {key: value for key, value in message.items() if key != "tool_calls"}
            plain.append(kept | {"content": "\n".join(filter(None, (message["content"], *calls)))})
        else:
            plain.append(message)
    return plain


def with_text_arguments(messages: Sequence[Message]) -> list[Message]:
    """The messages with the arguments of calls as JSON text."""
    return [
        message | {"tool_calls": [_with_text(call) for call in message["tool_calls"]]}
        if "tool_calls" in message
        else message
        for message in messages
    ]


def _with_text(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return call | {"function": function | {"arguments": json.dumps(function["arguments"], ensure_ascii=False)}}


def _add_result(plain: list[Message], text: str) -> None:
    """Results in a row are one message: templates want user and assistant to take turns."""
    if plain and plain[-1]["role"] == "user" and plain[-1]["content"].endswith("</tool_response>"):
        plain[-1] = plain[-1] | {"content": f"{plain[-1]['content']}\n{text}"}
    else:
        plain.append({"role": "user", "content": text})


def _call(function: dict[str, Any]) -> str:
    told = {"name": function["name"], "arguments": function["arguments"]}
    return f"<tool_call>\n{json.dumps(told, ensure_ascii=False)}\n</tool_call>"
