"""Fields of chat requests about tools and reasoning: types, limits and what must hold between them.

Source: https://docs.fireworks.ai/guides/function-calling, https://platform.openai.com/docs/api-reference/chat
Schemas of tools are JSON of any shape here; those that force an answer are checked when the grammar is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator

from client.errors import InvalidArgument
from engine.replica.strict_json import parse_json
from engine.replica.wire_types import Body, Integer, Text

MAX_TOOLS = 128
MAX_TOOL_CALLS = 128  # of one message
MAX_SCHEMA_DEPTH = 64  # templates and JSON writers recurse
MAX_ID_CHARS = 256
MIN_BUDGET_TOKENS = 1024

_NAME = r"^[a-zA-Z0-9_-]{1,64}$"
FunctionName = Annotated[Text, Field(pattern=_NAME, json_schema_extra={"pattern": _NAME})]
CallId = Annotated[Text, Field(min_length=1, max_length=MAX_ID_CHARS)]


def shallow(value: Any) -> Any:
    """JSON that nests no deeper than MAX_SCHEMA_DEPTH and whose texts are whole."""
    level = [value]
    for _depth in range(MAX_SCHEMA_DEPTH):
        for one in level:
            if isinstance(one, str):
                one.encode("utf-8")
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return value
    raise ValueError(f"must not nest deeper than {MAX_SCHEMA_DEPTH}")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _arguments(value: Any) -> Any:
    """A call's arguments as an object; on the wire they are JSON text (Fireworks takes the object too)."""
    if isinstance(value, str):
        try:
            value = parse_json(value.encode("utf-8")) if value.strip() else {}
        except InvalidArgument:
            raise ValueError("must be a JSON object as text") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object as text")
    return shallow(value)


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`mode` is auto, none, required, or named with the function's `name`."""

    mode: str
    name: str = ""


def _tool_choice(value: Any) -> ToolChoice | None:
    """OpenAI's words and forms; `any` is another word for required, {type, name} another form of naming."""
    if value is None:
        return None
    if value in ("auto", "none", "required", "any"):
        return ToolChoice("required" if value == "any" else value)
    if isinstance(value, dict) and value.get("type", "function") == "function":
        function = value.get("function", value)
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str):
            return ToolChoice("named", name)
    raise ValueError("must be auto, none, required, any or {type: function, function: {name}}")


def _effort(value: Any) -> Any:
    """low, medium, high, none, a switch, or a limit in tokens."""
    if value is None or isinstance(value, bool) or value in ("low", "medium", "high", "none"):
        return value
    if isinstance(value, int) and 0 <= value < 2**31:
        return value
    raise ValueError("must be low, medium, high, none, true, false or a number of tokens")


class ChosenName(Body):
    name: Text


class ChosenFunction(Body):
    """The function that has to be called, in OpenAI's form."""

    type: Literal["function"] = "function"
    function: ChosenName


class ChosenByName(ChosenName):
    """The function that has to be called, in the other form."""

    type: Literal["function"] = "function"


# The forms of what is checked by hand, as documents describe them.
_ChoiceForms = Literal["auto", "none", "required", "any"] | ChosenFunction | ChosenByName | None
_EffortForms = Literal["low", "medium", "high", "none"] | bool | Annotated[int, Field(ge=0, lt=2**31)] | None
Choice = Annotated[ToolChoice | None, PlainValidator(_tool_choice, json_schema_input_type=_ChoiceForms)]
Effort = Annotated[bool | int | str | None, PlainValidator(_effort, json_schema_input_type=_EffortForms)]
Arguments = Annotated[dict[str, Any], PlainValidator(_arguments, json_schema_input_type=str | dict[str, Any])]


class FunctionSpec(Body):
    """A function that may be called. `strict` changes what a forced call does with a schema it cannot follow."""

    name: FunctionName
    description: Text | None = None
    parameters: Annotated[dict[str, Any], AfterValidator(shallow)] | None = None
    strict: bool | None = None

    def document(self) -> dict[str, Any]:
        """As templates read it: every key is there."""
        parameters = self.parameters or {"type": "object", "properties": {}}
        function = {"name": self.name, "description": self.description or "", "parameters": parameters}
        return {"type": "function", "function": function}


class Tool(Body):
    type: Literal["function"]
    function: FunctionSpec


class CalledFunction(Body):
    name: FunctionName
    arguments: Arguments = Field(default_factory=dict)


class ToolCall(Body):
    """A call that the assistant made earlier in the conversation."""

    id: CallId
    type: Literal["function"] = "function"
    function: CalledFunction


class Thinking(Body):
    """Whether the model may think before it answers, and for how many tokens."""

    type: Literal["enabled", "disabled"]
    budget_tokens: Annotated[Integer, Field(ge=MIN_BUDGET_TOKENS, lt=2**31)] | None = None


class ToolFields(Body):
    """What only chat requests have: tools, and the reasoning of models that think."""

    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: Choice = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[FunctionSpec], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    function_call: Choice = None
    reasoning_effort: Effort = None
    thinking: Thinking | None = None
    reasoning_history: Literal["disabled", "interleaved", "preserved"] | None = None

    @property
    def legacy_functions(self) -> bool:
        """Whether the request uses the names of before there were tools; the answer does then, too."""
        return bool(self.functions)

    @property
    def function_specs(self) -> list[FunctionSpec]:
        """Every function declared, under either name."""
        return self.functions or [tool.function for tool in self.tools or ()]

    @property
    def choice(self) -> ToolChoice:
        """What was chosen, under either name; auto when there are functions and no choice."""
        given = self.function_call if self.legacy_functions else self.tool_choice
        if given is not None:
            return given
        return ToolChoice("auto" if self.function_specs else "none")

    @property
    def callable_functions(self) -> list[FunctionSpec]:
        """The functions that this answer may call."""
        choice = self.choice
        if choice.mode == "none":
            return []
        return [f for f in self.function_specs if choice.mode != "named" or f.name == choice.name]

    @property
    def thinks(self) -> bool | None:
        """Whether the model shall think; None when the request does not say. Models that never do take no notice:
        the answer is the one that was asked for, only without the wait."""
        if self.thinking is not None:
            return self.thinking.type == "enabled"
        effort = self.reasoning_effort
        return None if effort is None else effort not in (False, 0, "none")

    @property
    def thought_limit(self) -> tuple[int, str] | None:
        """The most tokens of reasoning, and the field that says so."""
        if self.thinking is not None and self.thinking.budget_tokens is not None:
            return self.thinking.budget_tokens, "thinking.budget_tokens"
        effort = self.reasoning_effort
        return (effort, "reasoning_effort") if type(effort) is int and effort > 0 else None


def check_tools(request: ToolFields) -> None:
    """What must hold between these fields. Raises InvalidArgument naming one of them."""
    if request.tools and request.functions:
        raise InvalidArgument("functions is the old name of tools: give one of them", field="functions")
    if request.thinking is not None and request.reasoning_effort is not None:
        raise InvalidArgument("give thinking or reasoning_effort, not both", field="thinking")
    base = "functions.{}" if request.legacy_functions else "tools.{}.function"
    seen: set[str] = set()
    for place, function in enumerate(request.function_specs):
        if function.name in seen:
            raise InvalidArgument(f"two functions are called {function.name}", field=base.format(place) + ".name")
        seen.add(function.name)
        if (function.parameters or {}).get("type", "object") != "object":
            field = base.format(place) + ".parameters"
            raise InvalidArgument("parameters must be the schema of an object", field=field)
    for field, choice, functions in (
        ("tool_choice", request.tool_choice, request.tools),
        ("function_call", request.function_call, request.functions),
    ):
        if choice is not None and choice.mode in ("required", "named"):
            _check_choice(field, choice, seen if functions else set())


def _check_choice(field: str, choice: ToolChoice, names: set[str]) -> None:
    if not names:
        other = "functions" if field == "function_call" else "tools"
        raise InvalidArgument(f"{field}: a call is demanded, but there are no {other}", field=field)
    if choice.mode == "named" and choice.name not in names:
        raise InvalidArgument(f"{field}: no function is called {choice.name[:64]!r}", field=field)
