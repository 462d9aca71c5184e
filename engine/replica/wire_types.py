"""The types that request bodies are made of: strict numbers, whole text, a base that drops what it does not know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from client.errors import InvalidArgument
from engine.replica.strict_json import parse_json

# What a value of the wrong type should have been, in JSON's words rather than Python's.
_WANTED: Mapping[str, str] = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
}
_WORDS: Mapping[str, str] = {
    "missing": "is required",
    "less_than": "must be less than {lt}",
    "string_too_short": "must not be empty",  # the only lower bound that texts and lists have here
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries, not {actual_length}",
}
_BRANCHES = frozenset({"str", "int", "bool"})  # as pydantic labels the branches of a union


def not_bool(value: Any) -> Any:
    """JSON's true is no number, whatever Python thinks."""
    if isinstance(value, (bool, str)):
        raise ValueError("must be a number")
    return value


def whole(value: Any) -> Any:
    """The same for whole numbers."""
    if isinstance(value, (bool, str)):
        raise ValueError("must be a whole number")
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
Integer = Annotated[int, BeforeValidator(whole)]
Schema = Annotated[dict[str, Any], BeforeValidator(schema, json_schema_input_type=dict[str, Any] | str)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]  # as documents describe it: lists of them are checked by hand


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
        raise _refusal(error) from None


def read(kind: type[Kind], raw: bytes, not_built: Sequence[str]) -> Kind:
    """The body as `kind`. Raises InvalidArgument, also for the fields of `not_built`, which would go unheeded."""
    body = parse_json(raw)
    request = validated(kind, body)
    for field in not_built:
        if body.get(field) is not None:
            raise InvalidArgument(f"{field}: not supported", field=field)
    return request


def _refusal(error: ValidationError) -> InvalidArgument:
    """The first complaint, with the field's path and in the words of the wire.

    A union complains once for each branch. The branch that the client meant is the one that understood most: the
    deepest path, then the one that took the type; when none did, all types are named.
    """
    found = [(_path(one["loc"]), one) for one in error.errors(include_url=False, include_input=False)]
    first = found[0][0]
    rivals = [(path, one) for path, one in found if path[: len(first)] == first]
    depth = max(len(path) for path, _ in rivals)
    path = next(path for path, _ in rivals if len(path) == depth)
    field = ".".join(path) or None
    return InvalidArgument(f"{field or 'body'}: {_complaint([one for at, one in rivals if at == path])}", field=field)


def _path(places: Sequence[int | str]) -> tuple[str, ...]:
    """As the wire spells it: names are in lower case, which the labels of a union's other branches are not."""
    names = [str(p) for i, p in enumerate(places) if i == 0 or isinstance(p, int) or str(p).isidentifier()]
    return tuple(name for name in names if name not in _BRANCHES and name == name.lower())


def _complaint(errors: Sequence[ErrorDetails]) -> str:
    """What is wrong at one place."""
    told = [one for one in errors if one["type"] not in _WANTED]
    wanted = dict.fromkeys(_WANTED[one["type"]] for one in errors if one["type"] in _WANTED)
    if wanted and (not told or told[0]["type"] == "literal_error"):
        return f"must be {' or '.join(wanted)}"
    first = told[0]
    if first["type"] in _WORDS:
        return _WORDS[first["type"]].format(**first.get("ctx", {}))
    return re.sub(r"^(?:Input|String|List|Dictionary) should ", "must ", first["msg"].removeprefix("Value error, "))
