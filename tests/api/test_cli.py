"""The command line against a real engine: short names of models, and dry runs that say that they are."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from click.testing import CliRunner, Result

from client.cli.main import main
from tests.conftest import SHARED
from tests.processes import SMOLLM2, EngineProcess

pytestmark = pytest.mark.model
BARE = SMOLLM2.rpartition("/")[2]


def firedeck(engine: EngineProcess, words: str) -> Result:
    connection = ["--base-url", engine.context.base_url, "--api-key", engine.key]
    return CliRunner().invoke(main, [*words.split(), *connection])


def test_a_bare_id_of_the_library_is_deployed_under_its_full_name(engine: EngineProcess) -> None:
    made = firedeck(engine, f"deployment create {BARE} --draft-model {BARE} --draft-token-count 4 --dry-run -o json")
    assert made.exit_code == 0, made.output
    shown = json.loads(made.stdout)
    assert (shown["baseModel"], shown["draftModel"]) == (SMOLLM2, SMOLLM2)


def test_a_model_that_is_still_to_be_fetched_is_named_with_the_command_that_does_so(engine: EngineProcess) -> None:
    absent = firedeck(engine, "deployment create qwen2p5-0p5b-instruct --deployment-shape minimal --dry-run")
    assert absent.exit_code == 0, absent.output
    assert "is not here yet: a replica fetches it first, or: firedeck model pull qwen2p5-0p5b-instruct" in absent.stderr
    assert "model pull" not in firedeck(engine, f"deployment create {BARE} --dry-run").stderr


@pytest.mark.parametrize(
    "words",
    [
        f"deployment create {BARE} --deployment-id rehearsed --dry-run",
        f"deployment update {SHARED} --description rehearsed --dry-run",
        f"deployment delete {SHARED} --ignore-checks --dry-run",
    ],
)
def test_a_dry_run_says_that_nothing_was_changed_and_nothing_was(engine: EngineProcess, words: str) -> None:
    before = firedeck(engine, "deployment list -o json").stdout
    told = firedeck(engine, words)
    assert told.exit_code == 0, told.output
    assert told.stderr.startswith("dry run: nothing was changed; ")
    assert "accounts/local/deployments/" in told.output
    assert firedeck(engine, "deployment list -o json").stdout == before


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--max-replica-count 3", {"Max Replica Count": "-> 3", "Replicas": "none is replaced"}),
        ("--max-context-length 512", {"Max Context Length": "-> 512", "Replicas": "to be replaced by new ones"}),
        ("--scale-up-window 1m", {"Scale Up Window": "-> ", "Replicas": "none is replaced"}),
        ("--load-targets concurrent_requests=2",
         {"Load Targets concurrent_requests": "-> 2", "Load Targets default": "-> unset", "Replicas": ""}),
        ("--description x", {"Description": "unset -> x", "Replicas": "none is replaced"}),
    ],
)  # fmt: skip
def test_the_dry_run_of_an_update_says_what_changes_and_whether_replicas_are_replaced(
    engine: EngineProcess, flags: str, told: dict[str, str]
) -> None:
    shown = firedeck(engine, f"deployment update {SHARED} {flags} --dry-run")
    assert shown.exit_code == 0, shown.output
    changes = dict(line.split(": ") for line in shown.stdout.splitlines())
    assert changes.keys() == told.keys()
    assert [name for name, end in told.items() if end not in changes[name]] == [], changes
    as_json = json.loads(firedeck(engine, f"deployment update {SHARED} {flags} --dry-run -o json").stdout)
    assert (as_json["state"] == "UPDATING") == ("by new" in told["Replicas"])


def test_what_is_no_dry_run_does_not_say_so(engine: EngineProcess) -> None:
    assert "dry run" not in firedeck(engine, f"deployment get {SHARED}").output


def test_one_deployment_is_shown_with_what_holds_it_up(own_engine: EngineProcess) -> None:
    assert firedeck(own_engine, f"deployment create {BARE} --deployment-id idle --min-replica-count 0").exit_code == 0
    assert "Held Up By" not in firedeck(own_engine, "deployment get idle").stdout
    assert firedeck(own_engine, "quota update monthly-spend-usd --value 0").exit_code == 0
    shown = firedeck(own_engine, "deployment get idle").stdout
    assert "\nHeld Up By: MONTHLY_SPEND_LIMIT_EXCEEDED (its requests are refused" in shown
    assert "conditions" not in firedeck(own_engine, "deployment get idle -o json").stdout


def test_an_update_that_names_nothing_to_change_changes_nothing(engine: EngineProcess) -> None:
    refused = firedeck(engine, f"deployment update {SHARED}")
    assert refused.exit_code == 2
    assert "nothing to change was given" in refused.stderr


def test_without_a_key_the_engine_says_what_a_key_is_for(engine: EngineProcess, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    for name in ("FIREDECK_API_KEY", "FIREWORKS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    refused = CliRunner().invoke(main, ["deployment", "list", "--base-url", engine.context.base_url])
    assert refused.exit_code != 0
    assert "no API key" in refused.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("account get", "Name: accounts/local\n"), ("list accounts", "accounts/fireworks "),
        ("node list", "FREE/ALL"), ("list events --limit 2", "\nthe newest 2: --limit shows older ones"),
        ("deployment-shape-version list", "smollm2-135m-instruct-fast/versions/"),
        ("deployment list --order-by name --filter state=READY", SHARED),
    ],
)  # fmt: skip
def test_what_an_operator_looks_up(engine: EngineProcess, words: str, told: str) -> None:
    shown = firedeck(engine, words)
    assert shown.exit_code == 0, shown.output
    assert told in shown.stdout
    assert "UNSPECIFIED" not in shown.stdout


def test_a_version_of_a_shape_is_found_by_the_name_that_the_list_shows(engine: EngineProcess) -> None:
    name = (
        firedeck(engine, "deployment-shape-version list smollm2-135m-instruct-fast").stdout.splitlines()[1].split()[0]
    )
    assert f"Name: {name}" in firedeck(engine, f"deployment-shape-version get {name}").stdout


async def test_the_dry_run_of_a_delete_is_refused_as_the_delete_would_be(engine: EngineProcess) -> None:
    async with httpx.AsyncClient(base_url=engine.context.base_url, timeout=120) as http:
        asked = {"model": f"accounts/local/deployments/{SHARED}", "prompt": "a", "max_tokens": 1}
        key = {"Authorization": f"Bearer {engine.key}"}
        (await http.post("/inference/v1/completions", json=asked, headers=key)).raise_for_status()
    words = f"deployment delete {SHARED} --dry-run"
    refused = await asyncio.to_thread(firedeck, engine, words)
    assert refused.exit_code == 1
    assert "in use" in refused.stderr
    assert "--ignore-checks deletes it anyway" in refused.stderr
    assert (await asyncio.to_thread(firedeck, engine, f"{words} --ignore-checks")).exit_code == 0


@pytest.mark.parametrize(
    ("words", "told", "status"),
    [
        (f"deployment scale {SHARED} --replica-count 1", "", 0),
        (f"deployment scale {SHARED} --replica-count 999", "--replica-count 999 is outside ", 1),
        (f"model delete {SMOLLM2}", "owns the model library", 1),
        ("model delete no-such-model", "does not exist", 1),
        (f"model update {SMOLLM2} --display-name x", "owns the model library", 1),
        (f"load-lora no-such-adapter --deployment {SHARED}", "does not exist", 1),
        (f"model create there {SMOLLM2} --base-model no-such-base", "does not exist", 1),
        ("secret create --name DRY --value hush", "accounts/local/secrets/dry would be created", 0),
        ("api-key create --key-name dry", "would be created", 0),
        (f"model prepare {SMOLLM2} --precision FP8", f"{SMOLLM2} would be prepared", 0),
    ],
)
def test_a_dry_run_is_refused_as_the_change_would_be_and_leaves_nothing(
    engine: EngineProcess, words: str, told: str, status: int
) -> None:
    shown = firedeck(engine, f"{words} --dry-run")
    assert (shown.exit_code, told in shown.output) == (status, True), shown.output
    assert "hush" not in shown.output
    for kind in ("secrets", "models", "api-keys"):
        left = firedeck(engine, f"list {kind} -o json").stdout
        assert not [word for word in ('"dry"', "/there", "preparing") if word in left], left
