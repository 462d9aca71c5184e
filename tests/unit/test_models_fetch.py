"""Fetching: from a package index that is a folder, so that no network is needed."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import http.server
import importlib.util
import io
import pickle
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from client.errors import FailedPrecondition, Internal, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from engine.models import __main__ as command
from engine.models import catalogue, download, fetch
from engine.models.catalogue import Entry, PypiPart
from engine.models.progress import Cancelled, silent
from tests.unit.test_models_gguf import build

MODEL = build()
HALF = len(MODEL) // 2


def make_wheel(folder: Path, name: str, member: str, content: bytes) -> PypiPart:
    info = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return PypiPart(f"{name.replace('_', '-')}==1.0", member, path.stat().st_size)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index; the cache is beside it."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("FIREDECK_CACHE_DIR", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def entry(index: Path) -> Entry:
    """A model in two wheels."""
    parts = (
        make_wheel(index, "tiny_model_part1", "tiny_model_part1/data/m.gguf.part00", MODEL[:HALF]),
        make_wheel(index, "tiny_model_part2", "tiny_model_part2/data/m.gguf.part01", MODEL[HALF:]),
    )
    return dataclasses.replace(
        catalogue.library()[0], display_name="Tiny", file="m.gguf", source=parts, size_bytes=len(MODEL),
        sha256=hashlib.sha256(MODEL).hexdigest(),
    )  # fmt: skip


def files_left(entry: Entry) -> set[str]:
    return {path.name for path in fetch.path_of(entry).parent.iterdir() if not path.name.endswith(".lock")}


def test_pieces_from_several_wheels_are_joined_in_order(entry: Entry) -> None:
    assert not fetch.is_present(entry)
    path = fetch.fetch(entry)
    assert path == fetch.path_of(entry)
    assert path.read_bytes() == MODEL
    assert fetch.is_present(entry)
    assert files_left(entry) == {"m.gguf"}


def test_a_file_that_is_there_is_not_fetched_again(entry: Entry, index: Path) -> None:
    fetch.fetch(entry)
    shutil.rmtree(index)
    assert fetch.fetch(entry).read_bytes() == MODEL


def test_a_file_of_the_wrong_size_is_fetched_again(entry: Entry) -> None:
    fetch.fetch(entry).write_bytes(MODEL[:-1])
    assert not fetch.is_present(entry)
    assert fetch.fetch(entry).read_bytes() == MODEL


def test_progress_ends_at_the_whole_and_never_passes_its_total(entry: Entry) -> None:
    told: list[tuple[int, int | None, str]] = []
    fetch.fetch(entry, lambda *report: told.append(report))
    assert told[-1] == (len(MODEL), len(MODEL), "checking")
    assert {stage for _, _, stage in told} == {"downloading", "checking"}
    assert all(total is not None and done <= total for done, total, _ in told)


def test_other_bytes_than_the_recorded_ones_never_reach_the_cache(entry: Entry) -> None:
    with pytest.raises(Internal, match=r"Tiny could not be fetched: its .* are not the recorded ones"):
        fetch.fetch(dataclasses.replace(entry, sha256="0" * 64))
    assert files_left(entry) == set()


def test_a_member_larger_than_announced_is_not_unpacked_to_its_end(
    entry: Entry, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "BLOCK_BYTES", 1000)
    bomb = make_wheel(index, "bomb", "bomb/m.gguf", bytes(5_000_000))
    told: list[int] = []
    with pytest.raises(Internal, match="not the recorded ones"):
        fetch.fetch(dataclasses.replace(entry, source=(bomb,)), lambda done, *_: told.append(done))
    assert told[-1] <= len(MODEL) + 1000


def test_recorded_bytes_that_are_no_gguf_never_reach_the_cache(entry: Entry, index: Path) -> None:
    part = make_wheel(index, "noise", "noise/m.gguf", b"noise")
    wrong = dataclasses.replace(entry, source=(part,), size_bytes=5, sha256=hashlib.sha256(b"noise").hexdigest())
    with pytest.raises(Exception, match="not a GGUF file"):
        fetch.fetch(wrong)
    assert files_left(entry) == set()


def test_a_wheel_without_the_member_and_a_damaged_wheel_are_named(entry: Entry, index: Path) -> None:
    part = make_wheel(index, "other", "other/x", b"x")
    with pytest.raises(Internal, match="no wheel holds other/y"):
        fetch.fetch(dataclasses.replace(entry, source=(dataclasses.replace(part, member="other/y"),)))
    damaged = index / "damaged.whl"
    damaged.write_bytes(b"not a zip")
    with pytest.raises(Internal, match="is damaged"):
        list(fetch._wheel_blocks((part,), [damaged]))


def test_a_package_that_no_index_has_is_not_found(entry: Entry) -> None:
    gone = (PypiPart("firedeck-no-such-model==1.0", "x", 1),)
    with pytest.raises(NotFound, match="No matching distribution") as caught:
        fetch.fetch(dataclasses.replace(entry, source=gone))
    assert "pip config" in (caught.value.hint or "")
    assert files_left(entry) == set()


def test_no_network_is_said_as_such(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setattr(download, "RETRIES", 1)
    with pytest.raises(Unavailable, match="cannot be reached"):
        fetch.fetch(entry)
    assert files_left(entry) == set()


def test_no_pip_and_no_hub_client_are_said_with_the_command_that_helps(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FailedPrecondition) as caught:
        fetch.fetch(entry)
    assert "ensurepip" in (caught.value.hint or "")
    with pytest.raises(FailedPrecondition) as caught:
        fetch.fetch(catalogue.from_hf("accounts/local/models/x", "hf:org/repo/x.gguf"))
    assert "pip install huggingface_hub" in (caught.value.hint or "")


class Web(http.server.BaseHTTPRequestHandler):
    """A web server of one file: ranges, an entity tag, and an end after so many bytes where it is told one."""

    content, tag, breaks_after = MODEL, '"1"', 0
    ranges: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        asked = self.headers.get("range", "")
        type(self).ranges.append(asked)
        whole, same = self.content, self.headers.get("if-range", self.tag) == self.tag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and same else 0
        if self.path.endswith("/gone.gguf"):
            self.send_error(404)
            return
        self.send_response(206 if asked and same else 200)
        if asked and same:
            self.send_header("content-range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("etag", self.tag)
        self.send_header("content-length", str(len(whole) - start))
        self.end_headers()
        sent = whole[start : start + self.breaks_after] if self.breaks_after else whole[start:]
        self.wfile.write(sent)

    def log_message(self, *told: object) -> None:
        """Silent."""


@pytest.fixture
def web(index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with MODEL."""
    for name, value in (("content", MODEL), ("tag", '"1"'), ("breaks_after", 0), ("ranges", [])):
        monkeypatch.setattr(Web, name, value)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_was_interrupted_goes_on_where_it_was(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = catalogue.from_url("accounts/local/models/x", f"{web}/a/x.gguf", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(Web, "breaks_after", 10)
    with pytest.raises(Unavailable, match="cannot be reached"):
        fetch.fetch(entry)
    so_far = Web.ranges[:]
    assert so_far[0] == ""
    assert all(asked.startswith("bytes=") for asked in so_far[1:]), "each try goes on after the one before"
    monkeypatch.setattr(Web, "breaks_after", 0)
    assert fetch.fetch(entry).read_bytes() == MODEL
    assert int(Web.ranges[-1].removeprefix("bytes=").rstrip("-")) >= 9


def test_a_file_that_was_replaced_meanwhile_is_fetched_anew(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = catalogue.from_url("accounts/local/models/x", f"{web}/x.gguf")
    monkeypatch.setattr(Web, "breaks_after", 10)
    monkeypatch.setattr(Web, "content", b"x" * len(MODEL))
    with pytest.raises(Unavailable):
        fetch.fetch(entry)
    for name, value in (("breaks_after", 0), ("content", MODEL), ("tag", '"2"')):
        monkeypatch.setattr(Web, name, value)
    assert fetch.fetch(entry).read_bytes() == MODEL


def test_an_address_without_the_file_is_said_and_leaves_nothing(web: str) -> None:
    entry = catalogue.from_url("accounts/local/models/x", f"{web}/gone.gguf")
    with pytest.raises(NotFound, match="no such file"):
        fetch.fetch(entry)
    assert files_left(entry) == set()


def test_a_file_of_this_machine_is_copied_and_held_to_its_sha256(index: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(MODEL)
    entry = catalogue.sourced(str(file), hashlib.sha256(MODEL).hexdigest())
    assert fetch.fetch(entry).read_bytes() == MODEL
    assert fetch.path_of(entry).name.endswith("--mine.gguf")
    file.unlink()
    assert fetch.fetch(entry).read_bytes() == MODEL, "it is here"
    file.write_bytes(MODEL)
    fetch.path_of(entry).unlink()
    with pytest.raises(Internal, match="not the recorded ones"):
        fetch.fetch(dataclasses.replace(entry, sha256="0" * 64))
    assert files_left(entry) == set()


@pytest.mark.parametrize("name", ["gone.gguf", "folder.gguf"])
def test_a_path_that_cannot_be_read_is_said(index: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(NotFound, match=f"{name} cannot be read"):
        fetch.fetch(catalogue.sourced(str(tmp_path / name)))


@pytest.mark.parametrize(
    "url", ["/a/x.bin", "ftp://h/x.gguf", "https://h/x.bin", "https://user:pass@h/x.gguf", "https:///x.gguf"]
)
def test_what_is_no_address_of_a_model_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        catalogue.sourced(url)


def test_too_small_a_disk_is_said_before_anything_is_fetched(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 90, 10))
    with pytest.raises(ResourceExhausted, match="MB are free"):
        fetch.fetch(entry)


def test_a_disk_that_fills_meanwhile_leaves_nothing_behind(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch.os, "fsync", full)
    with pytest.raises(ResourceExhausted, match="is full"):
        fetch.fetch(entry)
    assert files_left(entry) == set()


def test_a_cache_that_cannot_be_written_names_the_variable(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREDECK_CACHE_DIR", "/dev/null/cache")
    with pytest.raises(FailedPrecondition, match="cannot be written") as caught:
        fetch.fetch(entry)
    assert "FIREDECK_CACHE_DIR" in (caught.value.hint or "")


def test_pip_s_output_never_shows_an_index_password() -> None:
    error = download._explain_pip("ERROR: cannot use https://me:secret@index.example/simple today")
    assert "secret" not in error.text
    assert "https://***@index.example" in error.text


def test_an_index_that_refuses_is_told_in_its_own_words_and_not_as_a_hub() -> None:
    told = "ERROR: HTTP error 403 while getting x\nERROR: 403 Client Error: Forbidden for url: https://index.example/x"
    error = download._explain_pip(told)
    assert error.text.endswith("403 Client Error: Forbidden for url: https://index.example/x")
    assert "hub" not in f"{error.text} {error.hint}"


def test_cancelling_ends_the_download_and_leaves_nothing(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def slow_pip(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(600)"], **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(download.subprocess, "Popen", slow_pip)
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        fetch.fetch(entry, lambda *_: cancel.set(), cancel)
    assert started[0].poll() is not None
    assert files_left(entry) == set()


def test_a_waiting_fetch_says_so_and_can_be_cancelled(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "LOCK_POLL_S", 0.01)
    fetch.path_of(entry).parent.mkdir(parents=True)
    cancel, stages = threading.Event(), list[str]()

    def tell(done: int, total: int | None, stage: str) -> None:
        stages.append(stage)
        cancel.set()

    with fetch._alone(fetch.path_of(entry), silent, None), pytest.raises(Cancelled):
        fetch.fetch(entry, tell, cancel)
    assert stages == ["waiting"]


def test_what_a_killed_fetch_left_is_cleared_by_the_next(entry: Entry) -> None:
    staging = fetch.path_of(entry).parent / ".m.gguf.part"
    staging.mkdir(parents=True)
    (staging / "half.whl").write_bytes(b"half")
    fetch.fetch(entry)
    assert files_left(entry) == {"m.gguf"}


TWO = """
import pickle, sys
from engine.models import download, fetch
entry = pickle.load(open(sys.argv[1], "rb"))
real = download._run
def counted(*arguments):
    open(sys.argv[2], "a").write("x")
    real(*arguments)
download._run = counted
print("ready", flush=True)
sys.stdin.readline()
print(fetch.fetch(entry).stat().st_size)
"""


def test_two_engines_that_want_a_file_fetch_it_once(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "entry").write_bytes(pickle.dumps(entry))
    command = [sys.executable, "-c", TWO, str(tmp_path / "entry"), str(tmp_path / "count")]
    engines = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for engine in engines:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "ready\n"
    answers = []
    for engine in engines:
        assert engine.stdin is not None
        engine.stdin.write("\n")
        engine.stdin.flush()
    for engine in engines:
        answers.append(engine.communicate()[0].strip())
    assert answers == [str(len(MODEL))] * 2
    assert (tmp_path / "count").read_text() == "x"


def test_the_command_fetches_by_name_and_says_what_is_here(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "library", lambda: (entry,))
    assert command.main(["fetch", entry.id]) == 0
    assert "fetched: " in capsys.readouterr().out
    assert command.main(["fetch"]) == 0
    assert "is here: " in capsys.readouterr().out


def test_the_command_ends_with_1_and_a_remedy_when_a_name_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fetch", "gpt-9"]) == 1
    assert "error: the model library has no 'gpt-9' (it has smollm2" in capsys.readouterr().err


def test_a_bar_is_drawn_over_itself_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    for out, expected in (
        (Terminal(), "\r\x1b[K  Tiny  [##########.........."),
        (io.StringIO(), "  Tiny  50 of 100 MB"),
    ):
        command.Teller("Tiny", out)(50_000_000, 100_000_000, "downloading")
        assert out.getvalue().startswith(expected)


def test_the_clients_of_other_services_are_not_given_our_keys(tmp_path, monkeypatch):
    given = {"FIREDECK_API_KEY": "ours", "FIREWORKS_API_KEY": "theirs", "HF_TOKEN": "for the hub"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    shown = tmp_path / "shown"
    script = f"import os; open({str(shown)!r}, 'w').write(repr([os.environ.get(n) for n in {list(given)}]))"
    download._run([sys.executable, "-c", script], tmp_path, {}, lambda done_bytes: None)
    assert shown.read_text() == "[None, None, 'for the hub']"
