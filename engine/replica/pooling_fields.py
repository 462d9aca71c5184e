"""The request bodies of /v1/embeddings and /v1/rerank, as pydantic models: types, ranges, defaults.

Sources: https://docs.fireworks.ai/api-reference/creates-an-embedding-vector-representing-the-input-text
         https://docs.fireworks.ai/api-reference/rerank-documents
They stand apart from what computes the answers, so that whoever describes the wire loads no model library.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from engine.replica.wire_types import Body, Integer, Text, TokenId, whole_text

MAX_INPUTS = 2048
MAX_INPUT_IDS = 2**20  # beyond any model's context
MAX_DOCUMENTS = 1024
# Fields of the wire that are refused: silently ignored they would change what the answer means.
NOT_WITH_EMBEDDINGS = ("prompt_template", "return_logits", "lora")
NOT_WITH_RERANK = ("task", "lora")


def _inputs(value: Any) -> list[str] | list[list[int]]:
    """Text, texts, token ids or lists of token ids, always as a list of inputs."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError("must be text, token ids, or a list of either, and not empty")
    if type(value[0]) is int:
        value = [value]
    if len(value) > MAX_INPUTS:
        raise ValueError(f"must be at most {MAX_INPUTS} inputs")
    if all(isinstance(one, str) for one in value):
        return [whole_text(one) for one in value]
    if any(isinstance(one, dict) for one in value):
        raise ValueError("objects need a prompt_template, which is not supported: send text")
    return [_ids(one) for one in value]


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or len(value) > MAX_INPUT_IDS:
        raise ValueError("must be text, token ids, or a list of either, not a mixture")
    if not all(type(token) is int and 0 <= token < 2**31 for token in value):
        raise ValueError("must be token ids: whole numbers from 0")
    return value


_Ids = Annotated[list[TokenId], Field(max_length=MAX_INPUT_IDS)]
_Several = Field(min_length=1, max_length=MAX_INPUTS)
# The forms of what is checked by hand, as documents describe them.
_InputForms = (
    str
    | Annotated[list[str], _Several]
    | Annotated[list[TokenId], Field(min_length=1)]
    | Annotated[list[_Ids], _Several]
)


class EmbeddingRequest(Body):
    model: Text = ""
    input: Annotated[list[str] | list[list[int]], PlainValidator(_inputs, json_schema_input_type=_InputForms)]
    dimensions: Annotated[Integer, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    normalize: bool | None = None
    user: Text | None = None


_NotEmpty = Annotated[Text, Field(min_length=1)]


def _documents(value: Any) -> list[str]:
    """Texts, or objects with a `text`."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_DOCUMENTS:
        raise ValueError(f"must be a list of 1 to {MAX_DOCUMENTS} texts")
    texts: list[Any] = [one.get("text") if isinstance(one, dict) else one for one in value]
    if not all(isinstance(one, str) and one for one in texts):
        raise ValueError("must be texts, none of them empty")
    return [whole_text(one) for one in texts]


class Document(Body):
    text: _NotEmpty


_DocumentForms = Annotated[list[_NotEmpty | Document], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class RerankRequest(Body):
    model: Text = ""
    query: _NotEmpty
    documents: Annotated[list[str], PlainValidator(_documents, json_schema_input_type=_DocumentForms)]
    top_n: Annotated[Integer, Field(ge=1)] | None = None
    return_documents: bool | None = None
