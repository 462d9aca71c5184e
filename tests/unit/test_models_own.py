"""A user's own GGUF file: accepted only whole, servable and unchanged."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from client.errors import FailedPrecondition, InvalidArgument
from engine.models import own_models
from engine.models.progress import Cancelled
from tests.unit.test_models_gguf import build, keys, string, u32


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.gguf"
    path.write_bytes(build())
    return path


def test_a_good_file_comes_back_with_its_facts_and_digest(own: Path) -> None:
    told: list[int] = []
    model = own_models.check(str(own), lambda done, total, stage: told.append(done))
    assert model.path == own.resolve()
    assert model.sha256 == hashlib.sha256(own.read_bytes()).hexdigest()
    assert model.info.architecture == "llama"
    assert told[-1] == model.info.size_bytes


def test_a_link_is_followed_once_and_the_path_behind_it_is_kept(own: Path) -> None:
    link = own.parent / "link.gguf"
    link.symlink_to(own)
    assert own_models.check(link).path == own.resolve()


def test_links_in_a_circle_and_into_nothing_are_refused(tmp_path: Path) -> None:
    for name, target in (("a", "b"), ("b", "a"), ("c", "gone")):
        (tmp_path / name).symlink_to(tmp_path / target)
    for name in ("a", "c"):
        with pytest.raises(InvalidArgument):
            own_models.check(tmp_path / name)


def test_no_such_file_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="there is no file") as caught:
        own_models.check(tmp_path / "no.gguf")
    assert caught.value.hint == "check the path's spelling"


def test_a_nul_and_a_stranger_s_home_are_refused() -> None:
    for path in ("a\0b", "~nobody-of-this-name/x.gguf"):
        with pytest.raises(InvalidArgument):
            own_models.check(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (build(keys(string("general.type", "adapter"))), "part of one"),
        (build(keys(u32("split.count", 4))), "one of 4 pieces"),
        (build(tensors=[], data=b""), "no weights"),
        (build(keys()[:8]), "no vocabulary"),
        (b"PK\x03\x04", "not a GGUF file"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(own: Path, content: bytes, words: str) -> None:
    own.write_bytes(content)
    with pytest.raises(InvalidArgument, match=words) as caught:
        own_models.check(own)
    assert caught.value.hint


def test_a_file_that_grows_while_it_is_read_is_refused(own: Path) -> None:
    def grow(done: int, total: int | None, stage: str) -> None:
        with own.open("ab") as file:
            file.write(b"more")

    with pytest.raises(FailedPrecondition, match="changed while"):
        own_models.check(own, grow)


def test_a_file_that_disappears_while_it_is_read_is_refused(own: Path) -> None:
    with pytest.raises(FailedPrecondition, match="changed while"):
        own_models.check(own, lambda done, total, stage: os.unlink(own))


def test_a_check_can_be_cancelled(own: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        own_models.check(own, cancel=cancel)
