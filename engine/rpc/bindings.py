"""How a call becomes a request: the `google.api.http` annotation of a method, applied to its message. Pure.

Source: https://github.com/googleapis/googleapis/blob/master/google/api/http.proto, read from the other side: there a
gateway makes calls of requests, here requests are made of calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any
from urllib.parse import quote

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from client.errors import InvalidArgument

_VARIABLE = re.compile(r"\{([a-z_.]+)(?:=([^}]+))?\}")
_NAME = re.compile(r"\{\w+\}")
_SEGMENT = r"[^/]+"
_WHOLE = (
    FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be asked of the REST routes. `query` in the order of the message's fields; `body` None for none."""

    verb: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: Any


@dataclass(frozen=True, slots=True)
class Binding:
    """One verb and path; `body` names the field that is the body, "*" for the whole message, "" for none."""

    verb: str
    template: str
    body: str

    @property
    def route(self) -> tuple[str, str]:
        """The verb and the path, with `*` for each name in it: as `plain` makes of a route of ours."""
        return self.verb, _VARIABLE.sub(lambda found: found[2] or "*", self.template)

    def request(self, message: Message) -> Request:
        """The request that stands for a call with this message. InvalidArgument where a name in it does not fit."""
        named = {_camel(found[1].partition(".")[0]) for found in _VARIABLE.finditer(self.template)}
        path = _VARIABLE.sub(lambda found: _filled(message, found[1], found[2] or "*"), self.template)
        fields = MessageToDict(message)
        body = fields.pop(_camel(self.body), {}) if self.body else None
        left = {field: value for field, value in fields.items() if field not in named}
        if self.body == "*":
            return Request(self.verb, path, (), _zeros(message) | left)
        return Request(self.verb, path, tuple(_flat("", left)), body)


def plain(path: str) -> str:
    """A route's path template with `*` for each name in it."""
    return _NAME.sub("*", path)


def binding_of(method: MethodDescriptor) -> Binding | None:
    """The method's first binding, None where it has none."""
    options = descriptor_pb2.MethodOptions.FromString(method.GetOptions().SerializeToString())
    rule: http_pb2.HttpRule = options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    if verb is None or verb == "custom":
        return None
    return Binding(verb.upper(), getattr(rule, verb), rule.body)


def _zeros(message: Message) -> dict[str, int]:
    """The whole numbers that protojson leaves out as 0: in a request of which they are all, 0 is what was asked."""
    fields = message.DESCRIPTOR.fields
    return {_camel(one.name): 0 for one in fields if one.cpp_type in _WHOLE and _is_plain(one)}


def _is_plain(field: FieldDescriptor) -> bool:
    """Whether nothing tells its zero from its absence, and it is one value."""
    return not field.has_presence and not field.is_repeated


def _filled(message: Message, field: str, pattern: str) -> str:
    """A variable's value, each of its segments quoted."""
    value = reduce(getattr, field.split("."), message)
    wanted = re.escape(pattern).replace(r"\*\*", ".+").replace(r"\*", _SEGMENT)
    if not isinstance(value, str) or not re.fullmatch(wanted, value):
        raise InvalidArgument(f"{field} {str(value)[:120]!r} is not of the form {pattern}", field=_camel(field))
    return "/".join(quote(segment, safe="") for segment in value.split("/"))


def _flat(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields as a query has them: nested ones by path, lists again and again, flags in JSON's words."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        for one in value if isinstance(value, list) else [] if isinstance(value, dict) else [value]:
            yield prefix + key, str(one).lower() if isinstance(one, bool) else str(one)


def _camel(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(part.title() for part in rest)
