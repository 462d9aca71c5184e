"""firectl's list options on the command line, against a whole engine without replicas."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from client.access_types import UserSpec
from client.cli.main import main
from tests.house import served

Firedeck = Callable[[str], "asyncio.Future[Result]"]
PEOPLE = ["a", "b", "c", "d", "e"]


@pytest.fixture
async def firedeck(tmp_path: Path) -> AsyncIterator[Firedeck]:
    """The command line on an engine with the first admin and five service accounts."""
    async with served(tmp_path / "data") as (url, home):
        async with home.client() as admin:
            for name in PEOPLE:
                await admin.users.create(UserSpec(role="user", service_account=True), name)
        ends = ["--base-url", url, "--api-key", home.admin_key]
        yield lambda words: asyncio.ensure_future(asyncio.to_thread(CliRunner().invoke, main, [*words.split(), *ends]))


def ids(shown: Result) -> list[str]:
    assert shown.exit_code == 0, shown.output
    return [user["name"].rpartition("/")[2] for user in json.loads(shown.stdout)]


async def test_pages_of_a_list_follow_each_other_by_the_token_that_each_names(firedeck: Firedeck) -> None:
    words = "user list --filter serviceAccount=true --order-by name -o json --page-size 2"
    found, token = [], ""
    for expected in (PEOPLE[:2], PEOPLE[2:4], PEOPLE[4:]):
        shown = await firedeck(f"{words} --page-token {token}" if token else words)
        assert ids(shown) == expected
        more = re.fullmatch(r"there are more: --page-token (\S+)\n", shown.stderr)
        token = more[1] if more else ""
        found.append(token)
    assert [bool(one) for one in found] == [True, True, False]


async def test_without_a_page_size_or_with_no_paginate_all_come_in_the_order_asked_for(firedeck: Firedeck) -> None:
    for words in ("", "--no-paginate", "--page-size 1 --no-paginate"):
        shown = await firedeck(f"user list --filter serviceAccount=true --order-by name -o json {words}")
        assert ids(shown) == PEOPLE
        assert shown.stderr == ""


async def test_a_page_says_how_many_there_are_altogether(firedeck: Firedeck) -> None:
    shown = await firedeck("user list --filter serviceAccount=true --page-size 2")
    assert shown.stdout.splitlines()[-1] == "Total size: 5"


async def test_the_library_and_the_accounts_own_models_come_together_and_a_page_is_of_one_account(
    firedeck: Firedeck,
) -> None:
    every = (await firedeck("model list -o json")).stdout
    library = (await firedeck("model list -o json -a fireworks")).stdout
    assert json.loads(every) == json.loads(library), "this account has none of its own"
    page = await firedeck("model list -o json -a fireworks --page-size 1 --order-by name")
    assert len(json.loads(page.stdout)) == 1
    assert json.loads((await firedeck("model list -o json --page-size 1")).stdout) == []


async def test_the_audit_log_is_cut_at_its_limit_and_whole_without_pages(firedeck: Firedeck) -> None:
    cut = await firedeck("audit-logs list --limit 3")
    total, note = cut.stdout.splitlines()[-2:]
    assert total == "Total size: 5"
    assert note == "the newest 3 only: --limit shows more"
    whole = await firedeck("audit-logs list --limit 3 --no-paginate -o json")
    assert len(json.loads(whole.stdout)) > 5
    page = await firedeck("audit-logs list --page-size 2 -o json")
    assert len(json.loads(page.stdout)) == 2
    assert "--page-token" in page.stderr
