"""What was prepared, on disk: it outlives the engine whole, and what a crash left half done does not."""

from __future__ import annotations

from pathlib import Path

from client.types import PreparedPrecision
from engine.preparing.records import Record, Records

MODEL = "accounts/local/models/mine"


def record(precision: str, state: str = "READY", size: int = 5, digest: str = "d") -> Record:
    shown = PreparedPrecision(precision=precision, quantization="Q8_0", state=state)
    return Record(shown=shown, source_digest=digest, size_bytes=size)


def put(records: Records, one: Record) -> None:
    records.keep(MODEL, one)
    records.write(MODEL, one)


def again(folder: Path) -> Records:
    records = Records(folder)
    records.load()
    return records


def states(records: Records, digest: str = "d") -> dict[str, str]:
    return {one.precision: one.state for one in records.of(MODEL, digest)}


def test_records_and_whole_files_are_there_again_and_leftovers_are_not(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for name, state in (("FP8", "READY"), ("FP4", "PREPARING"), ("BF16", "FAILED")):
        put(records, record(name, state))
        records.path(MODEL, name).write_bytes(b"model")
    folder = records.path(MODEL, "FP8").parent
    (folder / ".FP4.gguf.17.abcd.part").touch()
    (folder / "FP16.json").write_text("{half")
    found = again(tmp_path)
    assert states(found) == {"BF16": "FAILED", "FP4": "PREPARING", "FP8": "READY"}
    assert sorted(file.name for file in folder.iterdir()) == ["BF16.json", "FP4.json", "FP8.gguf", "FP8.json"]
    assert [(model, one.shown.precision) for model, one in found.pending()] == [(MODEL, "FP4")]


def test_a_file_that_is_gone_or_cut_short_is_told_as_failed(tmp_path: Path) -> None:
    records = Records(tmp_path)
    put(records, record("FP8"))
    assert states(records) == {"FP8": "FAILED"}
    records.path(MODEL, "FP8").write_bytes(b"model")
    assert states(records) == {"FP8": "READY"}
    records.path(MODEL, "FP8").write_bytes(b"mod")
    assert states(records) == {"FP8": "FAILED"}


def test_what_was_made_of_another_file_does_not_count(tmp_path: Path) -> None:
    records = Records(tmp_path)
    put(records, record("FP8", "PREPARING", digest="old"))
    assert (states(records, "new"), records.of(MODEL, None)) == ({}, [])
    records.drop(MODEL)
    records.forget(MODEL)
    assert (records.get(MODEL, "FP8"), list(tmp_path.glob("*/mine"))) == (None, [])
