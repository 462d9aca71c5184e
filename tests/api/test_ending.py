"""An engine's end: whatever fails on the way, the rest is closed."""

from __future__ import annotations

import pytest

from engine.placement.sockets import run_dir
from tests.house import home


async def test_an_end_whose_folder_is_gone_closes_everything(tmp_path) -> None:
    async with home(tmp_path) as opened:
        run_dir(tmp_path).rmdir()
    with pytest.raises(RuntimeError, match="shutdown"):
        await opened.engine._store.fetch("last_beat")


async def test_an_end_that_fails_at_one_place_goes_on_at_the_next(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = home(tmp_path)
    opened = await whole.__aenter__()
    async with opened.http(opened.admin_key) as http:
        await http.get("/v1/accounts")
    monkeypatch.setattr(opened.engine.house.fleet.rooms.driver, "close", _fails)
    with pytest.raises(OSError, match="no such thing"):
        await whole.__aexit__(None, None, None)
    with pytest.raises(RuntimeError, match="shutdown"):
        await opened.engine._store.fetch("last_beat")
    async with home(tmp_path) as again, again.client() as admin:
        assert "ListAccounts" in [entry.message for entry in await admin.audit_logs.list()]


def _fails() -> None:
    raise OSError("no such thing")
