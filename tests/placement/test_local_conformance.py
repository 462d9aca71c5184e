"""The local driver, with real replica processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from engine.models import fetch
from engine.models.catalogue import find
from engine.placement import machine
from engine.placement.endings import by_own_fault, in_words
from engine.placement.local import LOGS_KEPT, LocalDriver
from engine.placement.port import Need, Placed
from engine.placement.rlimits import FILE_BYTES
from tests.placement.conformance import Conformance, Place
from tests.processes import SMOLLM2

pytestmark = pytest.mark.model
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
NEED = Need(model_bytes=150 << 20, process_bytes=100 << 20)


@pytest.fixture
async def place(tmp_path):
    async def make() -> LocalDriver:
        driver = LocalDriver(tmp_path, orphan_timeout_s=30.0)
        await driver.open()
        return driver

    return Place(await make(), make, lambda: asyncio.sleep(0.02), fetch.path_of(find(SMOLLM2)), NEED)


class TestLocal(Conformance):
    pass


async def test_what_killed_a_replica_from_outside_is_known_of_ones_own_and_unknown_of_an_earlier_engines(place):
    placed = await place.driver.start(place.launch())
    await place.until(placed.socket.exists)
    later = await place.again()
    os.kill(placed.pid, signal.SIGSEGV)
    await place.until(lambda: not place.driver.alive(placed))
    assert place.driver.ending(placed) == "killed by signal 11 (SIGSEGV)"
    assert place.driver.crashed(placed)
    assert not later.crashed(placed), "it cannot know"
    assert later.ending(placed) == "how it ended is not known: an earlier engine started it"
    place.driver.forget(placed)


async def test_the_log_of_a_failed_start_has_its_reason_before_anybody_can_know_of_it_and_end_the_process(
    place, tmp_path
):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"not a model at all")
    launch = place.launch(model_file=bad)
    placed = await place.driver.start(launch)
    told: list[str] = []

    async def failed(client: httpx.AsyncClient) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            health = (await client.get("/health")).json()
            told.extend([health["reason"]] if health["status"] == "failed" else [])
        return bool(told) or not place.driver.alive(placed)

    async with place.client(launch, placed) as client:
        while not await failed(client):
            await place.turn()
    place.driver.stop(placed, force=True)
    await place.until(lambda: not place.driver.alive(placed))
    lines = place.driver.last_words(launch.replica).splitlines()
    place.driver.forget(placed)
    assert lines[0].endswith(f" loads {bad}")
    assert lines[-1] == f"{bad} is not a GGUF file"
    assert told in ([], [lines[-1]])


async def test_the_log_of_a_replica_that_serves_says_since_when(place):
    launch = place.launch()
    async with place.running(launch) as placed, place.client(launch, placed) as client:
        await place.ready(client)
        await place.until(lambda: " ready after " in place.driver.last_words(launch.replica))


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with exit status 0"), (3, "ended with exit status 3"), (-6, "killed by signal 6 (SIGABRT)"),
     (-40, "killed by signal 40")],
)  # fmt: skip
def test_every_code_of_an_ended_process_has_words(code, words):
    assert in_words(code) == words


@pytest.mark.parametrize(("code", "its_own"), [(0, False), (1, True), (139, True), *((-s, True) for s in CRASHES)])
def test_a_crash_is_told_from_an_end_as_told(code, its_own):
    assert by_own_fault(code) == its_own


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGPIPE"])
def test_a_signal_from_outside_is_no_crash(name):
    assert not by_own_fault(-signal.Signals[name])


GIVEN = {"FIREDECK_REPLICA_KEY", "FIREDECK_REPLICA_NEED", "PYTHONUNBUFFERED", "PYTHONSAFEPATH"}
INHERITED = {"PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "TMPDIR"}


def first_environment(pid: int) -> dict[str, str]:
    """What a process was started with, as the system has it; what it set later is not in there."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")
    return dict(entry.partition("=")[::2] for entry in entries)


@pytest.mark.skipif(sys.platform != "linux", reason="what a process was started with is read from /proc")
async def test_a_replica_is_started_with_what_it_needs_and_serves_with_that(place, monkeypatch):
    for name in ("PATH", "HOME", "LANG", "LC_ALL", "USER", "VIRTUAL_ENV", "LD_PRELOAD_64", "FIREDECK_DATA_DIR", "A B"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    launch = place.launch()
    async with place.running(launch) as placed, place.client(launch, placed) as client:
        await place.ready(client)
        environment = first_environment(placed.pid)
        assert GIVEN <= environment.keys() <= GIVEN | INHERITED
        assert environment["LD_LIBRARY_PATH"] == "/nowhere"
        assert environment["FIREDECK_REPLICA_KEY"] == launch.key
        own = {name: os.environ.get(name) for name in INHERITED - {"CUDA_VISIBLE_DEVICES"} if name in environment}
        assert own == {name: environment[name] for name in own}
        for child in psutil.Process(placed.pid).children(recursive=True):
            assert launch.key not in first_environment(child.pid).values()


async def test_a_replica_inherits_nothing_but_what_it_needs(place, monkeypatch):
    monkeypatch.setenv("FIREWORKS_API_KEY", "canary")
    monkeypatch.setenv("FIREDECK_API_KEY", "canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    reading, _ = os.pipe()
    os.set_inheritable(reading, True)
    launch = place.launch()
    async with place.running(launch) as placed:
        process = psutil.Process(placed.pid)
        await place.until(process.environ)  # the system shows it a moment after the start
        assert "canary" not in process.environ().values()
        assert launch.key not in " ".join(process.cmdline())
        assert os.getpgid(placed.pid) == placed.pid != os.getpgid(0)
        assert os.getsid(placed.pid) == placed.pid
        assert process.cwd() == "/", "no folder of anybody's to write to"
        assert os.readlink(f"/proc/self/fd/{reading}") not in open_files(placed.pid)


def open_files(pid: int) -> set[str]:
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile: a process that starts reads many files
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes can be set on Linux alone")
async def test_a_replica_dumps_no_core_and_its_files_and_memory_are_bounded(place):
    async with place.running(place.launch()) as placed:
        assert resource.prlimit(placed.pid, resource.RLIMIT_CORE) == (0, 0)
        assert resource.prlimit(placed.pid, resource.RLIMIT_NOFILE)[0] <= 4096
        assert resource.prlimit(placed.pid, resource.RLIMIT_FSIZE)[0] == FILE_BYTES
        assert resource.prlimit(placed.pid, resource.RLIMIT_DATA)[0] == 2 * NEED.memory_bytes + (1 << 30)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes can be set on Linux alone")
async def test_a_replica_that_takes_far_more_than_it_was_promised_ends_alone(place):
    greedy = place.launch(slots=64, context_tokens=8192)  # 11.8 GB of KV cache
    placed = await place.driver.start(greedy)
    async with place.client(greedy, placed) as client:
        assert client
        await place.until(lambda: not place.driver.alive(placed))
    assert place.driver.last_words(greedy.replica)
    place.driver.forget(placed)


async def test_the_socket_of_a_replica_that_died_while_no_engine_was_there_is_removed_by_the_next(place):
    placed = await place.driver.start(place.launch())
    await place.until(placed.socket.exists)
    os.kill(placed.pid, signal.SIGKILL)
    await place.until(lambda: not place.driver.alive(placed))
    assert placed.socket.exists()
    await place.again()
    assert not placed.socket.exists()


async def test_a_replica_that_binds_its_socket_while_an_engine_starts_keeps_it(tmp_path, monkeypatch):
    looked_for = LocalDriver.strays

    def strays(self: LocalDriver, known: frozenset[Path]) -> list[Placed]:
        found = looked_for(self, known)
        self.socket_of("late").touch()  # of one that became a process since, started by an engine that was killed
        return found

    monkeypatch.setattr(LocalDriver, "strays", strays)
    driver = LocalDriver(tmp_path, orphan_timeout_s=30.0)
    await driver.open()
    assert driver.socket_of("late").exists()


async def test_memory_that_was_promised_and_not_taken_yet_is_not_free(place, monkeypatch):
    found = machine.memory()
    monkeypatch.setattr(machine, "memory", lambda: found)  # whatever else on this machine takes or gives back
    (before,) = place.driver.nodes()
    large = replace(NEED, model_bytes=before.free_memory_bytes // 2)
    async with place.running(place.launch(need=large)):
        (after,) = place.driver.nodes()
        assert after.free_memory_bytes < before.free_memory_bytes - large.model_bytes * 0.8


async def test_labels_of_this_machine_are_what_its_settings_say(tmp_path):
    driver = LocalDriver(tmp_path, orphan_timeout_s=1, region="EU_PARIS_1", accelerator_type="NVIDIA_L4_24GB")
    (node,) = driver.nodes()
    assert (node.region, node.accelerator_type) == ("EU_PARIS_1", "NVIDIA_L4_24GB")


async def test_the_log_of_a_living_replica_outlasts_those_of_any_number_that_failed(place):
    async with place.running(place.launch()) as placed:
        logs = placed.socket.parents[1] / "logs"
        [living] = logs.glob("*.log")
        os.utime(living, (1, 1))  # it has been silent for longest
        for number in range(LOGS_KEPT + 10):
            (logs / f"d-{number}.log").write_text("it broke")
        later = await place.again()  # an engine that took it over
        async with Place(later, place.again, place.turn, place.model_file, NEED).running(place.launch()):
            assert living.exists()
            assert len(list(logs.glob("*.log"))) == LOGS_KEPT + 2
