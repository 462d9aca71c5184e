"""The types that request bodies are made of: strict numbers, whole text, a base that drops what it does not know."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from client.errors import InvalidArgument
from engine.replica.strict_json import parse_json


def not_bool(value: Any) -> Any:
    """JSON's true is no number, whatever Python thinks."""
    if isinstance(value, (bool, str)):
        raise ValueError("must be a number")
    return value


def whole_text(value: str) -> str:
    """Lone surrogates (legal in JSON escapes) are no text: they have no UTF-8."""
    value.encode("utf-8")
    return value


def schema(value: Any) -> Any:
    """A JSON schema may come as text."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value.encode("utf-8"))
    except InvalidArgument as error:
        raise ValueError(error.message.replace("the body", "the text")) from None


Text = Annotated[str, AfterValidator(whole_text)]
Number = Annotated[float, BeforeValidator(not_bool)]
Integer = Annotated[int, BeforeValidator(not_bool)]
Schema = Annotated[dict[str, Any], BeforeValidator(schema)]


class Body(BaseModel):
    """Unknown fields vanish; NaN and infinities are refused; nothing is converted."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, strict=True)


Kind = TypeVar("Kind", bound=Body)


def validated(kind: type[Kind], body: Any) -> Kind:
    """The body as `kind`. Raises InvalidArgument with the wire name of the first field at fault."""
    if not isinstance(body, dict):
        raise InvalidArgument("the body must be a JSON object")
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or None
        raise InvalidArgument(f"{field or 'body'}: {first['msg'].removeprefix('Value error, ')}", field=field) from None
