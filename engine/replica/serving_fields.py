"""What a request may say about how it is served: expected output, speculation, adapters, urgency.

None of it changes which text is right, `lora` excepted. `rewrite_speculation` and `adaptive_speculation` are taken
and change nothing: drafts are always matched anew after a difference, and their length always adapts.

Sources: https://docs.fireworks.ai/api-reference, https://platform.openai.com/docs/guides/predicted-outputs,
llama-server's README (`lora`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from engine.replica.wire_types import Body, Number, Text, TokenId, whole_text

MAX_ADAPTERS = 8
MAX_ADAPTER_SCALE = 4.0
MAX_ADAPTER_NAME_CHARS = 256
MAX_EXPECTED_TOKENS = 2**20  # given as ids; beyond any model's context
MAX_PARTS = 1024
PRIORITIES = {"priority": 1, "flex": -1}  # of a service tier; the others are 0


def _expected(value: Any) -> Any:
    """Text or token ids; by hand, because a union tries each branch on every element."""
    if value is None or isinstance(value, str):
        return value if value is None else whole_text(value)
    if not isinstance(value, list) or len(value) > MAX_EXPECTED_TOKENS:
        raise ValueError(f"must be text or up to {MAX_EXPECTED_TOKENS} token ids")
    if not all(type(token) is int and 0 <= token < 2**31 for token in value):
        raise ValueError("must be text or token ids: whole numbers from 0")
    return value


_ExpectedForms = str | Annotated[list[TokenId], Field(max_length=MAX_EXPECTED_TOKENS)] | None


class ExpectedPart(Body):
    type: Literal["text"]
    text: Text


class Prediction(Body):
    """OpenAI's predicted output."""

    type: Literal["content"] = "content"
    content: Text | Annotated[list[ExpectedPart], Field(fail_fast=True, max_length=MAX_PARTS)]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class AdapterRequest(Body):
    """One LoRA adapter by name, and how strongly it acts."""

    id: Annotated[Text, Field(min_length=1, max_length=MAX_ADAPTER_NAME_CHARS)]
    scale: Annotated[Number, Field(ge=-MAX_ADAPTER_SCALE, le=MAX_ADAPTER_SCALE)] = 1.0


class ServingFields(Body):
    prediction: Text | Prediction | None = None
    speculation: Annotated[str | list[int] | None, PlainValidator(_expected, json_schema_input_type=_ExpectedForms)] = (
        None
    )
    disable_speculation: bool | None = None
    rewrite_speculation: bool | None = None
    adaptive_speculation: bool | None = None
    lora: Annotated[list[AdapterRequest], Field(fail_fast=True, max_length=MAX_ADAPTERS)] | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None

    @property
    def expected(self) -> str | list[int]:
        """The output that the client expects, as text or token ids; empty for no expectation."""
        if isinstance(self.prediction, Prediction):
            return self.prediction.text
        return self.prediction or self.speculation or ""

    @property
    def priority(self) -> int:
        return PRIORITIES.get(self.service_tier or "", 0)
