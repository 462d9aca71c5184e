"""The inference routes, below `/inference/v1` and `/v1`: who -> what -> a place -> stream through -> account."""

from __future__ import annotations

import logging
import time
from typing import Any
from urllib.parse import unquote

from client.errors import (
    FiredeckError,
    Internal,
    InvalidArgument,
    MethodNotAllowed,
    NotFound,
    ScalingUp,
    Unavailable,
)
from engine.access.rules import INFERENCE, authorise
from engine.asgi import (
    CLIENT_GONE,
    ClientGone,
    Receive,
    Scope,
    Send,
    headers_of,
    parse_object,
    read_body,
    send_error,
    send_json,
)
from engine.clock import Clock
from engine.control.limits import Kind
from engine.deprecation import sunset
from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.gateway import responses, verdict
from engine.gateway.admit import Admission, Visit
from engine.gateway.exchange import ADDON_HEADER, COMPUTED, GENERATES, POOLS, Exchange, ParsedRequest, sent_headers
from engine.gateway.messages import COUNT, MESSAGES
from engine.gateway.models import ends_on, models_of
from engine.gateway.policy import passage_of
from engine.gateway.prompt import isolated, prompt_of
from engine.gateway.relay import break_off
from engine.gateway.resolve import NOT_DEPLOYED, resolve
from engine.gateway.shield import Shield, Way
from engine.gateway.until import Ended, until_first
from engine.house import House
from engine.keys import Principal
from engine.serverless import is_shared
from engine.telemetry import metrics, tracing
from engine.telemetry.tally import Bill

log = logging.getLogger(__name__)

SYNTHETIC_HEADER = "x-firedeck-synthetic"
_INFER = COMPUTED | {COUNT}
_PREFIX = "/inference"
_MODELS = "/v1/models"
_ACCOUNTS = "/v1/accounts"  # the control plane's, below both prefixes
_CHECK = "/v1/validateModelConfig"  # the control plane's too, of no account


class Gateway:
    """ASGI: `owns(path)` says whether a request is ours; everything else belongs to the control plane.

    Whatever is refused here, an unknown path too, is refused in the inference API's one envelope.
    """

    def __init__(self, house: House, clock: Clock) -> None:
        self._house = house
        serverless = {Kind.REQUESTS: house.fleet.settings.serverless.requests_per_minute}
        self.admission = Admission(house.access.quotas.rates, clock.monotonic, serverless)
        self.shield = Shield(house, clock)

    @staticmethod
    def owns(path: str) -> bool:
        inner = path.removeprefix(_PREFIX) if path.startswith(f"{_PREFIX}/") else path
        below = inner != path or inner.startswith("/v1/")
        return below and inner not in (_ACCOUNTS, _CHECK) and not inner.startswith(f"{_ACCOUNTS}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = tracing.request_id()
        visit: Visit | None = None
        try:
            caller = self._identified(scope)
            tracing.known(caller.account, caller.user, caller.key_id)
            authorise(caller, INFERENCE, caller.account)
            if scope["path"].removeprefix(_PREFIX) in _INFER:
                visit = self.admission.visit(caller)
                send = visit.telling(send)
            await self._route(scope, receive, send, caller, request_id, visit)
        except ClientGone:
            return
        except FiredeckError as error:
            tracing.refused(error)
            metrics.refused(error)
            await send_error(send, error, request_id)
        except Exception:
            log.exception("request %s failed", request_id)
            failed = Internal("the gateway failed; its log says why")
            tracing.refused(failed)
            metrics.refused(failed)
            await send_error(send, failed, request_id)
        finally:
            if visit is not None:
                visit.leave()

    def _identified(self, scope: Scope) -> Principal:
        try:
            return self._house.keyring.identify(headers_of(scope), (scope.get("client") or ("",))[0])
        except FiredeckError as error:
            self._house.access.refusals.of_a_key(scope, error)
            raise

    async def _route(
        self, scope: Scope, receive: Receive, send: Send, caller: Principal, request_id: str, visit: Visit | None
    ) -> None:
        path = scope["path"].removeprefix(_PREFIX)
        if visit is not None:
            _allow(scope, "POST")
            self._house.access.quotas.admit_request(caller.account)
            visit.enter()
            await self._generate(path, scope, receive, send, caller, request_id, visit)
            return
        if responses.owns(path):
            await send_json(send, 200, responses.answer(scope["method"], path))
            return
        if path != _MODELS and not path.startswith(f"{_MODELS}/"):
            raise NotFound("no such path", hint="there are " + ", ".join(sorted({*_INFER, MESSAGES, _MODELS})))
        _allow(scope, "GET")
        models = models_of(self._house, caller.account)
        if path == _MODELS:
            await send_json(send, 200, {"object": "list", "data": models})
            return
        wanted = unquote(scope["raw_path"].decode("latin-1").removeprefix(_PREFIX)).removeprefix(f"{_MODELS}/")
        found = next((m for m in models if m["id"] == wanted), None)
        if found is None:
            raise NotFound(NOT_DEPLOYED, field="model")
        await send_json(send, 200, found)

    async def _generate(
        self, path: str, scope: Scope, receive: Receive, send: Send, caller: Principal, request_id: str, visit: Visit
    ) -> None:
        body = await read_body(scope, receive)
        fields = parse_object(body)
        passage = passage_of(self._house.fleet.routers, fields, scope, caller, request_id)
        model = passage.deployment if passage else fields.get("model")
        keeper, addon = target_of(self._house.fleet, model, caller.account)
        self._house.access.quotas.admit_use(keeper.deployment)
        headers = headers_of(scope)
        if is_shared(keeper.name):
            visit.share()
            headers = isolated(headers, caller.account)
        if addon is not None and path in POOLS:
            raise InvalidArgument(
                "vectors and relevance are not computed with an adapter", field="model", hint="ask the base model"
            )
        stream = fields.get("stream") if path in GENERATES else None
        if stream is not None and not isinstance(stream, bool):
            raise InvalidArgument("stream must be true or false", field="stream")
        exchange = Exchange(
            path, body, bool(stream), request_id, time.monotonic(), time.monotonic,
            sent_headers(headers, caller) | ({ADDON_HEADER: addon} if addon else {}),
        )  # fmt: skip
        if path in GENERATES:
            sessions = keeper.deployment.enable_session_affinity is not False
            exchange.prompt = prompt_of(fields, headers, addon, sessions=sessions)
        synthetic = SYNTHETIC_HEADER in headers
        base = keeper.deployment.base_model or ""
        tracing.asks(keeper.name, base, addon, stream=exchange.stream, synthetic=synthetic)
        context = keeper.deployment.max_context_length
        way = self.shield.way(keeper, ParsedRequest(caller, fields, addon, scope))
        if (day := ends_on(self._house, keeper)) is not None:
            visit.told_besides.append((b"sunset", sunset(day).encode()))
        exchange.shorten(visit.charge(fields, body, generates=path in GENERATES, context=context))
        simulated = self._house.fleet.rooms.driver.simulated
        bill = self._house.tally.bill(caller, keeper.name, base, addon, fields.get("metadata"), simulated=simulated)
        del fields  # many times as large as the body, and an answer may take minutes
        try:
            await self._accounted(keeper, exchange, receive, send, way, bill, synthetic=synthetic)
        finally:
            visit.settle(exchange)
            if passage is not None:
                passage.ended(exchange)

    async def _accounted(
        self, keeper: Keeper, exchange: Exchange, receive: Receive, send: Send, way: Way, bill: Bill, *, synthetic: bool
    ) -> None:
        """Forward, and write down what came of it whatever that is."""
        tracing.admitted()
        keeper.meter.began(synthetic=synthetic)
        uses = self._house.fleet.deployed.uses
        use = uses.began(keeper.name, exchange.sent_headers.get(ADDON_HEADER))
        failed = True
        try:
            timed = _timed(_billed(send, exchange, bill), exchange, keeper)
            ended = await until_first(way(keeper, exchange, timed), receive, self._house.breaking_off)
            if ended is Ended.GONE and not exchange.ended:
                exchange.status = CLIENT_GONE
            elif ended is Ended.BROKEN_OFF:
                await self._break_off(exchange, send)
            failed = exchange.status >= 500
        except FiredeckError as error:
            exchange.status = error.status
            failed = error.status >= 500 and not isinstance(error, ScalingUp)  # documented, and no fault
            raise
        finally:
            seconds = time.monotonic() - exchange.began_at
            used = exchange.used
            bill.settle(exchange.charged, failed=exchange.status >= 400 and exchange.status != CLIENT_GONE)
            tracing.came_of(exchange.status, exchange.ttft_s, (used.prompt, used.cached, used.generated))
            keeper.meter.ended(code=exchange.status, failed=failed, seconds=seconds, usage=used)
            uses.ended(use, failed=verdict.failed(exchange))

    @staticmethod
    async def _break_off(exchange: Exchange, send: Send) -> None:
        if not exchange.answering or exchange.held:
            raise Unavailable("the engine is being stopped", hint="try again when it is back")
        await break_off(exchange, send, "the engine was stopped while it was answering")


def target_of(fleet: Fleet, model: object, account: str) -> tuple[Keeper, str | None]:
    """The deployment that answers, and the adapter it answers with. Its cost is the same in a fleet of any size."""
    target = resolve(model, fleet.directory, account, fleet.routers.names(account))
    keeper = fleet.get(target.deployment)
    return keeper, fleet.deployed.route(target.offer, keeper)


def _allow(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise MethodNotAllowed(f"{scope['method']} is not possible here", hint=f"use {method}")


def _billed(send: Send, exchange: Exchange, bill: Bill) -> Send:
    """`send` that has a whole answer on its bill before the client can see its end."""

    async def tell(message: Any) -> None:
        if exchange.whole and exchange.judged and not bill.settled:
            bill.settle(exchange.charged, failed=False)
        await send(message)

    return tell


def _timed(send: Send, exchange: Exchange, keeper: Keeper) -> Send:
    """`send` that tells the meter of the first token as soon as it is known, not when the answer is over."""
    told = False

    async def tell(message: Any) -> None:
        nonlocal told
        if not told and exchange.ttft_s is not None:
            told = True
            keeper.meter.first_token(exchange.ttft_s)
        await send(message)

    return tell
