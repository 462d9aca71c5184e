"""As whom commands ask: a key that was given is the one used, by every command, and a refusal says whose it was."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from client.cli.main import main
from tests import processes
from tests.house import Home, served
from tests.processes import environment

GIVEN = ("FIREWORKS_API_KEY", "FIREDECK_API_KEY")
COMMANDS = (
    "whoami", "list deployments", "get deployment chat", "delete deployment chat", "load-lora x --deployment chat",
    "usage", "list nodes", "list events", "list models", "list users", "list audit-logs", "alerts", "dashboard",
    "dashboard --once", "--once", "--json", "bench",
)  # fmt: skip


@pytest.fixture
async def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """An engine that every command finds by its folder, as on the machine of somebody who runs one."""
    async with served(tmp_path / "data") as (url, home):
        (home.data_dir / "engine.url").write_text(f"{url}\n")
        for name in (*GIVEN, "FIREWORKS_BASE_URL", "FIREWORKS_ACCOUNT_ID"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("FIREDECK_DATA_DIR", str(home.data_dir))
        yield home


async def firedeck(words: str, **env: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, words.split(), env=env)


async def test_without_a_key_it_is_the_local_engines_own(local: Home) -> None:
    assert (await firedeck("whoami")).stdout == "admin (admin) of account local\n"


async def test_a_wrong_key_is_refused_from_either_variable_by_every_command(local: Home) -> None:
    for words, name in product(COMMANDS, GIVEN):
        refused = await firedeck(words, **{name: "wrong"})
        assert refused.exit_code == 1, (words, name, refused.output)
        assert f"the key is that of the variable {name}; " in refused.stderr, words
        assert f"env -u {name} firedeck" in refused.stderr, words


async def test_a_load_that_is_refused_for_its_key_says_whose_it_was(local: Home) -> None:
    words = ("bench", "-m", "m", "-c", "1", "-n", "1", "--warmup", "0")
    given = {"FIREWORKS_API_KEY": "wrong", "FIREDECK_DATA_DIR": str(local.data_dir)}
    done = await asyncio.to_thread(
        subprocess.run, processes.firedeck(*words), capture_output=True, text=True, env=environment(given), check=False
    )
    assert done.returncode == 1
    assert "measuring ended (the key is that of the variable FIREWORKS_API_KEY; " in done.stderr


@pytest.mark.parametrize("name", GIVEN)
async def test_who_asks_with_a_weaker_key_is_not_answered_as_the_admin(local: Home, name: str) -> None:
    key = await local.person("eve", "inference-user")
    assert "eve (inference-user)" in (await firedeck("whoami", **{name: key})).stdout
    for words in ("list audit-logs", "user create --user-id mallory --service-account"):
        assert (await firedeck(words, **{name: key})).exit_code == 1
    async with local.client() as admin:
        assert "mallory" not in {user.id for user in await admin.users.list()}


async def test_our_own_variable_goes_before_the_real_services_and_an_option_before_both(local: Home) -> None:
    eve, ada = await local.person("eve", "inference-user"), await local.person("ada", "user")
    both = {"FIREDECK_API_KEY": eve, "FIREWORKS_API_KEY": ada}
    assert "eve" in (await firedeck("whoami", **both)).stdout
    assert "ada" in (await firedeck(f"whoami --api-key {ada}", FIREDECK_API_KEY=eve)).stdout
    as_json = json.loads((await firedeck("whoami -o json", FIREWORKS_API_KEY=ada)).stdout)
    assert as_json["user"] == "ada"


async def test_an_option_that_is_empty_by_a_slip_is_no_key_rather_than_the_admins(local: Home) -> None:
    refused = await asyncio.to_thread(CliRunner().invoke, main, ["whoami", "--api-key", ""])
    assert refused.exit_code == 2
    assert "no API key was given" in refused.stderr


@pytest.mark.parametrize("form", ["text", "flag"])
async def test_a_key_that_is_made_is_shown_in_every_form_because_it_is_shown_once(local: Home, form: str) -> None:
    made = await firedeck(f"create api-key --key-name laptop -o {form}")
    assert made.exit_code == 0, made.output
    asked = await firedeck("whoami", FIREDECK_API_KEY=made.stdout.strip())
    assert (asked.exit_code, asked.stdout) == (0, "admin (admin) of account local\n")
