"""Puts the house together: store, library, fleet, control-plane routes and gateway in one ASGI application."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import Depends, FastAPI, Response
from fastapi.responses import PlainTextResponse

from client.errors import Unavailable
from engine import stock
from engine.access.door import Door, Refused
from engine.access.guards import Guards
from engine.access.quotas import Consumption, Quotas
from engine.access.rate_limits import RateLimits
from engine.access.reads import Reads
from engine.access.refusals import Refusals
from engine.access.sealing import Sealer
from engine.access.users import Users
from engine.access.vault import Vault
from engine.api import (
    account_metrics,
    accounts,
    api_keys,
    audit_logs,
    deployed_models,
    deployments,
    events,
    guards,
    models,
    openapi,
    quotas,
    rendering,
    requests,
    routers,
    secrets,
    shapes,
    transfers,
    unoffered,
    usage,
    usage_tokens,
    users,
    watch,
)
from engine.api.common import principal
from engine.api.paths import normalise
from engine.api.query import in_camel_case, parameters
from engine.api.trail import AuditTrail
from engine.asgi import Receive, Scope, Send, send_error, send_json, with_header
from engine.clock import Clock, SystemClock
from engine.control.price import Totals
from engine.fleet.accounting import Accounting
from engine.fleet.fleet import Fleet
from engine.fleet.monitor import Monitor
from engine.fleet.rooms import Rooms
from engine.fleet.settings import Settings
from engine.gateway import openapi as inference_openapi
from engine.gateway.messages import bridged
from engine.gateway.routes import Gateway
from engine.gateway.traced import traced
from engine.house import Access, House
from engine.keys import Keyring
from engine.placement.local import LocalDriver
from engine.placement.port import Driver
from engine.placement.simulated import world
from engine.placement.simulated.driver import SimulatedDriver
from engine.prices import Prices
from engine.simulation import HEADER, check_folder, mark, nominal_models
from engine.store.access import AccessRecords
from engine.store.disk import DATABASE
from engine.store.store import Store
from engine.telemetry import metrics, tracing
from engine.telemetry.audit import HEAD_FILE, AuditLog
from engine.telemetry.exporter import exporter_of
from engine.telemetry.ledger import Ledger
from engine.telemetry.loop_lag import LoopLag
from engine.telemetry.tally import Tally
from engine.uploads import FOLDER as UPLOADS
from engine.uploads import Uploads
from engine.version import VERSION

log = logging.getLogger(__name__)

# Verbs of a resource (`models/x:verb`) come before the resource, whose id would match them.
ROUTERS = tuple(
    module.router
    for module in (
        accounts, deployments, transfers, models, deployed_models, shapes, watch, users, api_keys, secrets, quotas,
        audit_logs, usage, usage_tokens, requests, account_metrics, routers, guards, events, unoffered,
    )
)  # fmt: skip


class Engine:
    """One engine on one data folder. ASGI; `open()` before serving, `close()` after."""

    def __init__(self, settings: Settings, house: House, store: Store, clock: Clock, prices: Prices) -> None:
        self.settings = settings
        self.house = house
        self._store = store
        self._accounting = Accounting(house.fleet, house.ledger, prices)
        self._door = Door(settings.host, settings.allow_hosts)
        self.gateway = Gateway(house, clock)
        self._simulated = house.fleet.rooms.driver.simulated
        self._exporter = exporter_of(settings.otlp, clock, simulated=self._simulated)
        self._control = AuditTrail(control_plane(house), house)
        self._loop_lag = LoopLag()

    @classmethod
    async def open(cls, settings: Settings, clock: Clock | None = None) -> Engine:
        """Bring back everything that the data folder holds. Rehearsals may bring a clock of their own."""
        clock = clock or SystemClock()
        check_folder(settings.data_dir, simulate=settings.simulate is not None)
        simulated = world.read(settings.simulate) if settings.simulate else None
        if simulated:
            mark(settings.data_dir)
        store = await Store.open(settings.data_dir / DATABASE)
        nominal = nominal_models(simulated) if simulated else None
        library, prepared = await stock.open_library(settings.data_dir, store, nominal)
        keyring = Keyring(store)
        driver: Driver = _simulated(simulated, settings, clock) if simulated else _local(settings)
        metrics.SIMULATED.set(driver.simulated)
        await keyring.load()
        await keyring.ensure_admin(settings.data_dir)
        fleet = Fleet(Rooms(driver, store, library, clock), settings)
        ledger = Ledger(store, clock)
        prices = Prices(settings.prices, library, clock)
        tally = Tally(store, settings.data_dir, ledger.now_ms, prices.tokens)
        access = await open_access(settings, store, keyring, fleet, ledger, tally, clock)
        uploads = Uploads(settings.data_dir / UPLOADS, await store.signing_key("files"))
        preparations = stock.preparations(library, prepared, driver, clock)
        page_secret = await store.signing_key("pages")
        house = House(
            fleet, library, keyring, access, uploads, preparations, ledger, tally, Monitor(fleet, ledger),
            datetime.now(UTC), page_secret=page_secret,
        )  # fmt: skip
        await fleet.open()
        await preparations.open()
        engine = cls(settings, house, store, clock, prices)
        await engine._accounting.open()
        await house.monitor.open()
        engine._loop_lag.open()
        if engine._exporter is not None:
            house.traces.over = engine._exporter.offer
            engine._exporter.start()
        return engine

    def end(self, streams_s: float) -> None:
        """Take no more requests; those under way have `streams_s` seconds before they are broken off."""
        self.house.closing.set()
        for keeper in self.house.fleet.keepers():
            keeper.lobby.refuse(Unavailable("the engine is being stopped", hint="try again when it is back"))
        asyncio.get_running_loop().call_later(streams_s, self.house.breaking_off.give)

    async def close(self) -> None:
        """End the replicas, then the rest, whatever fails on the way. What was declared stays."""
        async with AsyncExitStack() as ending:  # from its last line to its first
            ending.push_async_callback(self._store.close)
            ending.push_async_callback(self.house.access.audit.close)
            ending.push_async_callback(self.house.access.refusals.close)
            ending.push_async_callback(self.house.access.reads.close)
            ending.push_async_callback(self.house.tally.close)
            ending.push_async_callback(self.house.fleet.close)
            ending.push_async_callback(self.house.preparations.close)
            ending.push_async_callback(self._accounting.close)
            ending.push_async_callback(self.house.monitor.close)
            ending.push_async_callback(self._loop_lag.close)
            if self._exporter is not None:
                ending.push_async_callback(self._exporter.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._control(scope, receive, send)
            return
        if self._simulated:
            send = with_header(send, *HEADER)
        if self.gateway.owns(scope["path"]):
            with traced(self.house.traces, scope):
                await self._infer(scope, receive, send)
            return
        try:
            self._door.check(scope["method"], scope["path"], scope["headers"])
        except Refused as error:
            self.house.access.refusals.at_the_door(scope, error)
            await send_json(send, error.status, error.control_plane_body())
            return
        scope["path"] = normalise(scope["raw_path"].decode("latin-1"))
        scope["query_string"] = in_camel_case(scope["query_string"].decode("latin-1")).encode("latin-1")
        await self._control(scope, receive, send)

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        receive, send = bridged(scope, receive, send)
        try:
            self._door.check(scope["method"], scope["path"], scope["headers"])
        except Refused as error:
            tracing.refused(error)
            metrics.refused(error)
            self.house.access.refusals.at_the_door(scope, error)
            await send_error(send, error, tracing.request_id())
            return
        await self.gateway(scope, receive, send)


async def open_access(
    settings: Settings, store: Store, keyring: Keyring, fleet: Fleet, ledger: Ledger, tally: Tally, engine_clock: Clock
) -> Access:
    """Users, secrets, quotas, guards, what was used of them, and the audit log, as the data folder holds them."""
    records, sealer = AccessRecords(store), Sealer.of(settings.data_dir)

    def used(account: str) -> Totals:
        return replace(ledger.used(account), token_charges=tally.spent(account))

    quotas = Quotas(
        records, lambda account: [k.deployment for k in fleet.keepers(account) if not k.deleted],
        RateLimits(records, keyring), consumption=Consumption(used, fleet.plans.accelerated),
    )  # fmt: skip
    clock = SystemClock()
    audit = AuditLog(records, sealer.chain_key, settings.data_dir / HEAD_FILE, clock)
    access = Access(
        records, Users(records, keyring), Vault(records, sealer), quotas, audit, Reads(audit.add, clock),
        Refusals(audit.add, clock), Guards(records, engine_clock),
    )  # fmt: skip
    await access.users.load()
    await access.vault.load()
    await access.quotas.load()
    await access.guards.load()
    await ledger.open()
    await tally.open()
    await audit.open()
    access.reads.open()
    access.refusals.open()
    return access


def _simulated(fleet: world.World, settings: Settings, clock: Clock) -> SimulatedDriver:
    return SimulatedDriver(fleet, clock, settings.data_dir, orphan_timeout_s=settings.orphan_timeout_s)


def _local(settings: Settings) -> LocalDriver:
    return LocalDriver(
        settings.data_dir, orphan_timeout_s=settings.orphan_timeout_s,
        region=settings.region, accelerator_type=settings.accelerator_type, price_per_hour=settings.price_per_hour,
    )  # fmt: skip


def control_plane(house: House) -> FastAPI:
    """The control-plane routes, and the few that need no key."""
    app = FastAPI(
        title="firedeck", version=VERSION, docs_url=None, redoc_url=None,
        redirect_slashes=False,  # a slash too many is no such path: a redirect has no body of the documented shape
    )  # fmt: skip
    app.state.house = house
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(principal), Depends(parameters)])
    app.include_router(transfers.signed)
    rendering.add_to(app)

    @app.get("/healthz", tags=["engine"])
    async def healthz() -> dict[str, str]:
        """The engine answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["engine"])
    async def readyz() -> dict[str, str]:
        """The engine takes requests; 503 once it has been told to end."""
        if house.closing.is_set():
            raise Unavailable("the engine is being stopped")
        return {"status": "ready"}

    @app.get("/metrics", tags=["engine"], response_class=PlainTextResponse)
    async def exposition() -> Response:
        """Prometheus text. A large fleet's takes a while to write: streams have a turn between any two families."""
        written = []
        for family in metrics.families():
            written.append(family)
            await asyncio.sleep(0)
        return Response(b"".join(written), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get(openapi.PATH, include_in_schema=False)
    async def described() -> dict[str, Any]:
        """This document."""
        return app.openapi()

    @app.get(inference_openapi.PATH, include_in_schema=False)
    async def inference_described() -> dict[str, Any]:
        """That of the inference API."""
        return inference_openapi.document()

    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app
