"""`firedeck model upload`, `update` and `download`, and `signin`, against an engine on a real socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result

from client.cli.main import main
from client.config import Context
from client.errors import FailedPrecondition, InvalidArgument
from client.model_types import ModelSpec, TypeDate
from client.resources import Client
from client.types import DeploymentSpec
from tests.house import Home, served
from tests.unit.test_models_gguf import build

MODEL = build()


class Seen:
    """A progress that remembers where it began."""

    def __init__(self) -> None:
        self.first = 0

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        self.first = self.first or done_bytes


async def firedeck(*words: str) -> Result:
    """The command line, in a thread: it has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, words, catch_exceptions=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "mine.gguf"
    made.write_bytes(MODEL)
    return made


async def test_a_file_is_sent_changed_and_fetched_back(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home):
        to = ("--base-url", url, "--api-key", home.admin_key)
        sent = await firedeck("upload", "model", "mine", str(file), "--display-name", "Mine", *to)
        assert sent.exit_code == 0, sent.output
        async with Client(context(url, home)) as client:
            assert (await client.models.get("mine")).state == "READY"
            changed = await firedeck(
                "model", "update", "mine", "--description", "x", "--deprecation-date", "2030-01-31", *to
            )
            assert changed.exit_code == 0, changed.output
            found = await client.models.get("mine")
            assert found.deprecation_date is not None
            assert (found.description, found.deprecation_date.year, found.display_name) == ("x", 2030, "Mine")
        flags = await firedeck("model", "get", "mine", "-o", "flag", *to)
        assert "--display-name=Mine --description=x" in flags.output
        fetched = await firedeck("model", "download", "mine", str(tmp_path / "there"), *to)
        assert fetched.exit_code == 0, fetched.output
        [there] = (tmp_path / "there").iterdir()
        assert there.read_bytes() == MODEL
        assert str(there) in fetched.output
        assert (await firedeck("model", "download", "mine", str(tmp_path / "there"), *to)).exit_code == 1
        again = await firedeck("model", "upload", "mine", str(file), *to)
        assert (again.exit_code, "READY" in again.output) == (1, True)


async def test_what_no_file_says_is_said_when_a_model_is_made(tmp_path: Path, file: Path) -> None:
    said = ("--display-name", "Mine", "--description", "for the shop", "--public", "--github-url", "https://x.org/y")
    async with served(tmp_path / "data") as (url, home):
        to = ("--base-url", url, "--api-key", home.admin_key)
        rehearsed = await firedeck("model", "create", "mine", str(file), *said, "--dry-run", *to)
        assert "Description: for the shop" in rehearsed.output, rehearsed.output
        assert f"File: {file}" in rehearsed.output
        for words in (("model", "create", "mine"), ("model", "upload", "sent")):
            made = await firedeck(*words, str(file), *said, *to)
            assert made.exit_code == 0, made.output
        wrong = await firedeck("model", "create", "other", str(file), "--default-draft-model", "local/none", *to)
        assert "model 'local/none' does not exist" in wrong.output or "local/models/none" in wrong.output
        async with Client(context(url, home)) as client:
            for name in ("mine", "sent"):
                found = await client.models.get(name)
                assert (found.display_name, found.description, found.public) == ("Mine", "for the shop", True)
                assert found.github_url == "https://x.org/y"
            with pytest.raises(InvalidArgument, match="contextLength is what the file says"):
                await client.models.create_from_file("other", str(file), described=ModelSpec(context_length=5))
            assert [one.id for one in await client.models.list()] == ["mine", "sent"]


async def test_a_download_that_was_interrupted_goes_on(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home), Client(context(url, home)) as client:
        made = await client.models.create_from_file("mine", str(file))
        for left in (1, len(MODEL) // 2, len(MODEL)):
            folder = tmp_path / f"after-{left}"
            folder.mkdir()
            (folder / "mine.gguf.part").write_bytes(MODEL[:left])
            seen = Seen()
            [there] = await client.models.download(made.name, folder, seen)
            assert there.read_bytes() == MODEL
            assert seen.first >= left, "what was there is not fetched again"


async def test_a_key_that_is_good_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path / "mine"))
    async with served(tmp_path / "data") as (url, home):
        signed = await firedeck("signin", "--base-url", url, "--api-key", home.admin_key)
        assert signed.exit_code == 0, signed.output
        assert "as admin (admin) of account local" in signed.output
        assert (await firedeck("whoami")).output == "admin (admin) of account local\n"


def context(url: str, home: Home) -> Context:
    return Context(url, home.admin_key)


async def test_a_model_whose_day_has_come_is_not_deployed_and_before_that_answers_say_it(
    tmp_path: Path, file: Path
) -> None:
    async with served(tmp_path / "data") as (url, home), Client(context(url, home)) as client:
        to = ("--base-url", url, "--api-key", home.admin_key)
        await client.models.create_from_file("mine", str(file))
        await client.models.update("mine", ModelSpec(deprecation_date=TypeDate(year=2999, month=1, day=2)))
        off = DeploymentSpec(base_model="mine", max_replica_count=0)
        await client.deployments.create(off, "before")
        async with home.http(home.admin_key) as http:
            asked = {"model": "accounts/local/deployments/before", "prompt": "x"}
            answer = await http.post("/v1/completions", json=asked, headers={"x-request-timeout": "0.1"})
            assert answer.headers["sunset"] == "Wed, 02 Jan 2999 00:00:00 GMT"
        assert "mine is deprecated from 2999-01-02 on" in (await firedeck("model", "get", "mine", *to)).stderr
        await client.models.update("mine", ModelSpec(deprecation_date=TypeDate(year=2020, month=1, day=2)))
        with pytest.raises(FailedPrecondition, match="deprecated since 2020-01-02"):
            await client.deployments.create(off, "after")
        assert (await client.deployments.get("before")).state == "READY"


async def offered(typed: str, url: str, key: str) -> set[str]:
    """What a shell is offered for the last word."""
    words = f"firedeck {typed}"
    asked = {"_FIREDECK_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(typed.count(" ") + 1)}
    asked |= {"FIREWORKS_BASE_URL": url, "FIREDECK_API_KEY": key}
    shown = await asyncio.to_thread(CliRunner().invoke, main, env=asked, prog_name="firedeck")
    assert shown.exit_code == 0, shown.output
    return {line.partition(",")[2] for line in shown.output.splitlines()} - {""}


async def test_a_shell_is_offered_the_names_that_the_engine_has(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home):
        key = home.admin_key
        async with Client(context(url, home)) as client:
            await client.models.create_from_file("mine", str(file))
            await client.deployments.create(DeploymentSpec(base_model="mine", max_replica_count=0), "quiet")
        assert await offered("deployment get q", url, key) == await offered("delete deployment ", url, key) == {"quiet"}
        assert await offered("load-lora x --deployment ", url, key) == {"quiet"}
        assert await offered("deployment create mi", url, key) == {"mine", "mistral-7b-instruct-v0p3"}
        assert await offered("model delete m", url, key) == {"mine"}
        assert await offered("load-lora ", url, key) == set(), "there is no adapter"
        assert await offered("model prepare mine --precision fp8_", url, key) >= {"FP8_MM", "FP8_KV"}
        assert await offered(f"deployment get --api-key {key} q", url, "no-key") == {"quiet"}
        assert await offered("deployment get ", url, "no-key") == set()
    assert await offered("deployment get ", url, key) == set(), "nobody answers any more"


async def test_a_shell_is_offered_nothing_by_another_program_on_the_port() -> None:
    async def other(request: web.Request) -> web.Response:
        return web.json_response({"deployments": "none of yours"})

    application = web.Application()
    application.add_routes([web.get("/{path:.*}", other)])
    async with TestServer(application, host="127.0.0.1") as server:
        assert await offered("deployment get ", f"http://127.0.0.1:{server.port}", "k") == set()


async def test_a_draft_model_that_is_not_there_is_refused_before_a_file_is_sent(tmp_path: Path, file: Path) -> None:
    async with served(tmp_path / "data") as (url, home):
        to = ("--base-url", url, "--api-key", home.admin_key)
        for verb in ("create", "upload"):
            refused = await firedeck("model", verb, "mine", str(file), "--default-draft-model", "nobody", *to)
            assert refused.exit_code == 1, refused.output
            assert "nobody" in refused.output
        async with Client(context(url, home)) as client:
            assert await client.models.list() == []
