"""Fetching from a hub, by `huggingface_hub` itself, against a hub of our own (`tests.hub`)."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from client.cli.model_text import text
from client.errors import FailedPrecondition, Internal, NotFound, Unavailable
from engine import model_facts
from engine.cli_files import pull
from engine.models import catalogue, fetch, origin
from engine.models.catalogue import Entry
from tests.hub import Hub, serving
from tests.unit.test_models_gguf import DATA, build

pytest.importorskip("huggingface_hub", reason="`make install` brings it")

OLD, NEW = build(), build(data=bytes([1]) * len(DATA))
FIRST, SECOND = "1" * 40, "2" * 40
SOURCE = "hf:org/repo/x.gguf"
DIGEST = hashlib.sha256(OLD).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A repository whose main branch is at FIRST, and a cache with nothing in it."""
    with serving(Hub("org/repo", {FIRST: {"x.gguf": OLD}, SECOND: {"x.gguf": NEW}}, FIRST)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("FIREDECK_CACHE_DIR", str(tmp_path / "cache"))
        yield hub


@pytest.fixture
def entry() -> Entry:
    return catalogue.from_hf("accounts/local/models/x", SOURCE)


def left(entry: Entry) -> set[str]:
    return {path.name for path in fetch.path_of(entry).parent.iterdir() if not path.name.endswith(".lock")}


def test_a_file_is_of_the_commit_that_main_was_at_and_its_record_says_which(hub: Hub, entry: Entry) -> None:
    path = fetch.fetch(entry)
    assert path.read_bytes() == OLD
    assert hub.asked == ["main", FIRST], "where main is, and then nothing but that commit"
    assert fetch.origin_of(entry) == origin.Origin(FIRST, DIGEST, len(OLD))
    assert left(entry) == {"org--repo--x.gguf", "org--repo--x.gguf.origin.json"}


def test_what_is_fetched_again_is_of_the_same_commit_wherever_main_has_moved(hub: Hub, entry: Entry) -> None:
    fetch.fetch(entry).unlink()
    hub.main = SECOND
    assert fetch.fetch(entry).read_bytes() == OLD
    assert "main" not in hub.asked[2:]


def test_without_the_record_what_is_there_now_is_fetched(hub: Hub, entry: Entry) -> None:
    fetch.fetch(entry).unlink()
    origin.record_of(fetch.path_of(entry)).unlink()
    hub.main = SECOND
    assert fetch.fetch(entry).read_bytes() == NEW
    assert fetch.origin_of(entry) == origin.Origin(SECOND, hashlib.sha256(NEW).hexdigest(), len(NEW))


def test_a_commit_that_is_gone_is_said_with_the_way_to_what_is_there_now(hub: Hub, entry: Entry) -> None:
    fetch.fetch(entry).unlink()
    del hub.commits[FIRST]
    hub.main = SECOND
    with pytest.raises(NotFound, match=f"org/repo@{FIRST}") as caught:
        fetch.fetch(entry)
    assert "org--repo--x.gguf.origin.json" in (caught.value.hint or "")


def test_a_file_of_another_size_than_the_record_says_is_fetched_again(hub: Hub, entry: Entry) -> None:
    fetch.fetch(entry).write_bytes(OLD[:-1])
    assert not fetch.is_present(entry)
    assert fetch.fetch(entry).read_bytes() == OLD


def test_a_record_that_cannot_be_read_is_none(hub: Hub, entry: Entry) -> None:
    record = origin.record_of(fetch.fetch(entry))
    for text_of_it in ("{", "[]", '{"revision": 1, "sha256": "x", "size_bytes": 3}', '{"other": 1}'):
        record.write_text(text_of_it)
        origin._read.cache_clear()
        assert fetch.origin_of(entry) is None


def test_a_record_that_could_not_be_read_once_is_read_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, kept = tmp_path / "x.gguf", origin.Origin(FIRST, DIGEST, len(OLD))
    origin.keep(file, kept)

    def no_more_files(*_: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", no_more_files)
        assert origin.of(file) is None
    assert origin.of(file) == kept


def test_a_revision_that_is_named_is_fetched_beside_what_main_is(hub: Hub, entry: Entry) -> None:
    named = catalogue.from_hf("accounts/local/models/y", f"hf:org/repo@{SECOND}/x.gguf")
    assert fetch.fetch(entry).read_bytes() == OLD
    assert fetch.fetch(named).read_bytes() == NEW
    assert fetch.path_of(named) != fetch.path_of(entry)


def test_other_bytes_than_the_hub_says_leave_nothing(hub: Hub, entry: Entry) -> None:
    hub.sent[DIGEST] = NEW
    with pytest.raises(Internal, match="not the recorded ones"):
        fetch.fetch(entry)
    assert left(entry) == set()


def test_a_file_whose_sha256_the_hub_does_not_name_is_fetched_only_with_one(hub: Hub, entry: Entry) -> None:
    hub.names_digests = False
    with pytest.raises(FailedPrecondition, match="names no SHA-256") as caught:
        fetch.fetch(entry)
    assert "--sha256 SHA256" in (caught.value.hint or "")
    assert fetch.fetch(dataclasses.replace(entry, sha256=DIGEST)).read_bytes() == OLD


def test_another_sha256_than_the_hub_s_is_refused_before_a_byte_is_fetched(hub: Hub, entry: Entry) -> None:
    with pytest.raises(FailedPrecondition, match=f"has the SHA-256 {DIGEST} on the hub"):
        fetch.fetch(dataclasses.replace(entry, sha256="0" * 64))
    assert hub.ranges == []


def test_what_was_interrupted_goes_on_where_it_was(hub: Hub, entry: Entry) -> None:
    hub.breaks_after = 10
    with pytest.raises(Unavailable):
        fetch.fetch(entry)
    hub.breaks_after, tries = 0, len(hub.ranges)
    assert fetch.fetch(entry).read_bytes() == OLD
    assert int(hub.ranges[tries].removeprefix("bytes=").rstrip("-")) >= 9


@pytest.mark.parametrize(
    "source",
    ["hf:org/other/x.gguf", "hf:org/repo/y.gguf", f"hf:org/repo@{'3' * 40}/x.gguf"],
    ids=["repo", "file", "commit"],
)
def test_what_the_hub_does_not_have_is_said_in_one_sentence(hub: Hub, source: str) -> None:
    with pytest.raises(NotFound, match="the hub has no such repository, revision or file") as caught:
        fetch.fetch(catalogue.from_hf("accounts/local/models/x", source))
    assert "HF_TOKEN" in (caught.value.hint or "")


def test_a_gated_repository_is_said_with_what_opens_it(hub: Hub, entry: Entry) -> None:
    hub.gated = True
    with pytest.raises(FailedPrecondition, match="does not give that file to everybody") as caught:
        fetch.fetch(entry)
    assert "accept its terms" in (caught.value.hint or "")


def test_a_hub_that_is_not_there_is_unavailable(hub: Hub, entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="cannot be reached"):
        fetch.fetch(entry)


def test_a_model_of_the_library_shows_what_the_hub_said_once_it_is_here(hub: Hub, entry: Entry) -> None:
    before = model_facts.listed(entry).firedeck
    assert before is not None
    assert (before.digest, before.revision, before.source) == (None, None, SOURCE)
    fetch.fetch(entry)
    shown = text(model_facts.listed(entry))
    assert f"Source: {SOURCE}\nRevision: {FIRST}\nSHA-256: {DIGEST}\n" in shown


def test_the_command_prints_revision_and_sha256_and_with_quiet_the_path_alone(hub: Hub, entry: Entry) -> None:
    told = CliRunner().invoke(pull, [SOURCE])
    assert told.exit_code == 0
    assert f"revision {FIRST}  SHA-256 {DIGEST}" in told.stderr
    quiet = CliRunner().invoke(pull, [SOURCE, "-q"])
    assert (quiet.stdout, quiet.stderr) == (f"{fetch.path_of(entry)}\n", "")


def test_the_command_reads_a_file_that_is_here_for_the_sha256_that_it_is_given(hub: Hub) -> None:
    assert CliRunner().invoke(pull, [SOURCE]).exit_code == 0
    assert CliRunner().invoke(pull, [SOURCE, "--sha256", DIGEST.upper()]).exit_code == 0
    other = CliRunner().invoke(pull, [SOURCE, "--sha256", "0" * 64])
    assert other.exit_code == 1
    assert "was asked for" in other.stderr
    slip = CliRunner().invoke(pull, [SOURCE, "--sha256", "abc"])
    assert slip.exit_code == 2
    assert "64 hexadecimal digits" in slip.stderr
