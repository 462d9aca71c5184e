"""The charts' last day on disk: bounded, torn places are gaps, and only what belongs to this deployment comes back."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.telemetry import archive
from engine.telemetry.archive import DAY_S, FILE_BYTES_MAX, FOLDER, Archive, Subject
from engine.telemetry.history import COARSE_POINTS, RECORD, SERIES, at_of

CHAT = Subject("accounts/local/deployments/chat", "2026-01-01T00:00:00+00:00")
NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path):
    return tmp_path / FOLDER


def record(at: float, value: float = 1.0) -> bytes:
    return RECORD.pack(at, *[value] * len(SERIES))


def points(count: int, end: float = NOW) -> list[bytes]:
    """One every ten seconds, the last at `end`."""
    return [record(end - 10 * i, float(i % 7)) for i in reversed(range(count))]


def file_of(folder, subject: Subject = CHAT):
    return folder / subject.file_name


def test_what_was_saved_is_loaded_in_order_by_whoever_opens_the_folder_next(folder):
    some = points(30)
    Archive(folder).save(CHAT, some[:20])
    Archive(folder).save(CHAT, some[20:])
    assert Archive(folder).load(CHAT, NOW) == some
    assert (file_of(folder).stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)


def test_nothing_saved_is_nothing_loaded(folder):
    assert Archive(folder).load(CHAT, NOW) == []


def test_a_file_never_grows_beyond_its_stated_size_and_keeps_the_newest_day(folder):
    kept, later = Archive(folder), points(COARSE_POINTS + 500)
    kept.save(CHAT, later)
    assert file_of(folder).stat().st_size <= FILE_BYTES_MAX == 552_976
    assert kept.load(CHAT, NOW) == later[-COARSE_POINTS:]


def test_what_is_older_than_a_day_or_of_the_future_is_left_out(folder):
    kept = Archive(folder)
    kept.save(CHAT, [record(NOW - DAY_S), record(NOW - 100), record(NOW + 50)])
    assert [at_of(one) for one in kept.load(CHAT, NOW)] == [NOW - 100]


def test_another_deployment_of_the_same_name_begins_anew(folder):
    kept, reborn = Archive(folder), Subject(CHAT.deployment, "2026-02-02T00:00:00+00:00")
    kept.save(CHAT, points(9))
    assert kept.load(reborn, NOW) == []
    kept.save(reborn, points(2))
    assert kept.load(reborn, NOW) == points(2)
    assert kept.load(CHAT, NOW) == []


def test_another_versions_series_begin_anew(folder, monkeypatch):
    Archive(folder).save(CHAT, points(3))
    monkeypatch.setattr(archive, "SERIES", ("another", *SERIES[1:]))
    assert Archive(folder).load(CHAT, NOW) == []


def test_files_of_deployments_that_are_gone_are_removed_and_nothing_else(folder):
    kept, other = Archive(folder), Subject("accounts/local/deployments/other", "")
    kept.keep_only({CHAT})  # before there is a folder
    for subject in (CHAT, other):
        kept.save(subject, points(1))
    (folder / "notes.txt").touch()
    kept.keep_only({CHAT})
    assert {file.name for file in folder.iterdir()} == {CHAT.file_name, "notes.txt"}


def test_an_account_and_a_deployment_cannot_name_a_file_elsewhere(folder):
    odd = Subject("accounts/../../etc/deployments/x", "")
    Archive(folder).save(odd, points(1))
    assert [file.parent for file in folder.parent.rglob("*.day")] == [folder]


@given(cut=st.integers(0, 16 + 64 * 30))
def test_a_file_cut_anywhere_has_its_whole_records_and_no_other(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut") / FOLDER
    kept, some = Archive(folder), points(30, end=290.0)  # times 0 to 290: places 0 to 29, in the file's order
    kept.save(CHAT, some)
    os.truncate(file_of(folder), cut)
    assert kept.load(CHAT, 290.0) == some[: max(0, cut - 16) // 64]
    kept.save(CHAT, some[-1:])  # and goes on from there
    assert kept.load(CHAT, 290.0)[-1] == some[-1]


@given(seed=st.integers(0, 2**32))
def test_what_a_flipped_bit_has_spoilt_is_a_gap_and_nothing_is_made_up(tmp_path_factory, seed):
    folder, dice = tmp_path_factory.mktemp("flip") / FOLDER, random.Random(seed)
    kept, some = Archive(folder), points(30)
    kept.save(CHAT, some)
    content = bytearray(file_of(folder).read_bytes())
    for _ in range(dice.randint(1, 20)):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    file_of(folder).write_bytes(content)
    found = kept.load(CHAT, NOW)
    assert set(found) <= set(some)
    assert found == sorted(found, key=at_of)
