"""What every control-plane message is made of: protojson's names, durations, instants and numbers.

Source: https://protobuf.dev/programming-guides/json/
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from client import durations, instants
from client.errors import InvalidArgument

INT32_MAX = 2**31 - 1
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)


class Wire(BaseModel):
    """A message of the control plane: camelCase on the wire, snake_case accepted too, unset fields left out."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", protected_namespaces=(),
        defer_build=True,  # hundreds of messages, of which a command or a page uses a few
    )  # fmt: skip

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _read_duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value if isinstance(value, timedelta) else _refuse_duration(value)
    try:
        return durations.parse(value)
    except InvalidArgument as error:
        raise ValueError(error.text) from error


def _refuse_duration(value: Any) -> Any:
    raise ValueError(f"{value!r} is not a duration: write it as a string like '30s', '10m' or '1h30m'")


def _read_time(value: Any) -> datetime:
    if not isinstance(value, str | datetime):
        raise ValueError(f"{value!r} is not a time: {instants.HINT}")
    try:
        return instants.in_utc(value) if isinstance(value, datetime) else instants.parse(value)
    except InvalidArgument as error:
        raise ValueError(error.text) from error
    except OverflowError as error:
        raise ValueError("the time is out of range") from error


def _write_time(value: datetime) -> str:
    """To the millisecond, or to the microsecond where there are such: an instant comes back as it was given."""
    digits = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return value.astimezone(UTC).isoformat(timespec=digits).replace("+00:00", "Z")


def _read_whole(value: Any) -> Any:
    """protojson takes whole numbers as text too, and with a fraction of zero; what is neither stays as it is."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read_int64(value: Any) -> Any:
    whole = _read_whole(value)
    return str(whole) if isinstance(whole, int) and not isinstance(whole, bool) else value


_DURATION_SCHEMA = {
    "type": "string",
    "description": "seconds with the suffix s, or Go's 1h30m; whole microseconds",
    "pattern": r"^[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
}

Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(durations.to_proto, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
Timestamp = Annotated[datetime, BeforeValidator(_read_time), PlainSerializer(_write_time, return_type=str)]
Count = Annotated[int, BeforeValidator(_read_whole), Field(strict=True, ge=0, le=INT32_MAX)]
ReplicaCount = Annotated[int, BeforeValidator(_read_whole), Field(strict=True, ge=0, le=1000)]
Int64 = Annotated[str, BeforeValidator(_read_int64)]  # protojson writes 64 bits as text, and reads either
Flag = Annotated[bool, Field(strict=True)]
DisplayName = Annotated[str, Field(max_length=63)]
Description = Annotated[str, Field(max_length=999)]


class Status(Wire):
    """How the last operation on a resource went: google.rpc's code by name, and a sentence."""

    code: str = "OK"
    message: str = ""
