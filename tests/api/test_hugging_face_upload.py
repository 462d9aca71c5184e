"""Models as transformers save them, through the documented upload and from a folder of the engine's machine."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client.errors import FailedPrecondition
from tests import hugging_face_files as hf
from tests.house import Home, field_of, home

MODELS = "/v1/accounts/local/models"
FILES = "/firedeck" + MODELS
NAME = "accounts/local/models/mine"


async def test_the_files_are_uploaded_validated_and_become_one(own: Home, tmp_path: Path) -> None:
    folder = hf.tiny(tmp_path / "hf")
    (folder / "README.md").write_text("mine")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    weights = "model.safetensors"
    async with own.http(own.admin_key) as http:
        made = await http.post(MODELS, json={"modelId": "mine", "model": {"kind": "HF_BASE_MODEL"}})
        assert made.json()["state"] == "UPLOADING", made.text
        sizes = {"filenameToSize": {name: str(len(content)) for name, content in files.items()}}
        urls = (await http.post(f"{MODELS}/mine:getUploadEndpoint", json=sizes)).json()["filenameToSignedUrls"]
        for name in files.keys() - {weights}:
            assert (await http.put(urlsplit(urls[name]).path, content=files[name])).status_code == 200
        configs = await http.get(f"{MODELS}/mine:validateUpload?configOnly=true")
        assert configs.json() == {"warnings": []}, configs.text
        early = await http.get(f"{MODELS}/mine:validateUpload")
        assert (early.status_code, "model.safetensors is missing" in early.text) == (400, True)
        assert (await http.put(urlsplit(urls[weights]).path, content=files[weights])).status_code == 200
        validated = await http.get(f"{MODELS}/mine:validateUpload")
        assert validated.json() == {"warnings": ["README.md is not used"]}, validated.text
        model = (await http.get(f"{MODELS}/mine")).json()
        assert (model["state"], model["supportedPrecisions"], model["contextLength"]) == ("READY", ["FP16"], 256)
        assert (model["baseModelDetails"]["modelType"], model["useHfApplyChatTemplate"]) == ("llama", True)
        assert (await http.delete(f"{MODELS}/mine")).status_code == 200
    assert not own.engine.house.uploads.folder_of(NAME).exists()


async def test_a_folder_becomes_a_model_and_one_that_cannot_be_leaves_nothing(own: Home, tmp_path: Path) -> None:
    body = {"modelId": "mine", "file": str(hf.tiny(tmp_path / "good"))}
    async with own.http(own.admin_key) as http:
        refused = await http.post(FILES, json=body | {"baseModel": NAME})
        assert (refused.status_code, field_of(refused)) == (400, "baseModel")
        bad = hf.tiny(tmp_path / "bad", architectures=["GPT2LMHeadModel"])
        told = await http.post(FILES, json=body | {"file": str(bad)})
        assert (told.status_code, "its architecture is 'GPT2LMHeadModel'" in told.text) == (400, True), told.text
        assert not own.engine.house.uploads.converted(NAME).exists()
        made = await http.post(FILES, json=body)
        assert (made.status_code, made.json()["state"]) == (200, "READY"), made.text
    assert Path(made.json()["firedeck"]["file"]) == own.engine.house.uploads.converted(NAME)


async def test_a_folder_is_no_way_to_files_outside_of_the_model_folders(tmp_path: Path) -> None:
    shared, folder = tmp_path / "shared", hf.tiny(tmp_path / "hf")
    (shared / "away").mkdir(parents=True)
    for file in folder.iterdir():
        (shared / "away" / file.name).symlink_to(file)
    async with home(tmp_path / "data", model_folders=(shared,)) as at, at.http(await at.person("ada", "user")) as ada:
        told = await ada.post(FILES, json={"modelId": "mine", "file": str(shared / "away")})
        assert told.status_code == 403
        inside = hf.tiny(shared / "own")
        made = await ada.post(FILES, json={"modelId": "mine", "file": str(inside)})
        assert made.status_code == 200, made.text


async def test_a_config_is_checked_before_anything_is_uploaded(own: Home, tmp_path: Path) -> None:
    text = (hf.tiny(tmp_path / "hf") / "config.json").read_text()
    async with own.client() as client, own.http(own.admin_key) as http:
        await client.models.validate_config(text)
        with pytest.raises(FailedPrecondition, match="quantization_config"):
            await client.models.validate_config(json.dumps(json.loads(text) | {"quantization_config": {"bits": 4}}))
        for body in ({}, {"configJson": {}}, {"configJson": "{}", "tokenizerConfigJson": 5}, {"configJson": "{"}):
            assert (await http.post("/v1/validateModelConfig", json=body)).status_code == 400
        snake = await http.post("/v1/validateModelConfig", json={"config_json": text, "tokenizer_config_json": "{}"})
        assert (snake.status_code, snake.json()) == (200, {})
