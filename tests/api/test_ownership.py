"""Whose deployment takes an adapter, whose deployed model may change: rights on what another user made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from engine.models import fetch
from engine.models.catalogue import find
from tests import adapter_files
from tests.house import Home, field_of
from tests.processes import SMOLLM2

pytestmark = pytest.mark.model

DEPLOYED_MODELS = "/v1/accounts/local/deployedModels"


@dataclass
class People:
    """Two contributors with a deployment each, a user with neither, and an adapter that anybody may load."""

    ada: httpx.AsyncClient
    bob: httpx.AsyncClient
    user: httpx.AsyncClient

    async def base_of(self, deployment: str) -> str:
        """The path of the record of a deployment's own model."""
        listed = (await self.user.get(DEPLOYED_MODELS)).json()["deployedModels"]
        [name] = [r["name"] for r in listed if r["deployment"].endswith(f"/{deployment}") and r["model"] == SMOLLM2]
        return f"/v1/{name}"


@pytest.fixture
async def people(own: Home, tmp_path: Path) -> AsyncIterator[People]:
    file = adapter_files.make(tmp_path / "a.gguf", fetch.path_of(find(SMOLLM2)), seed=1, strength=0.1)
    keys = {name: await own.person(name, role) for name, role in _ROLES.items()}
    async with own.http(keys["ada"]) as ada, own.http(keys["bob"]) as bob, own.http(keys["uma"]) as user:
        body = {"modelId": "lora", "file": str(file), "baseModel": SMOLLM2}
        async with own.http(own.admin_key) as admin:
            (await admin.post("/firedeck/v1/accounts/local/models", json=body)).raise_for_status()
        for name, http in (("ada", ada), ("bob", bob)):
            spec = {"baseModel": SMOLLM2, "maxReplicaCount": 0, "enableAddons": True}
            path = f"/v1/accounts/local/deployments?deploymentId=of-{name}"
            (await http.post(path, json=spec)).raise_for_status()
        yield People(ada, bob, user)


_ROLES = {"ada": "contributor", "bob": "contributor", "uma": "user"}


async def load(http: httpx.AsyncClient, deployment: str, **more: object) -> httpx.Response:
    return await http.post(DEPLOYED_MODELS, json={"model": "lora", "deployment": deployment, **more})


def refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (403, 7), answer.text
    assert "on what another user owns needs the role user" in answer.json()["message"]


async def test_a_contributor_loads_adapters_onto_deployments_of_its_own_alone(people: People) -> None:
    refused(await load(people.bob, "of-ada"))
    refused(await load(people.bob, "accounts/local/deployments/of-ada"))
    assert (await load(people.bob, "of-bob")).status_code == 200
    assert (await load(people.user, "of-ada")).status_code == 200


async def test_what_is_not_there_is_not_there_for_contributors_either(people: People) -> None:
    for deployment in ("nothing", "accounts/elsewhere/deployments/of-ada"):
        assert (await load(people.bob, deployment)).status_code == 404
    for field in ("model", "deployment"):
        answer = await people.bob.post(DEPLOYED_MODELS, json={"model": "lora", "deployment": "of-bob"} | {field: ""})
        assert field_of(answer) == field


async def test_the_base_and_the_adapters_of_a_deployment_are_its_makers_to_change(people: People) -> None:
    base = await people.base_of("of-ada")
    refused(await people.bob.patch(base, json={"description": "mine"}))
    assert (await people.ada.patch(base, json={"description": "of Ada"})).json()["description"] == "of Ada"
    adapter = f"/v1/{(await load(people.user, 'of-ada')).json()['name']}"
    refused(await people.bob.delete(adapter))
    assert (await people.ada.delete(adapter)).status_code == 200


async def test_a_default_is_taken_only_from_what_is_ones_own(people: People) -> None:
    theirs = await people.base_of("of-bob")
    refused(await people.bob.patch(theirs, json={"default": True}))  # Ada's came first, and is the default
    assert (await people.user.patch(theirs, json={"default": True})).json()["default"]
    assert (await load(people.ada, "of-ada")).json()["default"]
    refused(await load(people.bob, "of-bob", default=True))
    assert not (await load(people.bob, "of-bob")).json()["default"]
