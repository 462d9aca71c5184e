"""The listener itself: gRPC on the one side, this engine's REST routes on the other.

Whoever calls is who the key in the call's metadata says; it is passed on, and everything is decided and recorded where
REST requests are.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from client.errors import FailedPrecondition, FiredeckError, from_response
from engine.access.rules import RULES
from engine.rpc.bindings import Binding, binding_of, plain
from engine.rpc.descriptors import load

log = logging.getLogger(__name__)

TIMEOUT_S = 600.0
GRACE_S = 1.0  # for calls under way when the engine ends
MAX_MESSAGE_BYTES = 16 << 20
# It has no REST route, and clients ask it before they deploy: the bases whose adapters are served serverless.
LORA_BASES = "ListServerlessLoraModels"
_ROUTES = {(verb, plain(path)) for verb, path in RULES}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@asynccontextmanager
async def listening(
    host: str, port: int, descriptors: Path, base_url: str, lora_bases: Sequence[str] = ()
) -> AsyncIterator[int]:
    """Take calls on `host` and `port` (0: a free one, which is given) and pass them to `base_url`. `lora_bases`: the
    models whose adapters are served serverless. Raises InvalidArgument for unusable descriptors, FailedPrecondition
    where nothing can listen there."""
    service = load(descriptors)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)])
    async with httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, trust_env=False) as http:
        server.add_generic_rpc_handlers((_Handlers(service, http, lora_bases),))
        try:
            bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise FailedPrecondition(
                f"cannot listen on {host}:{port}: {str(error)[:120]}", hint="choose another --grpc-port"
            ) from None
        await server.start()
        try:
            yield bound
        finally:
            await server.stop(GRACE_S)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A handler for each unary method that is bound to a route of ours; all others gRPC itself calls UNIMPLEMENTED."""

    def __init__(self, service: ServiceDescriptor, http: httpx.AsyncClient, lora_bases: Sequence[str]) -> None:
        self._http = http
        self._lora_bases = lora_bases
        self._handlers = {}
        for method in service.methods:
            binding = binding_of(method)
            ours = binding is not None and binding.route in _ROUTES
            if not (method.client_streaming or method.server_streaming) and (ours or method.name == LORA_BASES):
                self._handlers[f"/{service.full_name}/{method.name}"] = self._handler(method, binding)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(handler_call_details.method)

    def _handler(self, method: MethodDescriptor, binding: Binding | None) -> grpc.RpcMethodHandler:
        answer_type = GetMessageClass(method.output_type)

        async def call(message: Message, context: grpc.aio.ServicerContext) -> Message:
            if binding is None:
                return ParseDict({"models": [*self._lora_bases]}, answer_type())
            try:
                said = await self._asked(binding, message, dict(context.invocation_metadata() or ()))
                return ParseDict(said, answer_type(), ignore_unknown_fields=True)
            except FiredeckError as error:
                await context.abort(_CODES.get(error.grpc, grpc.StatusCode.UNKNOWN), error.text)
            except (httpx.HTTPError, ParseError) as error:
                log.warning("%s: %s", method.full_name, error)
                await context.abort(grpc.StatusCode.UNAVAILABLE, f"the engine did not answer: {type(error).__name__}")
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=answer_type.SerializeToString,
        )

    async def _asked(self, binding: Binding, message: Message, metadata: dict[str, Any]) -> dict[str, Any]:
        """What the route answers, or the error that it answers."""
        wanted = binding.request(message)
        key = metadata.get("x-api-key")
        identity = {"Authorization": f"Bearer {key}" if key else str(metadata.get("authorization", ""))}
        answer = await self._http.request(
            wanted.verb, wanted.path, params=list(wanted.query), headers=identity, json=wanted.body
        )
        try:
            said = answer.json() if answer.content else {}
        except ValueError:
            said = None
        if answer.status_code >= 400 or not isinstance(said, dict):
            raise from_response(answer.status_code, said)
        return said
