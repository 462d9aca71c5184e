"""An operator's shapes: what a file of them has to be, and what becomes of one that changes while the engine runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from client.errors import InvalidArgument, Unavailable
from engine import presets, shape_files, shapes
from engine.clock import FakeClock
from engine.published_shapes import PublishedShapes
from engine.shape_files import LOOK_EVERY_S, ShapeFiles
from engine.store.store import Store

HEAD = """
[[shape]]
id = "support"
base_model = "accounts/local/models/ours"
preset_type = "CHAT"
"""
V1 = """
[[shape.version]]
id = "v1"
create_time = 2026-11-22T00:00:00Z
max_context_length = 4096
max_batch_size = 12
ngram_speculation_length = 3
draft_token_count = 8
"""
V2 = '[[shape.version]]\nid = "v2"\nmax_batch_size = 3\n'
TAKEN = HEAD.replace("local/models/ours", "fireworks/models/m").replace("support", "smollm2-135m-instruct-fast")
SHAPE = "accounts/local/deploymentShapes/support"


def written(folder: Path, text: str, *, at: int = 1) -> Path:
    file = folder / "shapes.toml"
    file.write_text(text)
    os.utime(file, (at, at))
    return file


def names(versions: shape_files.Versions) -> list[str]:
    return [version.name for version in versions if version not in presets.library_versions()]


async def test_a_shape_belongs_to_the_account_of_its_model_and_comes_before_the_librarys(tmp_path, store):
    there = await opened(written(tmp_path, HEAD + V1 + V2), store)
    versions = there.versions
    assert names(versions) == [f"{SHAPE}/versions/v1", f"{SHAPE}/versions/v2"]
    assert versions[2:] == presets.library_versions()
    assert versions[0].to_wire()["snapshot"] == {
        "name": SHAPE, "baseModel": "accounts/local/models/ours", "presetType": "CHAT", "maxContextLength": 4096,
        "maxBatchSize": 12, "ngramSpeculationLength": 3, "draftTokenCount": 8,
        "createTime": "2026-11-22T00:00:00.000Z", "updateTime": "2026-11-22T00:00:00.000Z",
    }  # fmt: skip
    assert versions[1].create_time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)  # when the file was made


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[shapes]]\n", "has no 'shapes'"),
        ("shape = 3\n", "as a table of its own"),
        ("[[shape]]\n", "id of a shape"),
        ('[[shape]]\nid = "a"\n', "base_model of a"),
        ('[[shape]]\nid = "a"\nbase_model = "accounts/local/models/m"\n', "has no [[shape.version]]"),
        (HEAD + 'color = "red"\n' + V1, "has no 'color'"),
        (HEAD + V1 + "batch = 3\n", "has no 'batch'; it may have accelerator_count"),
        (HEAD + V1 + V1, "v1 is there twice"),
        (HEAD + V1 + HEAD + V1, "v1 is there twice"),
        (HEAD.replace("CHAT", "GOSSIP") + V1, "preset_type"),
        (HEAD + V2 + "max_context_length = 'all'\n", "maxContextLength"),
        (HEAD + V2 + "max_context_length = 8\n", "less than 256"),
        (HEAD + V2 + "ngram_speculation_length = 3\n", "draftTokenCount must be set"),
        (HEAD + V1 + 'draft_model = "accounts/local/models/small"\n', "cannot be used together"),
        (HEAD + V2 + 'precision = "FP8"\nenable_addons = true\n', "enableAddons does not go with precision FP8"),
        ("[[shape\n", "it cannot be read"),
        (TAKEN + V1, "there is a shape accounts/fireworks/deploymentShapes/smollm2-135m-instruct-fast already"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_name_and_what_is_wrong(tmp_path, text, told):
    file = written(tmp_path, text)
    with pytest.raises(InvalidArgument) as refused:
        shape_files.read([file])
    assert str(file) in refused.value.message
    assert told in refused.value.message
    assert refused.value.hint


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="No such file"):
        shape_files.read([tmp_path / "none.toml"])


@pytest.fixture
async def store(tmp_path):
    made = await Store.open(tmp_path / "state.db")
    yield made
    await made.close()


async def opened(file: Path, store: Store, clock: FakeClock | None = None) -> ShapeFiles:
    made = ShapeFiles([file], clock or FakeClock(), PublishedShapes(store))
    await made.open()
    return made


async def test_a_changed_file_is_read_again_and_a_version_never_changes(tmp_path, store, caplog):
    clock = FakeClock()
    there = await opened(written(tmp_path, HEAD + V1), store, clock)
    file = written(tmp_path, HEAD + V1.replace("12", "99") + V2, at=2)
    await there.look()
    assert names(there.versions) == [f"{SHAPE}/versions/v1"]
    clock.advance(LOOK_EVERY_S)
    await there.look()
    first, second, *_ = there.versions
    assert (first.snapshot.max_batch_size, second.snapshot.max_batch_size) == (12, 3)
    [told] = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert f"{file}: {first.name} was changed after it was published; it keeps its former settings" in told
    assert "a version of their own" in told
    written(tmp_path, "[[shape\n", at=3)
    clock.advance(LOOK_EVERY_S)
    await there.look()
    assert names(there.versions) == [first.name, second.name]
    written(tmp_path, HEAD + V2, at=4)
    clock.advance(LOOK_EVERY_S)
    await there.look()
    assert names(there.versions) == [second.name]


@pytest.mark.parametrize("changed", [V1.replace("12", "99"), V1 + "long_prompt = true\n"])
async def test_a_version_that_was_changed_while_no_engine_ran_stays_what_it_was_too(tmp_path, store, changed, caplog):
    former = await opened(written(tmp_path, HEAD + V1), store)
    file = written(tmp_path, HEAD + changed, at=2)
    again = await opened(file, store)
    assert again.versions == former.versions
    assert f"{file}: {SHAPE}/versions/v1 was changed" in caplog.text
    caplog.clear()
    back = await opened(written(tmp_path, HEAD + V1, at=3), store)
    assert (names(back.versions), caplog.records) == (names(former.versions), [])


async def test_its_base_model_is_a_part_of_a_version_and_what_a_shape_is_called_is_not(tmp_path, store, caplog):
    await opened(written(tmp_path, HEAD + V1), store)
    renamed = await opened(written(tmp_path, HEAD + 'display_name = "Help"\n' + V1, at=2), store)
    assert renamed.versions[0].snapshot.display_name == "Help"
    assert caplog.records == []
    moved = await opened(written(tmp_path, HEAD.replace("ours", "theirs") + V1, at=3), store)
    assert moved.versions[0].snapshot.base_model == "accounts/local/models/ours"


async def test_one_that_is_no_longer_known_as_it_was_is_left_out(tmp_path, store, caplog):
    await opened(written(tmp_path, HEAD + V1 + V2), store)
    row = {"name": f"{SHAPE}/versions/v0", "digest": "another", "doc": '{"of": "another firedeck"}'}
    await store.transact([("publish_shape", row)])
    there = await opened(written(tmp_path, HEAD + V1.replace("v1", "v0") + V2), store)
    assert names(there.versions) == [f"{SHAPE}/versions/v2"]
    assert "left out" in caplog.text


async def test_what_the_disk_does_not_take_is_published_later(tmp_path, store, monkeypatch):
    clock = FakeClock()
    there = await opened(written(tmp_path, HEAD + V1), store, clock)
    written(tmp_path, HEAD + V1 + V2, at=2)
    for full, seen in ((True, 1), (False, 2)):
        with monkeypatch.context() as failing:
            if full:
                failing.setattr(store, "transact", AsyncMock(side_effect=Unavailable("the disk is full")))
            clock.advance(LOOK_EVERY_S)
            await there.look()
        assert len(names(there.versions)) == seen


async def test_without_files_there_are_the_librarys_shapes(store):
    there = ShapeFiles([], FakeClock(), PublishedShapes(store))
    await there.open()
    assert there.versions == presets.library_versions()
    assert all(version.name.startswith(shapes.PREFIX) for version in presets.library_versions())
