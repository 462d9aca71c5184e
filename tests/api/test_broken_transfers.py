"""Files of models over connections that break: they go on where they were, in the same command and in the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from client import retries
from client.config import Context
from client.errors import Unavailable
from client.files import TRIES
from client.http import Transport
from client.resources import Client
from tests.house import Home, served
from tests.unit.test_models_gguf import build

MODEL = build() + bytes(range(256)) * 4096 * 3  # some chunks long


class Cut(httpx.AsyncByteStream):
    """A body of which no more than `left` bytes get through before the connection breaks."""

    def __init__(self, inner: httpx.AsyncByteStream, left: int, passed: list[int]) -> None:
        self.inner, self.left, self.passed = inner, left, passed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.left
        async for chunk in self.inner:
            self.passed[0] += len(chunk[:left])
            yield chunk[:left]
            if len(chunk) >= left:
                raise httpx.WriteError("broken pipe")
            left -= len(chunk)

    async def aclose(self) -> None:
        if hasattr(self.inner, "aclose"):
            await self.inner.aclose()


class Breaking(httpx.AsyncBaseTransport):
    """A way to an engine on which each transfer of a file breaks after so many bytes, `times` times."""

    def __init__(self, after: int, times: int) -> None:
        self.after, self.times = after, times
        self.passed, self.began = [0], list[int]()  # bytes of files, and where in the file each upload began
        self._real = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        breaks = "/firedeck/v1/files/" in request.url.path and self.times > 0
        sends = request.headers.get("content-length", "0") != "0"
        if breaks and request.method == "PUT" and sends:
            self.times -= 1
            self.began.append(int(request.headers["content-range"].split()[1].partition("-")[0]))
            request.stream = Cut(request.stream, self.after, self.passed)
        answer = await self._real.handle_async_request(request)
        if breaks and request.method == "GET":
            self.times -= 1
            answer.stream = Cut(answer.stream, self.after, self.passed)
        return answer

    async def aclose(self) -> None:
        await self._real.aclose()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "mine.gguf"
    made.write_bytes(MODEL)
    return made


def over(url: str, home: Home, way: Breaking) -> Client:
    return Client(Context(url, home.admin_key), Transport(url, home.admin_key, transport=way))


class Seen:
    def __init__(self) -> None:
        self.all: list[int] = []

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        assert total_bytes == len(MODEL)
        self.all.append(done_bytes)


async def test_an_upload_goes_on_where_the_connection_broke(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home):
        way, seen = Breaking(after=1 << 20, times=2), Seen()
        async with over(url, home, way) as client:
            await client.models.create("mine")
            await client.models.upload("mine", file, seen)
            assert (await client.models.get("mine")).state == "READY"
            [stored] = home.engine.house.uploads.files_of("accounts/local/models/mine").values()
            assert stored.read_bytes() == MODEL
            assert way.times == 0
            assert seen.all[-1] == len(MODEL)
            assert seen.all.count(len(MODEL)) == 1
            assert 0 == way.began[0] < way.began[1]


async def test_an_upload_that_was_given_up_is_gone_on_with_by_the_next_command(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home):
        async with over(url, home, Breaking(after=1, times=10_000)) as client:
            await client.models.create("mine")
            urls = (await client.models.upload_endpoint("mine", {file.name: len(MODEL)})).filename_to_signed_urls
            [target] = urls.values()
        async with httpx.AsyncClient() as http:
            headers = {"content-range": f"bytes 0-{len(MODEL) - 1}/{len(MODEL)}", "x-firedeck-version": "0" * 32}
            part = await http.put(target, content=MODEL[:1000], headers=headers)
            assert (part.status_code, part.headers["range"]) == (308, "bytes=0-999")
            asked = {"content-range": f"bytes */{len(MODEL)}", "x-firedeck-version": "0" * 32}
            again = await http.put(target, headers=asked)
            assert (again.status_code, again.headers["range"]) == (308, "bytes=0-999")
            rest = headers | {"content-range": f"bytes 1000-{len(MODEL) - 1}/{len(MODEL)}"}
            assert (await http.put(target, content=MODEL[1000:], headers=rest)).status_code == 200
            assert (await http.put(target, headers=asked)).status_code == 200
            assert (await http.put(target, headers=asked | {"content-range": "bytes"})).status_code == 400


async def test_a_way_on_which_nothing_gets_through_is_given_up(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home):
        way = Breaking(after=0, times=10_000)
        async with over(url, home, way) as client:
            await client.models.create("mine")
            with pytest.raises(Unavailable):
                await client.models.upload("mine", file)
        assert way.times == 10_000 - 1 - TRIES.retries


async def test_a_download_goes_on_where_the_connection_broke(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home):
        way, seen = Breaking(after=1_000_000, times=2), Seen()
        async with over(url, home, way) as client:
            await client.models.create_from_file("mine", str(file))
            folder = tmp_path / "there"
            folder.mkdir()
            [there] = await client.models.download("mine", folder, seen)
            assert there.read_bytes() == MODEL
        assert way.times == 0
        assert seen.all == sorted(seen.all)
        assert [one.name for one in there.parent.iterdir()] == ["mine.gguf"]


async def test_a_file_that_is_another_one_meanwhile_comes_anew(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home), over(url, home, Breaking(0, 0)) as client:
        await client.models.create_from_file("mine", str(file))
        folder = tmp_path / "there"
        folder.mkdir()
        (folder / "mine.gguf.part").write_bytes(b"x" * 1000)
        (folder / "mine.gguf.part.etag").write_text('"of another state of it"')
        [there] = await client.models.download("mine", folder)
        assert there.read_bytes() == MODEL
