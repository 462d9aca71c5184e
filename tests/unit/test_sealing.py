"""Sealed secrets: open under their own name and key, and not otherwise."""

from __future__ import annotations

import random
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition
from engine.access.sealing import SEAL_KEY_FILE, Sealer

A, B = Sealer(bytes(32)), Sealer(b"\x01" + bytes(31))


@given(st.text(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens_again_and_looks_different_each_time(value: str, name: str) -> None:
    sealed, again = A.seal(name, value), A.seal(name, value)
    assert A.open(name, sealed) == A.open(name, again) == value
    assert sealed != again
    if len(value) > 3:
        assert value.encode() not in sealed


def test_another_key_or_another_name_opens_nothing() -> None:
    sealed = A.seal("a", "value")
    for sealer, name in ((B, "a"), (A, "b")):
        with pytest.raises(FailedPrecondition, match="cannot be opened"):
            sealer.open(name, sealed)


def test_a_changed_or_cut_byte_is_noticed() -> None:
    sealed = A.seal("a", "a value of some length")
    for at in range(len(sealed)):
        bent = bytearray(sealed)
        bent[at] ^= 1 << random.Random(at).randrange(8)
        for bad in (bytes(bent), sealed[:at]):
            with pytest.raises(FailedPrecondition):
                A.open("a", bad)


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path) -> None:
    sealed = Sealer.of(tmp_path).seal("a", "value")
    file = tmp_path / SEAL_KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Sealer.of(tmp_path).open("a", sealed) == "value"
    assert file.read_text().strip() not in repr(Sealer.of(tmp_path))


@pytest.mark.parametrize("text", ["nonsense", "00" * 31, "zz" * 32])
def test_a_key_file_that_holds_no_key_is_a_clear_error_and_is_left_alone(tmp_path, text) -> None:
    (tmp_path / SEAL_KEY_FILE).write_text(text)
    with pytest.raises(FailedPrecondition, match=SEAL_KEY_FILE):
        Sealer.of(tmp_path)
    assert (tmp_path / SEAL_KEY_FILE).read_text() == text
