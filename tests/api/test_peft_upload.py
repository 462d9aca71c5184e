"""Adapters as PEFT saves them, through the documented upload and from a folder of the engine's machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import gguf
import numpy as np
import pytest

from engine.models import fetch, peft
from engine.models.adapter import BaseFacts, read_base
from engine.models.catalogue import find
from tests import adapter_files, peft_files
from tests.house import Home, field_of, home
from tests.processes import SMOLLM2

pytestmark = pytest.mark.model
MODELS = "/v1/accounts/local/models"
FILES = "/firedeck" + MODELS
TENSORS = 2 * 2 * 7  # A and B of seven weights of two layers


@pytest.fixture(scope="module")
def base() -> BaseFacts:
    return read_base(fetch.path_of(find(SMOLLM2)))


@pytest.fixture
def folder(base: BaseFacts, tmp_path: Path) -> Path:
    return peft_files.folder(tmp_path / "peft", peft_files.random_tensors(base, seed=5, rank=8, layers=2), r=8)


def declared(**details: object) -> dict[str, object]:
    wanted = {"baseModel": SMOLLM2, "r": 8, "targetModules": ["q_proj"], **details}
    return {"modelId": "mine", "model": {"kind": "HF_PEFT_ADDON", "peftDetails": wanted}}


async def test_the_files_are_uploaded_validated_and_become_one_that_is_served(own: Home, folder: Path) -> None:
    (folder / "README.md").write_text("mine")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    async with own.http(own.admin_key) as http:
        assert (await http.post(MODELS, json=declared())).json()["state"] == "UPLOADING"
        sizes = {"filenameToSize": {name: str(len(content)) for name, content in files.items()}}
        urls = (await http.post(f"{MODELS}/mine:getUploadEndpoint", json=sizes)).json()["filenameToSignedUrls"]
        for name in ("adapter_config.json", "README.md"):
            assert (await http.put(urlsplit(urls[name]).path, content=files[name])).status_code == 200
        early = await http.get(f"{MODELS}/mine:validateUpload")
        assert (early.status_code, "adapter_model.safetensors is missing" in early.text) == (400, True)
        weights = "adapter_model.safetensors"
        assert (await http.put(urlsplit(urls[weights]).path, content=files[weights])).status_code == 200
        validated = await http.get(f"{MODELS}/mine:validateUpload")
        assert validated.json() == {"warnings": ["README.md is not used"]}, validated.text
        model = (await http.get(f"{MODELS}/mine")).json()
        assert (model["state"], model["peftDetails"]["r"], len(model["peftDetails"]["targetModules"])) == (
            "READY",
            8,
            7,
        )
        [url] = (await http.get(f"{MODELS}/mine:getDownloadEndpoint")).json()["filenameToSignedUrls"].values()
        got = folder / "got.gguf"
        got.write_bytes((await http.get(urlsplit(url).path)).content)
        assert len(gguf.GGUFReader(got).tensors) == TENSORS
        assert (await http.delete(f"{MODELS}/mine")).status_code == 200
    assert not own.engine.house.uploads.folder_of("accounts/local/models/mine").exists()


async def test_a_folder_of_this_machine_becomes_a_model_and_stays_as_it_is(own: Home, folder: Path) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    body = {"modelId": "mine", "file": str(folder)}
    async with own.http(own.admin_key) as http:
        refused = await http.post(FILES, json=body)
        assert (refused.status_code, field_of(refused)) == (400, "baseModel")
        made = await http.post(FILES, json=body | {"baseModel": SMOLLM2})
        assert made.status_code == 200, made.text
        file = Path(made.json()["firedeck"]["file"])
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    b = {one.name: one.data for one in gguf.GGUFReader(file).tensors}["blk.0.attn_q.weight.lora_b"]
    given = peft_files.random_tensors(read_base(fetch.path_of(find(SMOLLM2))), seed=5, rank=8, layers=2)
    mine = given[peft_files.named("blk.0.attn_q.weight", "B")]
    assert np.array_equal(b, peft.interleaved(mine, 9))  # SmolLM2-135M has nine heads
    assert not np.array_equal(b, mine)


async def test_a_folder_that_cannot_be_served_leaves_nothing_behind(own: Home, folder: Path) -> None:
    (folder / "adapter_config.json").unlink()
    async with own.http(own.admin_key) as http:
        body = {"modelId": "mine", "file": str(folder), "baseModel": SMOLLM2}
        assert "nor an adapter (adapter_config.json)" in (await http.post(FILES, json=body)).text
        assert (await http.get(f"{MODELS}/mine")).status_code == 404
    assert not own.engine.house.uploads.converted("accounts/local/models/mine").exists()


async def test_a_folder_is_no_way_to_files_outside_of_the_model_folders(folder: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "away").mkdir()
    for file in folder.iterdir():
        (shared / "away" / file.name).symlink_to(file)
    async with home(tmp_path / "data", model_folders=(shared,)) as at, at.http(await at.person("ada", "user")) as ada:
        for outside in (folder, shared / "away"):
            body = {"modelId": "mine", "file": str(outside), "baseModel": SMOLLM2}
            assert (await ada.post(FILES, json=body)).status_code == 403
        inside = peft_files.folder(shared / "own", {}, r=8)
        (inside / "adapter_model.safetensors").write_bytes((folder / "adapter_model.safetensors").read_bytes())
        made = await ada.post(FILES, json={"modelId": "mine", "file": str(inside), "baseModel": SMOLLM2})
        assert made.status_code == 200, made.text


@pytest.mark.parametrize(("rank", "status"), [(3, 400), (4, 200), (64, 200), (65, 400)])
async def test_a_gguf_adapter_is_uploaded_with_the_documented_ranks_alone(
    own: Home, tmp_path: Path, rank: int, status: int
) -> None:
    file = adapter_files.make(tmp_path / "wide.gguf", fetch.path_of(find(SMOLLM2)), seed=7, rank=rank, layers=1)
    async with own.http(own.admin_key) as http:
        assert (await http.post(MODELS, json=declared(r=min(64, max(4, rank))))).json()["state"] == "UPLOADING"
        sizes = {"filenameToSize": {file.name: str(file.stat().st_size)}}
        told = (await http.post(f"{MODELS}/mine:getUploadEndpoint", json=sizes)).json()
        url = urlsplit(told["filenameToSignedUrls"][file.name]).path
        assert (await http.put(url, content=file.read_bytes())).status_code == 200
        answer = await http.get(f"{MODELS}/mine:validateUpload")
    assert answer.status_code == status, answer.text
    assert (f"rank {rank}: uploads of 4 to 64" in answer.text) == (status == 400)
