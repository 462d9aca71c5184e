"""Files of models on their way to replicas: neither what users send nor a slow hub holds up what does not need it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client.model_types import PeftDetails
from client.types import Model, ModelFile
from engine.model_files import ModelFiles
from engine.models import fetch
from engine.preparing import errand
from engine.preparing.checks import AT_ONCE, OF_MODEL
from tests.processes import PATIENCE_S

BASE, ADAPTER = "accounts/local/models/base", "accounts/local/models/adapter"
DIGEST = "d" * 64
FACTS = {"digest": DIGEST, "architecture": "llama", "rank": 4, "alpha": 4.0, "size_bytes": 1, "targets": []}


class Two:
    """A base and an adapter of it, each with a file."""

    def __init__(self, folder: Path) -> None:
        for name in ("base", "adapter"):
            (folder / name).touch()
        self.models = {
            BASE: Model(name=BASE, firedeck=ModelFile(file=str(folder / "base"))),
            ADAPTER: Model(
                name=ADAPTER, kind="HF_PEFT_ADDON", peft_details=PeftDetails(base_model=BASE, r=4, target_modules=[]),
                firedeck=ModelFile(file=str(folder / "adapter"), digest=DIGEST),
            ),
        }  # fmt: skip

    def get(self, name: str, field: str = "baseModel") -> Model:
        return self.models[name]

    def served(self, name: str, field: str = "baseModel") -> Model:
        return self.models[BASE]

    def resolve(self, text: str, account: str, field: str = "baseModel") -> str:
        return text


class Together:
    """In place of what merges adapters."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def path(self, adapter: Model, base: Model) -> Path:
        return self.target

    async def make(self, base: Path, adapter: Path, target: Path) -> None:
        target.touch()


async def test_a_replica_starts_while_as_many_uploads_as_may_are_being_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, done = [], asyncio.Event()

    async def run(module: str, target: Path | None, limits: object, task: dict[str, Any]) -> dict[str, Any]:
        if module == OF_MODEL:
            under_way.append(task["file"])
            await done.wait()
            return {"model": None}
        return {"path": task["file"], "facts": dict(FACTS)}

    monkeypatch.setattr(errand, "run", run)
    files = ModelFiles(Two(tmp_path), {}, {}, None, Together(tmp_path / "merged"))  # type: ignore[arg-type]
    sent = [Model(name=f"accounts/local/models/m{number}") for number in range(2 * AT_ONCE)]
    checking = [asyncio.create_task(files.checked(one, tmp_path / one.id, None)) for one in sent]
    while len(under_way) < AT_ONCE:
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        assert await files.bring(ADAPTER, lambda part: None) == tmp_path / "merged"
    assert len(under_way) == AT_ONCE, "the others still wait"
    done.set()
    await asyncio.gather(*checking, return_exceptions=True)


async def test_however_many_downloads_hang_nothing_else_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, many = threading.Event(), 40  # more than the common pool has threads
    monkeypatch.setattr(fetch, "fetch", lambda entry, tell, cancel: hub.wait() and tmp_path)
    entries = {f"accounts/fireworks/models/m{number}": SimpleNamespace() for number in range(many)}
    files = ModelFiles(Models(), entries, {}, None, None)  # type: ignore[arg-type]
    coming = [asyncio.create_task(files.bring(name, lambda part: None)) for name in entries]
    for _ in range(many):
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.to_thread(lambda: "served")
    hub.set()
    assert await asyncio.gather(*coming) == [tmp_path] * many


class Models:
    """Names of models, and no more."""

    def get(self, name: str, field: str = "baseModel") -> Model:
        return Model(name=name)
