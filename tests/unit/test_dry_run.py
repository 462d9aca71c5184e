"""`--dry-run`, on every command that changes something: nothing is sent that could, and what would change is shown."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from fastapi.routing import APIRoute

from client import files
from client.cli.main import main
from client.config import Context
from client.dry_run import CHECKED, DryRun, NotMade
from client.resources import Client
from engine.api.query import names_of
from engine.app import ROUTERS

ADAPTER = "accounts/local/models/adapter"
KEY = {"keyId": "k1", "displayName": "laptop", "prefix": "fd_1"}
REFUSED = {"refusedKeys": [{"user": "ada", "keyId": "k1", "until": "2026-01-01T00:00:00Z"}]}
THERE = {
    "maxReplicaCount": 1, "minReplicaCount": 0, "replicaCount": 1, "displayName": "old", "state": "READY",
    "role": "user", "value": "10", "maxValue": "100", "breaker": {"hits": 3, "window": "60s", "refuseFor": "60s"},
}  # fmt: skip
# Every command that changes something, and what is told of the change that it would make.
COMMANDS = {
    "api-key create --key-name laptop --user ada": "Display Name: laptop",
    "api-key create --display-name laptop --user ada": "Display Name: laptop",
    "api-key delete k1 --user ada": "Prefix: fd_1",
    "deployed-model update x --default": "Default: unset -> true",
    "deployment create m --deployment-id new-one --max-replica-count 4": "Max Replica Count: 4",
    "deployment delete chat other": "Max Replica Count: 1",
    "deployment scale chat --replica-count 3 --wait": "Desired Replica Count: unset -> 3",
    "deployment undelete chat": "accounts/local/deployments/chat would be brought back",
    "deployment update chat --max-replica-count 4": "Max Replica Count: 1 -> 4",
    "guard create new-one --keyword x": "Keywords: x",
    "guard delete g": "Breaker Window: 1m0s",
    "guard release g --key-id k1": "Refused Keys: user=ada keyId=k1 until=2026-01-01T00:00:00Z -> none",
    "guard update g --breaker-hits 5": "Breaker Hits: 3 -> 5",
    "load-lora adapter --deployment chat --wait": f"{ADAPTER} would be loaded",
    "model create new-one ./m.gguf --display-name New": "Display Name: New",
    "model delete m": "Display Name: old",
    "model prepare m --precision FP8 --wait": "Prepared: unset -> FP8 PREPARING",
    "model update m --display-name New": "Display Name: old -> New",
    "model upload new-one FILE": "to be sent: model.gguf, 4 B",
    "quota delete replica-count": "Value: 10",
    "quota update replica-count --value 20": "Value: 10 -> 20",
    "router create new-one --target a=1": "Targets: deployment=a weight=1",
    "router delete r": "Display Name: old",
    "router shift r --to b": "To: unset -> b",
    "router update r --display-name New": "Display Name: old -> New",
    "secret create --name NEW_ONE --value hush": "Value: (not shown)",
    "secret delete s": "Display Name: old",
    "secret update s --value hush": "Value: 10 -> (not shown)",
    "unload-lora adapter": "accounts/local/deployedModels/adapter-1 would be deleted",
    "user create --user-id new-one --role user": "Role: user",
    "user delete ada": "Role: user",
    "user update ada --role admin": "Role: user -> admin",
}  # fmt: skip
ROUTES = [
    (route.methods or set(), route.path_regex)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
]
READ = {"list", "get", "verify", "download", "pull"}
# They read, run something of their own, or keep something on this machine alone.
NO_CHANGE = {
    "alerts", "backup", "bench", "completion", "dashboard", "demo", "docs", "explain", "requests", "serve", "signin",
    "signout", "usage", "version", "web", "whoami",
}  # fmt: skip


class FakeEngine(BaseHTTPRequestHandler):
    """Answers as an engine in which everything is there but what is called `new-one`, which cannot say what `mute` is,
    and which has no route that the engine lacks; a change that is none of a dry run is remembered."""

    changed: list[str]

    def _handle(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length) or "{}")
        name = re.split(r"[:]", path.partition("/v1/")[2])[0]
        if self.command != "GET" and "validateOnly=true" not in query:
            type(self).changed.append(f"{self.command} {self.path}")
        if not any(self.command in methods and pattern.fullmatch(path) for methods, pattern in ROUTES):
            self._answer(404, {"code": 5, "message": f"there is no route {self.command} {path}"})
        elif self.command == "GET" and name.endswith("new-one"):
            self._answer(404, {"code": 5, "message": f"there is no {name}"})
        elif self.command == "GET" and name.endswith("mute"):
            self._answer(503, {"code": 14, "message": "not now"})
        elif path.endswith(":scale"):
            self._answer(200, {})
        elif path.endswith("/deployedModels"):
            there = {"name": "accounts/local/deployedModels/adapter-1", "model": ADAPTER, "deployment": "d"}
            self._answer(200, {"deployedModels": [there]})
        elif path.endswith("/apiKeys"):
            self._answer(200, {"apiKeys": [KEY] if "k1" in query else []})
        else:
            made = re.search(r"(?:deployment|user|router|guard)Id=([\w-]+)", query)
            name = f"{name}/{made[1]}" if made else name
            own = REFUSED if "/guards/" in name else {}
            self._answer(200, {"name": name} | THERE | own | body if self.command != "DELETE" else {})

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _handle

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Nothing is logged."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeEngine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def dry(url: str, words: str, *more: str) -> Result:
    FakeEngine.changed = []
    asked = [*words.split(), "--dry-run", "--base-url", url, "--api-key", "k", "-a", "local", *more]
    return CliRunner().invoke(main, asked, prog_name="firedeck")


def leaves(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{above}{name} ")
        else:
            yield above + name, command


@pytest.mark.parametrize(("words", "told"), COMMANDS.items(), ids=COMMANDS)
def test_a_dry_run_shows_the_change_and_sends_nothing_that_could_make_it(url, tmp_path, words, told):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    shown = dry(url, words.replace("FILE", str(file)))
    assert (shown.exit_code, FakeEngine.changed) == (0, []), shown.output
    assert "dry run: nothing was changed; " in shown.stderr
    assert told in shown.output
    assert "hush" not in shown.output


def test_every_command_that_changes_something_has_a_dry_run_and_no_other_has():
    changing = {name for name, _ in leaves(main) if name.split()[-1] not in READ and name not in NO_CHANGE}
    assert {name for name, command in leaves(main) if any(p.name == "dry_run" for p in command.params)} == changing
    tried = {
        words.split()[0] if words.split()[0].endswith("-lora") else " ".join(words.split()[:2]) for words in COMMANDS
    }
    assert tried == changing


def test_what_may_be_told_that_nothing_is_to_change_are_the_engines_routes_that_take_it():
    takes, others = [], []
    for router in ROUTERS:
        for route in router.routes:
            [method] = route.methods
            path = re.sub(r"\{\w+\}", "x", route.path)
            known = any(method in methods and pattern.fullmatch(path) for methods, pattern in CHECKED)
            if method == "GET":
                continue
            taken = "validateOnly" in names_of(route.dependant)
            (takes if taken else others).append(path)
            assert known == taken, f"{method} {path}"
    assert len(takes) > 10
    assert len(others) > 10


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("model create there ./m.gguf", "error: accounts/local/models/there exists already (give another id)"),
        ("load-lora adapter --deployment new-one", "error: there is no accounts/local/deployments/new-one"),
        ("model delete new-one", "error: there is no accounts/local/models/new-one"),
        ("api-key delete k2 --user ada", "error: there is no key k2"),
        ("guard release g --key-id k2", "error: guard 'g' refuses no key of that id (firedeck guard get shows whom)"),
    ],
)
def test_what_cannot_be_done_is_refused_as_it_would_be_then(url, words, told):
    shown = dry(url, words)
    assert (shown.exit_code, FakeEngine.changed) == (1, []), shown.output
    assert told in shown.stderr


def test_one_of_several_that_cannot_be_deleted_fails_the_command_and_the_others_are_shown(url):
    shown = dry(url, "model delete m new-one n")
    assert shown.exit_code == 1
    assert [name for name in "mn" if f"accounts/local/models/{name} would be deleted" in shown.stderr] == ["m", "n"]


def test_who_answers_is_told_whether_the_engine_was_asked(url):
    assert "the engine may still refuse it" in dry(url, "secret delete m").stderr
    assert "the engine may still refuse it" not in dry(url, "user delete ada").stderr


def test_json_is_one_document_that_has_what_would_be_where_the_resource_has_it(url):
    shown = dry(url, "model update m --display-name New", "-o", "json")
    assert json.loads(shown.stdout)["displayName"] == "New"
    several = json.loads(dry(url, "model delete m new-one n", "-o", "json").stdout)
    assert [one["name"].rpartition("/")[2] for one in several] == ["m", "n"]
    prepared = json.loads(dry(url, "model prepare m --precision FP8", "-o", "json").stdout)["firedeck"]["prepared"]
    assert prepared == [{"precision": "FP8", "state": "PREPARING"}]
    made = json.loads(dry(url, "model create new-one ./m.gguf --base-model m", "-o", "json").stdout)
    assert (made["peftDetails"], Path(made["firedeck"]["file"]).name) == ({"baseModel": "m"}, "m.gguf")
    assert "name" not in json.loads(dry(url, "load-lora adapter --deployment chat", "-o", "json").stdout)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("deployment create m --deployment-id new-one", "new-one"), ("model update m --display-name New", "model m"),
        ("model delete m", ""), ("deployment delete chat other", ""), ("load-lora adapter --deployment chat", ""),
        ("unload-lora adapter", ""), ("model prepare m --precision FP8", ""),
    ],
)  # fmt: skip
def test_quiet_is_what_the_command_itself_would_print_then(url, words, name):
    shown = dry(url, words, "-q")
    assert shown.output.strip() == name.replace("model ", "accounts/local/models/")


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("deployment scale chat --replica-count 3", "--display-name=old --min-replica-count=0 --max-replica-count=1"),
        (
            "guard create new-one --keyword x --keyword y",
            "--breaker-hits=3 --breaker-window=1m0s --breaker-refuse-for=1m0s --keyword=x --keyword=y",
        ),
        ("router create new-one --target a=1", "--display-name=old --target=a=1"),
        ("api-key create --display-name laptop --user ada", "--display-name=laptop"),
        ("secret update s --value hush", ""), ("user delete ada", "--display-name=old --role=user"),
    ],
)  # fmt: skip
def test_flags_are_those_alone_that_commands_of_the_noun_take(url, words, flags):
    assert dry(url, words, "-o", "flag").stdout.strip() == flags


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_a_model_that_nothing_can_be_told_of_hides_no_deployment_that_is_made_or_would_be(url, more):
    model = "accounts/fireworks/models/mute"
    words = ["deployment", "create", model, "--deployment-id", "new-one", "--base-url", url, "--api-key", "k", *more]
    shown = CliRunner().invoke(main, [*words, "-a", "local"])
    assert (shown.exit_code, "accounts/local/deployments/new-one" in shown.output) == (0, True), shown.output


@pytest.mark.parametrize(
    "words", ["deployment create m --kv-cache-fraction 0.5", "update deployment d --kv-cache-memory-pct=9"]
)
def test_a_share_of_memory_for_the_cache_is_told_to_have_no_effect_here_and_why(url, words):
    told = "warning: kvCacheMemoryPct has no effect on this engine: the cache has just room for"
    assert told in dry(url, words).stderr


def test_a_change_to_what_is_so_already_says_so(url):
    assert dry(url, "user update ada --role user").stdout == "all of it is so already\n"


async def test_no_file_is_sent_and_no_upload_is_called_whole(url, tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    FakeEngine.changed = []
    async with Client(Context(url, "k", "local"), DryRun(url, "k")) as client:
        with pytest.raises(NotMade, match="a file would be sent"):
            await files.put(client.transport, f"{url}/firedeck/v1/files/signed", file)
        with pytest.raises(NotMade, match="models/m would be made READY"):
            await client.models.validate_upload("m")
        assert await client.models.validate_upload("m", config_only=True)
    assert FakeEngine.changed == []
