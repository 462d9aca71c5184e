"""A whole engine of a test's own, without replicas, and its first admin's client; the same with replicas that answer at
once, on a clock that tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client.resources import Client
from tests.house import Home, home
from tests.virtual import Virtual, virtual


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Home]:
    async with home(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
async def admin(own: Home) -> AsyncIterator[Client]:
    async with own.client() as client:
        yield client


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Virtual]:
    async with virtual(tmp_path / "virtual") as opened:
        yield opened
