"""Exit statuses: one for each way in which a command may end."""

from __future__ import annotations

import subprocess
import sys

import click
import httpx
import pytest
from click.testing import CliRunner

from client.cli import exits
from client.cli.main import main
from client.errors import DeadlineExceeded, NotFound, PermissionDenied, Unimplemented, WaitedTooLong
from client.resources import Deployments


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("x"), exits.FAILED), (PermissionDenied("x"), exits.FAILED), (Unimplemented("x"), exits.NOT_HERE),
        (WaitedTooLong("x"), exits.TIMED_OUT), (DeadlineExceeded("a proxy's 504"), exits.FAILED),
        (KeyboardInterrupt(), exits.INTERRUPTED),
    ],
)  # fmt: skip
def test_a_command_ends_with_the_status_of_what_ended_it(monkeypatch, error, status):
    async def get(self: Deployments, deployment: str) -> None:
        raise error

    monkeypatch.setattr(Deployments, "get", get)
    shown = CliRunner().invoke(main, ["get", "deployment", "x", "--base-url", "http://127.0.0.1:9"])
    assert shown.exit_code == status
    assert len(shown.stderr.splitlines()) == 1


NOWHERE = ["--base-url", "http://127.0.0.1:9", "--api-key", "k"]


@pytest.mark.parametrize(
    "words",
    [
        "get deployment a/b/c", "get deployment accounts/local/models/m",
        "create secret --name X", "update secret x --value a --from-file b", "create secret --name X --from-file /no",
        "update guard g", "update user ada", "update deployed-model x", "update secret x", "update router r",
        "update model m", "update deployment d", "list audit-logs --limit 2 --page-size 3",
        "list quotas --user-id ada", "delete deployment a/b/c", "bench --size",
    ],
)  # fmt: skip
def test_words_that_are_refused_before_anything_is_asked_are_a_slip(words):
    shown = CliRunner().invoke(main, [*words.split(), *NOWHERE])
    assert (shown.exit_code, "no answer" in shown.output) == (exits.USAGE, False), shown.output


def test_a_slip_in_one_of_several_names_is_a_failure_because_the_others_were_asked_about():
    shown = CliRunner().invoke(main, ["delete", "model", "a/b/c", "chat", *NOWHERE])
    assert (shown.exit_code, len(shown.stderr.splitlines())) == (exits.FAILED, 2), shown.output


def test_what_the_engine_refuses_is_no_slip(monkeypatch):
    async def answer(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"code": 3, "message": "not so"})

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    shown = CliRunner().invoke(main, ["get", "deployment", "chat", *NOWHERE])
    assert (shown.exit_code, shown.stderr) == (exits.FAILED, "error: not so\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("list deployments", "interrupted"), ("--once", "interrupted"), ("signin", "interrupted"),
        ("delete model m --dry-run", "interrupted"),
        ("delete model m", "interrupted: what was asked for is not taken back"),
    ],
)  # fmt: skip
def test_who_interrupts_is_told_in_one_line_whether_anything_was_asked_for(monkeypatch, tmp_path, words, told):
    async def interrupted(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and words.startswith("delete"):
            return httpx.Response(200, json={"name": "accounts/local/models/m"})
        raise KeyboardInterrupt

    def asked(text: str, **options: bool) -> str:  # as click has it
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise click.Abort from None

    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", interrupted)
    monkeypatch.setattr("client.cli.signin.click.prompt", asked)
    more = ["--base-url", "http://127.0.0.1:9"] if words == "signin" else NOWHERE
    shown = CliRunner().invoke(main, [*words.split(), *more])
    assert (shown.exit_code, shown.stderr.splitlines()[-1]) == (exits.INTERRUPTED, told), shown.output
    assert "Aborted" not in shown.output


def test_the_first_of_several_errors_decides(monkeypatch):
    errors = {"a": Unimplemented("x"), "b": NotFound("y")}

    async def delete(self: Deployments, deployment: str, **options: bool) -> None:
        raise errors[deployment]

    async def get(self: Deployments, deployment: str) -> str:
        return deployment

    monkeypatch.setattr(Deployments, "delete", delete)
    monkeypatch.setattr(Deployments, "get", get)
    shown = CliRunner().invoke(main, ["delete", "deployment", "a", "b", "--base-url", "http://127.0.0.1:9"])
    assert (shown.exit_code, len(shown.stderr.splitlines())) == (exits.NOT_HERE, 2)


def test_a_question_that_nobody_answers_is_told_with_what_to_give_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    shown = CliRunner().invoke(main, ["signin", "--base-url", "http://127.0.0.1:9"], input="")
    assert shown.exit_code == exits.FAILED
    assert shown.stderr.splitlines()[-1] == "error: no key was typed (give it with --api-key where nobody can type it)"
    assert "Aborted" not in shown.output


# Ctrl-C as soon as a module of this name is looked for.
INTERRUPTING = """
import sys
hit = sys.argv[1]
class Finder:
    def find_spec(self, name, *rest):
        if name == hit:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["version"]
from client.cli.__main__ import start
start()
"""


@pytest.mark.parametrize("module", ["client.cli.main", "click", "client.errors"])
def test_who_interrupts_while_the_command_is_still_being_read_is_told_the_same(module):
    ended = subprocess.run([sys.executable, "-c", INTERRUPTING, module], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (exits.INTERRUPTED, "", "interrupted\n")


def test_who_interrupts_while_words_are_read_is_told_the_same(monkeypatch):
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("client.cli.grammar.reorder", interrupted)
    shown = CliRunner().invoke(main, ["list", "deployments"])
    assert (shown.exit_code, shown.stderr) == (exits.INTERRUPTED, "interrupted\n")
