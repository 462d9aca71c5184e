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


@pytest.mark.parametrize(
    ("words", "page"),
    [("", "Page 1 of 1"), ("--page-size 2", "Page 1 of 3"), ("--page-size 2 --no-paginate", "Page 1 of 1")],
)
async def test_a_page_says_of_how_many_it_is_and_how_many_there_are_altogether(
    firedeck: Firedeck, words: str, page: str
) -> None:
    shown = await firedeck(f"user list --filter serviceAccount=true {words}")
    assert shown.stdout.splitlines()[-2:] == [page, "Total size: 5"]


async def test_a_page_after_a_token_does_not_say_which_it_is(firedeck: Firedeck) -> None:
    first = await firedeck("user list --filter serviceAccount=true --page-size 2")
    token = first.stderr.split()[-1]
    second = await firedeck(f"user list --filter serviceAccount=true --page-size 2 --page-token {token}")
    assert len(second.stdout.splitlines()) == 1 + 2 + 1
    assert second.stdout.splitlines()[-1] == "Total size: 5"


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
    whole = await firedeck("audit-logs list --no-paginate -o json")
    assert len(json.loads(whole.stdout)) > 5
    page = await firedeck("audit-logs list --page-size 2 -o json")
    assert len(json.loads(page.stdout)) == 2
    assert "--page-token" in page.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("user list --filter serviceAccount=true --order-by name -q", PEOPLE),
        ("list users --quiet --page-size 2 --filter serviceAccount=true --order-by name", PEOPLE[:2]),
        ("user list --filter email=none -q", []), ("node list -q", ["local"]),
        ("list accounts -q", ["accounts/fireworks", "accounts/local"]),
    ],
)  # fmt: skip
async def test_quiet_lists_print_ids_and_nothing_else(firedeck: Firedeck, words: str, expected: list[str]) -> None:
    shown = await firedeck(words)
    assert shown.exit_code == 0, shown.output
    assert sorted(shown.stdout.splitlines()) == expected


async def test_every_quiet_list_names_things_as_its_other_commands_take_them(firedeck: Firedeck) -> None:
    assert (await firedeck("create deployment smollm2-135m-instruct --deployment-id d --max-replica-count 0")).stdout
    await firedeck("secret create --name HF_TOKEN --value x")
    for noun in ("deployment", "model", "deployed-model", "secret", "quota", "user", "account", "deployment-shape"):
        names = (await firedeck(f"{noun} list -q")).stdout.split()
        assert names, noun
        for name in (names[0], names[-1]):
            shown = await firedeck(f"{noun} get {name} -q")
            assert shown.exit_code == 0, (noun, name)
            assert name.endswith(shown.stdout.rstrip("\n")), (noun, name)
    numbers = (await firedeck("audit-logs list -q --limit 3")).stdout.split()
    assert len(numbers) == 3
    assert all(number.isdigit() for number in numbers)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("create deployment smollm2-135m-instruct --deployment-id d --max-replica-count 0 -q --wait", "d"),
        ("create deployment smollm2-135m-instruct --deployment-id d --dry-run -q", "d"),
        ("user create --user-id ada -q", "ada"), ("secret create --name HF_TOKEN --value x -q", "hf-token"),
    ],
)  # fmt: skip
async def test_a_quiet_create_prints_the_id_and_nothing_else(firedeck: Firedeck, words: str, expected: str) -> None:
    made = await firedeck(words)
    assert (made.exit_code, made.stdout, made.stderr) == (0, f"{expected}\n", "")


async def test_quiet_keeps_the_errors_and_goes_not_with_json(firedeck: Firedeck) -> None:
    refused = await firedeck("create deployment no-such-model -q")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: ")
    assert "exclude each other" in (await firedeck("user list -q -o json")).stderr


@pytest.mark.parametrize(("flags", "state"), [("", "DELETED: 0 replicas left"), ("--hard", "gone")])
async def test_a_delete_that_waits_says_when_all_is_gone(firedeck: Firedeck, flags: str, state: str) -> None:
    await firedeck("create deployment smollm2-135m-instruct --deployment-id d --max-replica-count 0")
    deleted = await firedeck(f"delete deployment d --wait {flags}")
    assert deleted.exit_code == 0, deleted.output
    told = deleted.stderr.splitlines()
    assert told[-2] == state
    assert told[-1].startswith("deleted accounts/local/deployments/d")


async def test_a_quiet_delete_says_nothing(firedeck: Firedeck) -> None:
    await firedeck("create deployment smollm2-135m-instruct --deployment-id d --max-replica-count 0")
    assert (await firedeck("delete deployment d --wait -q")).output == ""
    assert (await firedeck("list deployments -q")).output == ""
    assert (await firedeck("list deployments -q --show-deleted")).output == "d\n"


@pytest.mark.parametrize("flags", ["", "-q", "--wait"])
async def test_a_delete_takes_several_names_and_does_what_it_can(firedeck: Firedeck, flags: str) -> None:
    for name in "dfg":
        await firedeck(f"create deployment smollm2-135m-instruct --deployment-id {name} --max-replica-count 0")
    deleted = await firedeck(f"delete deployments d nosuch f {flags}")
    assert deleted.exit_code == 1
    errors = [line for line in deleted.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "nosuch" in errors[0]
    assert (await firedeck("list deployments -q")).stdout == "g\n"
    assert deleted.stderr.count("deleted accounts/local/deployments/") == (0 if flags == "-q" else 2)


@pytest.mark.parametrize("flags", ["", "-q"])
async def test_every_delete_takes_several_names_and_is_quiet_where_asked(firedeck: Firedeck, flags: str) -> None:
    keys = []
    for name in ("A", "B"):
        await firedeck(f"secret create --name {name} --value x")
        await firedeck(f"api-key create --key-name {name} --user c")
    keys = (await firedeck("api-key list --user c -q")).stdout.split()
    for words in ("delete secrets a b", "delete users d e", f"delete api-keys {' '.join(keys)} --user c"):
        deleted = await firedeck(f"{words} {flags}")
        assert deleted.exit_code == 0, deleted.output
        assert deleted.stderr.count("deleted ") == (0 if flags else 2)
    assert (await firedeck("secret list -q")).stdout == ""
    assert (await firedeck("user list --filter serviceAccount=true --order-by name -q")).stdout.split() == [
        "a",
        "b",
        "c",
    ]
    assert (await firedeck("api-key list --user c -q")).stdout == ""


async def test_a_quiet_list_of_events_is_their_numbers(firedeck: Firedeck) -> None:
    await firedeck("create deployment smollm2-135m-instruct --deployment-id d --max-replica-count 0 --wait")
    shown = await firedeck("event list -q")
    assert shown.exit_code == 0
    assert [int(number) for number in shown.stdout.split()] == sorted(int(number) for number in shown.stdout.split())
    assert shown.stdout
