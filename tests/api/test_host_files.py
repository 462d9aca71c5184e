"""What lies on the engine's machine is for admins: others learn nothing of files outside of the model folders."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from client.access_types import ROLES
from client.types import Deployment
from engine.models import fetch
from engine.placement.port import Placed
from tests.house import Home, home
from tests.processes import SMOLLM2
from tests.unit.test_models_gguf import build

MODELS = "/v1/accounts/local/models"
FILES = "/firedeck/v1/accounts/local/models"
BELOW_ADMIN = [role for role in ROLES if role != "admin"]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Home]:
    """An engine with a model folder, and beside it, what nobody is to see."""
    (tmp_path / "models").mkdir()
    (tmp_path / "outside").mkdir()
    for folder in ("models", "outside"):
        (tmp_path / folder / "a.gguf").write_bytes(build())
    (tmp_path / "outside" / "secret").write_bytes(b"root:x:0")
    (tmp_path / "models" / "away.gguf").symlink_to(tmp_path / "outside" / "a.gguf")
    (tmp_path / "models" / "loop").symlink_to(tmp_path / "models" / "loop")
    async with home(tmp_path / "data", model_folders=(tmp_path / "models",)) as opened:
        yield opened


async def register(http: httpx.AsyncClient, file: str, model_id: str = "own") -> httpx.Response:
    return await http.post(FILES, json={"modelId": model_id, "file": file})


@pytest.mark.parametrize("role", ["contributor", "user"])
async def test_of_files_outside_of_the_model_folders_nothing_is_told(here: Home, tmp_path: Path, role: str) -> None:
    outside, told = tmp_path / "outside", set()
    async with here.http(await here.person("ada", role)) as ada:
        for file in (
            outside / "a.gguf", outside / "secret", outside / "nothing", outside, "/etc/passwd", "/etc/nothing",
            "relative", tmp_path / "models" / ".." / "outside" / "secret", tmp_path / "models" / "away.gguf",
            tmp_path / "models" / "loop" / ".." / ".." / "outside" / "secret", tmp_path / "models-beside" / "a.gguf",
            "/" + "a" * 5000, "/a\0b", here.data_dir / "admin.key",
        ):  # fmt: skip
            answer = await register(ada, str(file))
            told.add((answer.status_code, answer.text))
        assert len(told) == 1
        [(status, text)] = told
        assert (status, "--model-folder" in text) == (403, True)
        made = await register(ada, str(tmp_path / "models" / "a.gguf"))
        assert made.status_code == 200, made.text
        assert "there is no file" in (await register(ada, str(tmp_path / "models" / "none.gguf"), "b")).text


async def test_an_admin_registers_any_file(here: Home, tmp_path: Path) -> None:
    async with here.http(here.admin_key) as admin:
        made = await register(admin, str(tmp_path / "outside" / "a.gguf"))
        assert made.json()["firedeck"]["file"] == str(tmp_path / "outside" / "a.gguf")


async def test_the_engines_own_cache_is_a_model_folder(own: Home) -> None:
    async with own.http(await own.person("ada", "contributor")) as ada:
        answer = await register(ada, str(fetch.models_dir() / "nothing-like-it.gguf"))
    assert "there is no file" in answer.text


@pytest.mark.parametrize("role", BELOW_ADMIN)
async def test_no_answer_tells_others_than_admins_where_anything_lies(here: Home, tmp_path: Path, role: str) -> None:
    spec = {"baseModel": SMOLLM2, "maxReplicaCount": 0}
    async with here.http(here.admin_key) as admin:
        (await register(admin, str(tmp_path / "outside" / "a.gguf"))).raise_for_status()
        (await admin.post(MODELS, json={"modelId": "up"})).raise_for_status()
        (await admin.post("/v1/accounts/local/deployments?deploymentId=d", json=spec)).raise_for_status()
        whole = (await admin.get("/firedeck/v1/fleet")).json()["engine"]
    assert (whole["dataDir"], whole["pid"] > 0) == (str(here.data_dir), True)
    (tmp_path / "outside" / "a.gguf").unlink()
    async with here.http(await here.person("eve", role)) as eve:
        seen = await eve.get(f"{MODELS}/own")
        assert seen.json()["firedeck"]["file"] == "a.gguf"
        engine = (await eve.get("/firedeck/v1/fleet")).json()["engine"]
        assert not {"dataDir", "pid"} & engine.keys()
        oracle = await eve.get(MODELS, params={"filter": f'firedeck.file:"{tmp_path}"'})
        assert oracle.json()["models"] == []
        for answer in (
            seen, oracle, await eve.get(MODELS), await eve.get("/v1/accounts/fireworks/models"),
            await eve.get(f"/v1/{SMOLLM2}"), await eve.get("/firedeck/v1/fleet"), await eve.get("/firedeck/v1/nodes"),
            await eve.get("/firedeck/v1/accounts/local/deployments/d"), await eve.get("/firedeck/v1/events"),
            await eve.post(f"{MODELS}/up:getUploadEndpoint", json={"filenameToSize": {"a.gguf": "10"}}),
            await eve.get(f"{MODELS}/up:validateUpload"), await eve.get(f"{MODELS}/own:getDownloadEndpoint"),
            await eve.post("/v1/accounts/local/deployments", json={"baseModel": "own"}),
            await eve.patch(f"{MODELS}/own", json={"description": "mine"}),
        ):  # fmt: skip
            for place in (tmp_path, fetch.models_dir()):
                assert str(place) not in answer.text, answer.request.url


async def test_which_process_a_replica_is_is_for_admins(here: Home) -> None:
    name = "accounts/local/deployments/still"
    keeper = here.engine.house.fleet.keep(Deployment(name=name, base_model=SMOLLM2))  # nobody looks at it
    keeper.replicas.add("r", "g", "key").attach(Placed("r", Path("/nowhere"), 4242), None)
    for role in ROLES:
        async with here.http(await here.person(f"p-{role}", role)) as http:
            one = (await http.get(f"/firedeck/v1/{name}")).json()
            [all_of_it] = (await http.get("/firedeck/v1/fleet")).json()["deployments"]
        for seen in (one, all_of_it):
            assert seen["replicas"][0].get("pid") == (4242 if role == "admin" else None)


async def test_weights_are_not_for_who_may_only_infer(here: Home, tmp_path: Path) -> None:
    async with here.http(here.admin_key) as admin:
        (await register(admin, str(tmp_path / "outside" / "a.gguf"))).raise_for_status()
    for role, status in (("inference-user", 403), ("contributor", 200)):
        async with here.http(await here.person(f"p-{role}", role)) as http:
            assert (await http.get(f"{MODELS}/own:getDownloadEndpoint")).status_code == status


async def test_watchers_of_either_kind_get_frames_of_their_own(here: Home) -> None:
    house = here.engine.house
    quotas_of = house.access.quotas.holding_up
    for whole in (True, False, True, False):
        frame = await house.frames.latest(house.fleet, quotas_of, house.started_at, "local", 60.0, whole=whole)
        shown = json.loads(frame.snapshot())["engine"]
        assert ("dataDir" in shown, "pid" in shown) == (whole, whole)
