"""What a chat request asks of its answer, for one model: who reads the text, and the grammar that may force a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from client.errors import InvalidArgument
from engine.replica import ambiguity, grammar
from engine.replica.fields import ChatRequest
from engine.replica.llama import Model
from engine.replica.thought import ThoughtLimit
from engine.replica.tool_fields import FunctionSpec
from engine.replica.tools import AnswerPlan, after_reasoning, detect, either_gbnf, forced_gbnf

MAX_WIDTH = ambiguity.MAX_SCHEMA_WIDTH
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Demand:
    """What goes into the jobs of a request. `plan` is None when the text is the content as it stands."""

    plan: AnswerPlan | None = None
    gbnf: str | None = None
    field: str = "response_format"  # what asked for the grammar
    stops: tuple[str, ...] = ()
    special_text: frozenset[int] = frozenset()
    thought: ThoughtLimit | None = None


class AnswerMaker:
    """Requests to demands, for one loaded model. Any thread."""

    def __init__(self, model: Model) -> None:
        self._family = detect(model.chat_template or "")
        self._vocabulary = model.vocabulary

    def demand(self, request: ChatRequest, response_gbnf: str | None, *, inside_reasoning: bool) -> Demand:
        """Raises InvalidArgument for schemas that no grammar can follow. `response_gbnf`: of the response_format."""
        names = frozenset(function.name for function in request.callable_functions)
        family = self._family
        if not names and family.think is None and not family.channels:
            return Demand(gbnf=response_gbnf)
        shown = self._shown(with_calls=bool(names) or family.channels)
        single = request.parallel_tool_calls is False or request.legacy_functions or request.choice.mode == "named"
        plan = AnswerPlan(
            family,
            names,
            single=single,
            inside=inside_reasoning,
            dropped=tuple(text for text in shown if text != family.opening),
            legacy=request.legacy_functions,
            schemas={function.name: function.parameters or NO_PARAMETERS for function in request.callable_functions},
        )
        ends = (family.end_of_call,) if names and single and family.end_of_call else ()
        gbnf = self._gbnf(request, response_gbnf, plan)
        return Demand(
            plan,
            gbnf=gbnf,
            field="response_format" if gbnf == response_gbnf else "functions" if request.legacy_functions else "tools",
            stops=() if request.choice.mode in ("required", "named") else ends,
            special_text=frozenset(shown.values()),
            thought=self._thought(request, inside_reasoning),
        )

    def _thought(self, request: ChatRequest, inside: bool) -> ThoughtLimit | None:
        limit, think = request.thought_limit, self._family.think
        if limit is None or think is None:
            return None
        end = self._vocabulary.tokenize(think[1], add_special=False, parse_special=True)
        return ThoughtLimit(limit[0], *think, tuple(end), inside)

    def check_thought_limit(self, request: ChatRequest, max_tokens: int) -> None:
        """Refuse a limit on reasoning in channels that could be reached: it is not kept, and must not seem to be."""
        limit = request.thought_limit
        if limit is not None and self._family.channels and max_tokens > limit[0]:
            raise InvalidArgument(
                f"{limit[1]}: this model reasons in channels, which have no limit of their own;"
                " max_tokens limits the whole answer",
                field=limit[1],
            )

    def _shown(self, *, with_calls: bool) -> dict[str, int]:
        """The control tokens of this model that mean something in the text: spelling -> id."""
        markers = self._family.markers if with_calls else self._family.think or ()
        control = self._vocabulary.special_tokens
        return {text: token for text, token in control.items() if text and any(text in marker for marker in markers)}

    def _gbnf(self, request: ChatRequest, response_gbnf: str | None, plan: AnswerPlan) -> str | None:
        """A call when one is demanded; else what the response_format says, or a call. Both from the first token, or
        from the end of the reasoning that the prompt has opened."""
        gbnf, field = response_gbnf, "response_format"
        if request.choice.mode in ("required", "named"):
            gbnf, field = self._calls_gbnf(request, plan), "tools"
        elif gbnf is not None and plan.names:
            gbnf, field = either_gbnf(gbnf, self._calls_gbnf(request, plan)), "tools"
        if gbnf is not None and plan.inside and self._family.think is not None:
            gbnf = after_reasoning(self._family.think[1], gbnf)
        return gbnf if gbnf is None or gbnf == response_gbnf else grammar.check_gbnf(gbnf, field, MAX_WIDTH)

    def _calls_gbnf(self, request: ChatRequest, plan: AnswerPlan) -> str:
        place = "functions.{}.parameters" if request.legacy_functions else "tools.{}.function.parameters"
        functions = [
            (function.name, _arguments_gbnf(function, place.format(at)))
            for at, function in enumerate(request.function_specs)
            if function.name in plan.names
        ]
        return forced_gbnf(self._family, functions, several=not plan.single)


def _arguments_gbnf(function: FunctionSpec, field: str) -> str:
    """The grammar of a function's arguments. A schema beyond what grammars can say is an error when it is strict;
    otherwise the arguments are held to be an object, and the schema is the model's to follow."""
    try:
        return grammar.schema_to_gbnf(function.parameters or NO_PARAMETERS, field)
    except InvalidArgument:
        if function.strict:
            raise
        return grammar.any_json_object()
