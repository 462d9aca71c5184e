"""Files of users are read in a process of its own with limits: what goes wrong there refuses the file, and no more."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from client.errors import FailedPrecondition, InvalidArgument, Unavailable
from engine.models import adapter, own_models, peft
from engine.models.gguf_writer import FloatTensor
from engine.models.gguf_writer import write as write_gguf
from engine.models.header import MAX_STRINGS
from engine.preparing import checks
from engine.preparing.checks import Checks
from tests import adapter_files, peft_files
from tests.unit.test_models_gguf import ARRAY, STRING, build, key, keys, string

ROOT = Path(__file__).parents[2]
Q = "blk.0.attn_q.weight"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.gguf"
    path.write_bytes(build())
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model of one weight of 64 by 64."""
    values = np.zeros((64, 64), np.float32)
    metadata: dict[str, str | int | float] = {
        "general.architecture": "llama", "llama.attention.head_count": 4, "llama.attention.head_count_kv": 4,
    }  # fmt: skip
    return write_gguf(tmp_path / "base.gguf", metadata, [FloatTensor(Q, (64, 64), lambda: values)])


async def test_the_child_finds_what_the_reader_finds(own: Path) -> None:
    assert await Checks().model(own, is_meant=True) == own_models.check(own)


async def test_what_the_reader_refuses_is_refused_in_its_words(own: Path) -> None:
    own.write_bytes(build()[:-1])
    with pytest.raises(InvalidArgument, match="the download was cut off") as caught:
        await Checks().model(own, is_meant=True)
    assert caught.value.field == "file"
    with pytest.raises(InvalidArgument, match="there is no file"):
        await Checks().model(own.with_name("none.gguf"), is_meant=True)


async def test_a_model_in_the_place_of_an_adapter_is_refused_and_an_adapter_is_none(own: Path, base: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"own\.gguf is no adapter") as caught:
        await Checks().model(own, is_meant=False)
    assert caught.value.field == "baseModel"
    file = adapter_files.make(own.with_name("a.gguf"), base, seed=1)
    assert await Checks().model(file, is_meant=False) is None
    found = await Checks().adapter(file, base)
    assert (found.path, found.facts) == (file.resolve(), adapter.read(file, adapter.read_base(base)))
    with pytest.raises(InvalidArgument, match="is not an adapter"):
        await Checks().adapter(own, base)


async def test_an_adapter_of_peft_is_made_and_refused_there_too(tmp_path: Path, base: Path) -> None:
    tensors = peft_files.random_tensors(adapter.read_base(base), seed=5, rank=8, layers=1)
    folder, target = peft_files.folder(tmp_path / "peft", tensors, r=8), tmp_path / "out" / "made.gguf"
    await Checks().of_peft(peft.files_in(folder), base, target)
    assert (await Checks().adapter(target, base)).facts.rank == 8
    (folder / peft.WEIGHTS).unlink()
    with pytest.raises(FailedPrecondition, match="is missing beside"):
        await Checks().of_peft(peft.files_in(folder), base, tmp_path / "out" / "none.gguf")
    assert os.listdir(tmp_path / "out") == ["made.gguf"]


async def test_one_that_takes_more_memory_than_a_check_may_have_is_refused_with_the_limit(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.write_bytes(build([*keys(), *(string(f"text.{number}", "x" * 4096) for number in range(8_000))]))
    assert await Checks().model(own, is_meant=True)
    monkeypatch.setattr(checks, "MEMORY_BYTES", 8 << 20)
    with pytest.raises(InvalidArgument, match=r"own\.gguf cannot be read.* more than the 8 MiB of memory") as caught:
        await Checks().model(own, is_meant=True)
    assert caught.value.hint


async def test_one_that_takes_more_of_the_cpu_is_refused_with_the_limit(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "CPU_S_BASE", 1)
    monkeypatch.setattr(checks, "CPU_S_PER_GIB", 0)
    texts = key("texts", ARRAY, struct.pack("<IQ", STRING, MAX_STRINGS))
    own.write_bytes(begin := b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + texts)
    os.truncate(own, len(begin) + 8 * MAX_STRINGS)  # millions of empty texts, all zeros, and none of them written
    with pytest.raises(InvalidArgument, match="more than the 1 s of the CPU"):
        await Checks().model(own, is_meant=True)


async def test_one_that_is_not_read_in_time_may_be_tried_again_as_machines_stop_for_seconds(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "WALL_S_BASE", 0.001)
    with pytest.raises(Unavailable, match=r"it was not done within 0\.001"):
        await Checks().model(own, is_meant=True)


async def test_a_reader_that_crashes_takes_nothing_with_it(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'engine.preparing.checking' in sys.orig_argv:\n    os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    with pytest.raises(InvalidArgument, match=r"killed by signal 6 \(SIGABRT\)"):
        await Checks().model(own, is_meant=True)
