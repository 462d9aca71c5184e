"""Exit statuses: one for each way in which a command may end."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from client.cli import exits
from client.cli.main import main
from client.errors import DeadlineExceeded, NotFound, PermissionDenied, Unimplemented
from client.resources import Deployments
from client.waiting import WaitedTooLong


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
