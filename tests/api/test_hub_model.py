"""A model of the library that lies on a hub: fetched when it is first needed, and what is made of it is its own."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from client.cli.main import main
from engine.models import catalogue
from engine.models.hugging_face import convert
from tests import hugging_face_files as hf
from tests.house import served
from tests.hub import Hub, serving

pytest.importorskip("huggingface_hub", reason="`make install` brings it")
pytestmark = pytest.mark.model
NAME = "accounts/fireworks/models/far"
COMMIT = "c" * 40


async def test_a_model_is_prepared_before_its_digest_is_known_and_shown_with_the_commit_that_it_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = hf.tiny(tmp_path / "hf", max_position_embeddings=1024)
    file = convert.convert(convert.files_in(folder), tmp_path / "x.gguf", "far")
    entry = catalogue.from_hf(NAME, "hf:org/repo/x.gguf")
    monkeypatch.setattr(catalogue, "library", lambda: (entry,))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("FIREDECK_CACHE_DIR", str(tmp_path / "cache"))
    with serving(Hub("org/repo", {COMMIT: {"x.gguf": file.read_bytes()}}, COMMIT)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        async with served(tmp_path / "data") as (url, at):
            words = ["--base-url", url, "--api-key", at.admin_key]

            async def firedeck(*line: str) -> str:
                told = await asyncio.to_thread(CliRunner().invoke, main, [*line, *words])
                assert told.exit_code == 0, told.output
                return told.stdout

            assert "On Disk: no" in await firedeck("model", "get", "far")
            await firedeck("model", "prepare", "far", "--precision", "FP8", "--wait")
            shown = await firedeck("model", "get", "far")
            assert f"Revision: {COMMIT}\nSHA-256: {hashlib.sha256(file.read_bytes()).hexdigest()}\n" in shown
            assert "FP8" in shown, "asked for before its digest was known, it is of that file"

            own = ["model", "create", "mine", "--file", str(tmp_path / "cache" / "models" / entry.file)]
            assert f"Revision: {COMMIT}\n" in await firedeck(*own)
