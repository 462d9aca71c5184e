"""Uploads to signed URLs that meet each other, and the check of what was uploaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from engine.preparing import checks
from tests.house import Home, field_of, home

MODEL = "accounts/local/models/up"
FIRST, SECOND = b"a" * 64, b"b" * 64


@dataclass
class Upload:
    """A model that waits for one file, and the path of that file's URL."""

    at: Home
    http: httpx.AsyncClient
    path: str

    def landed(self) -> dict[str, bytes]:
        folder = self.at.engine.house.uploads.folder_of(MODEL)
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    async def make_ready(self) -> None:
        library = self.at.engine.house.library
        await library.put(library.get(MODEL, "name").model_copy(update={"state": "READY"}))


@pytest.fixture
async def upload(tmp_path) -> AsyncIterator[Upload]:
    async with home(tmp_path) as at, at.http(at.admin_key) as http:
        made = await http.post("/v1/accounts/local/models", json={"modelId": "up", "model": {}})
        assert made.status_code == 200, made.text
        wanted = {"filenameToSize": {"a.gguf": str(len(FIRST))}}
        told = await http.post(f"/v1/{MODEL}:getUploadEndpoint", json=wanted)
        url = told.json()["filenameToSignedUrls"]["a.gguf"]
        yield Upload(at, http, urlsplit(url).path)


async def test_an_upload_that_ends_after_the_model_became_ready_replaces_nothing(upload: Upload) -> None:
    assert (await upload.http.put(upload.path, content=FIRST)).status_code == 200

    async def slowly() -> AsyncIterator[bytes]:
        yield SECOND[:32]
        await upload.make_ready()
        yield SECOND[32:]

    late = await upload.http.put(upload.path, content=slowly())
    assert (late.status_code, field_of(late)) == (400, "name"), late.text
    assert upload.landed() == {"a.gguf": FIRST}


async def test_what_is_being_checked_is_not_replaced_meanwhile(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await upload.http.put(upload.path, content=FIRST)).status_code == 200
    checking, go_on = asyncio.Event(), asyncio.Event()

    async def checked(model, file, base):
        checking.set()
        await go_on.wait()
        return model.model_copy(update={"state": "READY"})

    monkeypatch.setattr(upload.at.engine.house.library.files, "checked", checked)
    validation = asyncio.create_task(upload.http.get(f"/v1/{MODEL}:validateUpload"))
    await checking.wait()
    put = asyncio.create_task(upload.http.put(upload.path, content=SECOND))
    while len(upload.landed()) < 2 and not put.done():  # the second file is there under a name of its own
        await asyncio.sleep(0)
    go_on.set()
    assert (await validation).status_code == 200
    assert (await put).status_code == 400
    assert upload.landed() == {"a.gguf": FIRST}


async def test_two_uploads_to_one_url_do_not_mix(upload: Upload) -> None:
    async def around() -> AsyncIterator[bytes]:
        yield FIRST[:32]
        assert (await upload.http.put(upload.path, content=SECOND)).status_code == 200
        yield FIRST[32:]

    assert (await upload.http.put(upload.path, content=around())).status_code == 200
    assert upload.landed() == {"a.gguf": FIRST}


async def test_a_file_whose_check_the_clock_ends_may_be_checked_or_uploaded_again(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await upload.http.put(upload.path, content=FIRST)).status_code == 200
    monkeypatch.setattr(checks, "WALL_S_BASE", 0.001)
    refused = await upload.http.get(f"/v1/{MODEL}:validateUpload")
    assert refused.status_code == 503
    assert "a.gguf cannot be read now: it was not done within 0.001" in refused.json()["message"]
    assert upload.at.engine.house.library.get(MODEL, "name").state == "UPLOADING"
    assert (await upload.http.put(upload.path, content=SECOND)).status_code == 200
