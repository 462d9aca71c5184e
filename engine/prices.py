"""The price list: a TOML file that `firedeck serve --prices` names, in US dollars. What it does not list has no price.

    [hours]                            # an hour of one accelerator by type, or of a machine without any under "cpu"
    NVIDIA_H100_80GB = 5.80            # goes before what a node says of itself
    cpu = 0.20

    [[tokens]]                         # a million tokens; the first that holds a model counts
    models = ["accounts/fireworks/models/smollm2-*"]   # default: all
    parameters_up_to = 4e9             # default: any size, known or not
    size = "<4B"                       # or "4B-16B", ">16B", "MoE 0B-56B", "MoE 56B-176B"; default: any
    serverless = true                  # of serverless deployments alone; false: of all others; default: of both
    prompt = 0.10
    cached = 0.05                      # default: as `prompt`
    generated = 0.20

It is read again when it changes: requests that end from then on, and replicas that become READY from then on, have the
new prices; what has begun keeps its own. A file that cannot be read then leaves the former list in force.
"""

from __future__ import annotations

import contextlib
import logging
import math
import tomllib
from pathlib import Path
from typing import Any

from client.errors import FiredeckError, InvalidArgument, NotFound
from client.types import ACCELERATOR_TYPES
from engine.clock import Clock
from engine.control.price import CPU, SIZES, TOKEN_UNITS, Bucket, PriceList, Served, TokenPrice
from engine.library import Library

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
PRICE_MAX = 1e6  # US dollars
_TOKEN_FIELDS = {"models", "parameters_up_to", "size", "serverless", "prompt", "cached", "generated"}


class Prices:
    """The list in force. `file` None: nothing has a price but nodes that say it themselves."""

    def __init__(self, file: Path | None, library: Library, clock: Clock) -> None:
        """Raises InvalidArgument for a file that cannot be read."""
        self._file, self._library, self._clock = file, library, clock
        self._list = read(file) if file else PriceList()
        self._seen, self._looked_at = _version(file), clock.monotonic()
        self._tokens: dict[tuple[str, bool], TokenPrice | None] = {}

    def node_price(self, accelerator_type: str | None, accelerators: int) -> float | None:
        """See `PriceList.node_price`."""
        return self._current().node_price(accelerator_type, accelerators)

    def tokens(self, model: str, serverless: bool) -> TokenPrice | None:
        """Of a model by its full name, on a deployment that is `serverless` or not."""
        prices, key = self._current(), (model, serverless)
        if not prices.buckets:
            return None
        if key not in self._tokens:
            self._tokens[key] = prices.tokens(self._served(model, serverless=serverless))
        return self._tokens[key]

    def _served(self, model: str, *, serverless: bool) -> Served:
        with contextlib.suppress(NotFound, InvalidArgument):
            if details := self._library.served(model).base_model_details:
                parameters = int(details.parameter_count) if details.parameter_count else None
                return Served(model, parameters, details.moe, serverless)
        return Served(model, serverless=serverless)

    def _current(self) -> PriceList:
        now = self._clock.monotonic()
        if self._file is None or now - self._looked_at < LOOK_EVERY_S:
            return self._list
        self._looked_at, version = now, _version(self._file)
        if version == self._seen:
            return self._list
        self._seen = version
        try:
            self._list = read(self._file)
            self._tokens = {}
            log.info("the price list %s was read again", self._file)
        except FiredeckError as error:
            log.warning("the former prices stay in force: %s", error.text)
        return self._list


def _version(file: Path | None) -> tuple[int, int] | None:
    try:
        status = file.stat() if file else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size) if status else None


def read(file: Path) -> PriceList:
    """InvalidArgument names what is wrong."""
    try:
        return parse(tomllib.loads(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(f"{file} cannot be read: {why}", field="prices") from None
    except _Wrong as error:
        raise InvalidArgument(
            f"{file}: {error}", field="prices", hint="`firedeck docs usage` has the form of the price list"
        ) from None


class _Wrong(ValueError):
    pass


def parse(top: dict[str, Any]) -> PriceList:
    """The list of a parsed file; ValueError says what is wrong."""
    _known("the file", top, {"hours", "tokens"})
    hours, tokens = top.get("hours", {}), top.get("tokens", [])
    if not isinstance(hours, dict) or not isinstance(tokens, list) or not all(isinstance(t, dict) for t in tokens):
        raise _Wrong("write [hours] as a table and each [[tokens]] as one")
    _known("[hours]", hours, {CPU, *ACCELERATOR_TYPES})
    return PriceList(
        {kind: _dollars(f"hours.{kind}", price) for kind, price in hours.items()}, tuple(map(_bucket, tokens))
    )


def _bucket(table: dict[str, Any]) -> Bucket:
    _known("[[tokens]]", table, _TOKEN_FIELDS)
    models, most = table.get("models", ["*"]), table.get("parameters_up_to")
    size, serverless = table.get("size"), table.get("serverless")
    if size is not None and size not in SIZES:
        raise _Wrong(f"tokens.size must be one of {', '.join(SIZES)}")
    if not isinstance(serverless, bool | None):
        raise _Wrong("tokens.serverless must be true or false")
    if not isinstance(models, list) or not models or not all(isinstance(name, str) for name in models):
        raise _Wrong("tokens.models must be a list of names, in which * stands for anything")
    prompt = table.get("prompt")
    price = [
        round(_dollars(f"tokens.{name}", table.get(name, default)) * TOKEN_UNITS / 1e6)
        for name, default in (("prompt", None), ("cached", prompt), ("generated", None))
    ]
    up_to = None if most is None else _number("tokens.parameters_up_to", most, math.inf)
    return Bucket(TokenPrice(*price), tuple(models), up_to, size, serverless)


def _known(where: str, table: dict[str, Any], names: set[str]) -> None:
    unknown = sorted(table.keys() - names)
    if unknown:
        raise _Wrong(f"{where} has no {unknown[0]!r}; it may have {', '.join(sorted(names)[:12])}")


def _dollars(name: str, given: object) -> float:
    return _number(name, given, PRICE_MAX)


def _number(name: str, given: object, most: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= most:
        raise _Wrong(f"{name} must be a number from 0" + ("" if math.isinf(most) else f" to {most:,.0f}"))
    return float(given)
