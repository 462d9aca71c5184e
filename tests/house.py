"""A whole engine in this process, asked over ASGI: every route and the gateway, without a socket or a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from client.access_types import UserSpec
from client.config import ADMIN_KEY_FILE, Context
from client.errors import from_response
from client.http import Transport
from client.resources import Client
from engine.app import Engine
from engine.fleet import keeper, replica
from engine.fleet.settings import Settings
from engine.http1 import Protocol
from engine.keys import KEY_PREFIX
from engine.serve import base_url, bind

BASE_URL = "http://127.0.0.1"


@dataclass
class Home:
    """An open engine, its data folder, and the ways to ask it."""

    engine: Engine
    data_dir: Path

    @property
    def admin_key(self) -> str:
        return (self.data_dir / ADMIN_KEY_FILE).read_text().strip()

    def http(self, key: str | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """Raw HTTP with a key, or without one."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        way = httpx.ASGITransport(self.engine, raise_app_exceptions=False, client=(address, 1))  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=way, base_url=BASE_URL, headers=headers)

    def client(self, key: str | None = None) -> Client:
        """The typed client, with the admin's key unless another is given."""
        whole = key or self.admin_key
        way = httpx.ASGITransport(self.engine, raise_app_exceptions=False)  # type: ignore[arg-type]
        return Client(Context(BASE_URL, whole), Transport(BASE_URL, whole, transport=way))

    async def person(self, user_id: str, role: str, expire_time: datetime | None = None) -> str:
        """A key of a user with this role, made when there is none."""
        async with self.client() as admin:
            if user_id not in {user.id for user in await admin.users.list()}:
                await admin.users.create(UserSpec(role=role), user_id)
            made = await admin.api_keys.create(user_id, expire_time=expire_time)
        assert made.key is not None
        assert made.key.startswith(KEY_PREFIX)
        return made.key

    async def stranger(self, account: str = "elsewhere", role: str = "admin") -> str:
        """A key of another account of the same engine."""
        record, key = await self.engine.house.keyring.create(account, "someone", role, "", None)
        assert record.account == account
        return key


def field_of(answer: httpx.Response) -> str | None:
    """The field at fault of a refusal, None where it names none."""
    error = from_response(answer.status_code, answer.json())
    return error.field


@asynccontextmanager
async def home(data_dir: Path, **settings: Any) -> AsyncIterator[Home]:
    """An engine on a folder, closed at the end; opened again on the same folder it is the same engine. `settings`: see
    `engine.fleet.settings`."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    with quick_looks() as patch:
        patch.delenv("FIREDECK_API_KEY", raising=False)
        engine = await Engine.open(Settings(data_dir=data_dir, **settings))
        try:
            yield Home(engine, data_dir)
        finally:
            await engine.close()


@contextmanager
def quick_looks() -> Iterator[pytest.MonkeyPatch]:
    """Engines of this process look at deployments and replicas ten times as often: who waits for a look waits less."""
    with pytest.MonkeyPatch.context() as patch:
        for room, name in ((keeper, "TICK_S"), (replica, "POLL_INTERVAL_S")):
            patch.setattr(room, name, getattr(room, name) / 10)
        yield patch


@asynccontextmanager
async def served(data_dir: Path, **settings: Any) -> AsyncIterator[tuple[str, Home]]:
    """The same on a real socket of loopback, for answers that stream: its URL besides."""
    async with home(data_dir, **settings) as opened:
        listener = bind("127.0.0.1", 0)
        config = uvicorn.Config(opened.engine, lifespan="off", http=Protocol, ws="none", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield base_url(*listener.getsockname()[:2]), opened
        finally:
            server.should_exit = True
            await serving
