"""A dry run at Fireworks' own host: nothing that could change anything is sent there, and what is not known is said."""

from __future__ import annotations

import httpx
import pytest

from client.config import FIREWORKS_HOST, Context
from client.dry_run import NOT_ASKED, DryRun, NotMade
from client.errors import Unimplemented
from client.resources import Client
from client.types import DeploymentSpec

THERE = {"maxReplicaCount": 1, "replicaCount": 1, "state": "READY"}


def fireworks(asked: list[str]) -> Client:
    """A dry run at Fireworks' own host, where every model and deployment but `new-one` is there."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        if request.url.path.endswith("new-one"):
            return httpx.Response(404, json={"code": 5, "message": "no"})
        return httpx.Response(200, json={"name": request.url.path.removeprefix("/v1/")} | THERE)

    url = f"https://{FIREWORKS_HOST}"
    return Client(Context(url, "k", "local"), DryRun(url, "k", transport=httpx.MockTransport(answer)))


@pytest.mark.parametrize(
    ("change", "done"),
    [
        (
            lambda c: c.deployments.create(DeploymentSpec(base_model="m"), "new-one"),
            "deployments/new-one would be created",
        ),
        (lambda c: c.deployments.update("chat", DeploymentSpec(max_replica_count=3)), "chat would be changed"),
        (lambda c: c.deployments.scale("chat", 3), "chat would be scaled"),
        (lambda c: c.deployments.delete("chat"), "chat would be deleted"),
    ],
)
async def test_fireworks_itself_is_sent_no_change_and_what_is_not_known_is_said(change, done):
    asked: list[str] = []
    async with fireworks(asked) as client:
        with pytest.raises(NotMade) as rehearsed:
            await change(client)
    assert {one.partition(" ")[0] for one in asked} == {"GET"}
    assert (str(rehearsed.value).endswith(done), rehearsed.value.change.doubt) == (True, NOT_ASKED)


async def test_what_fireworks_has_not_is_not_rehearsed_there():
    async with fireworks([]) as client:
        with pytest.raises(Unimplemented, match="nothing of that kind"):
            await client.guards.delete("g")


@pytest.mark.parametrize(
    ("url", "theirs"),
    [("https://api.fireworks.ai/inference", True), ("http://127.0.0.1:8700", False), ("http://[", False), ("", False)],
)
def test_fireworks_own_api_is_told_by_its_host(url: str, theirs: bool) -> None:
    assert Context(base_url=url).is_fireworks is theirs
