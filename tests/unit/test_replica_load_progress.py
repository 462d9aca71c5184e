"""A loader that goes on is told from one that hangs, by a thread that does the one or the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from engine.replica import load_progress
from engine.replica.load_progress import LoadProgress, _bytes_read
from tests.processes import poll

pytestmark = pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="no processor times of threads here")
AGED_S = 0.5


class Loader:
    """Waits, and computes while it is told to."""

    def __init__(self) -> None:
        self.progress = LoadProgress()
        self._computing, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.progress.follow()
        self._computing.wait()
        while not self._over.is_set():
            sum(range(10_000))
        self.progress.end()

    def compute(self) -> None:
        self._computing.set()

    def end(self) -> None:
        self._over.set()
        self._computing.set()
        self._thread.join()


@pytest.fixture
def loader() -> Iterator[Loader]:
    made = Loader()
    yield made
    made.end()


def test_one_that_waits_grows_older_until_a_part_of_the_model_is_loaded(loader):
    poll(lambda: loader.progress.age_s() > AGED_S)
    loader.progress.fraction = 0.01
    assert loader.progress.age_s() == 0
    poll(lambda: loader.progress.age_s() > AGED_S)


def test_bytes_that_are_read_are_a_sign_of_life_and_so_is_processor_time(loader, monkeypatch):
    poll(lambda: loader.progress.age_s() > AGED_S)
    monkeypatch.setattr(load_progress, "_bytes_read", lambda: 4096)
    assert loader.progress.age_s() == 0
    poll(lambda: loader.progress.age_s() > AGED_S)
    loader.compute()
    poll(lambda: loader.progress.age_s() == 0)


def test_when_it_is_over_nothing_is_held_against_it(loader):
    poll(lambda: loader.progress.age_s() > AGED_S)
    loader.end()
    assert loader.progress.age_s() == 0


def test_the_bytes_are_those_that_the_system_tells_and_none_where_it_does_not(tmp_path, monkeypatch):
    told = tmp_path / "io"
    told.write_text("rchar: 6976\nread_bytes: 8192\nwrite_bytes: 1\n")
    monkeypatch.setattr(load_progress, "_IO", told)
    assert _bytes_read() == 8192
    monkeypatch.setattr(load_progress, "_IO", tmp_path / "none")
    assert _bytes_read() == 0
