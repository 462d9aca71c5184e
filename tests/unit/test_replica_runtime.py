"""The replica's status goes one way, and a scheduler that died is not called ready."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import FiredeckError
from engine.replica.preload import Preload
from engine.replica.runtime import Runtime
from engine.replica.settings import Settings


@pytest.fixture
def runtime() -> Runtime:
    settings = Settings("d", "r", "no-such-file")
    return Runtime(settings, Preload(settings), lambda: None)


def test_a_drain_while_loading_is_not_overwritten_by_ready_or_failed(runtime: Runtime) -> None:
    runtime.drain()
    assert not runtime._advance("ready")
    runtime._failed("too late")
    assert runtime.status == "draining"


def test_ready_comes_after_loading_and_drain_after_ready(runtime: Runtime) -> None:
    assert runtime._advance("ready")
    assert not runtime._advance("loading")
    runtime.drain()
    assert runtime.status == "draining"


def test_a_failed_replica_does_not_drain(runtime: Runtime) -> None:
    runtime._failed("bad\nmodel")
    runtime.drain()
    assert (runtime.status, runtime.reason) == ("failed", "bad model")


def test_a_dead_scheduler_makes_the_replica_failed_and_fails_what_is_open(runtime: Runtime) -> None:
    class DeadScheduler:
        aborted: FiredeckError | None = None

        def run(self) -> None:
            raise RuntimeError("no way on")

        def abort(self, error: FiredeckError) -> None:
            self.aborted = error

    runtime._advance("ready")
    scheduler: Any = DeadScheduler()
    runtime._serve(scheduler)
    assert runtime.status == "failed"
    assert "no way on" in runtime.reason
    assert scheduler.aborted is not None
    assert scheduler.aborted.status == 503


def test_after_its_scheduler_died_a_replica_frees_nothing_that_stats_may_be_reading(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DeadScheduler:
        def run(self) -> None:
            raise RuntimeError("no way on")

        def abort(self, _error: FiredeckError) -> None:
            return

    def load() -> None:
        scheduler: Any = DeadScheduler()
        runtime.scheduler = scheduler
        runtime._advance("ready")

    freed: list[bool] = []
    monkeypatch.setattr(runtime, "_load", load)
    monkeypatch.setattr(runtime, "_free", lambda: freed.append(True))
    runtime._run()
    assert (runtime.status, freed) == ("failed", [])
