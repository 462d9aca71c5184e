"""Replicas that the kernel ends for want of memory: a crash with its reason, told from an operator's kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from engine.models import fetch
from engine.models.catalogue import find
from engine.placement.local import LocalDriver
from engine.placement.oom import LOOK_EVERY_S, RECENT_S, VMSTAT, OomKills, counter
from engine.placement.port import Need, Placed
from tests.placement.conformance import Place
from tests.processes import SMOLLM2, poll

CGROUPS = Path("/sys/fs/cgroup")
LIMIT_BYTES = 48 << 20  # of memory that is its own: less than a replica needs before it has read its model
FOR_MEMORY = "killed by signal 9 (SIGKILL): the kernel ended it for memory; a smaller maxContextLength or maxBatchSize"


class Now:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Counted:
    """A count as the kernel's, which tests raise."""

    file: Path

    def __post_init__(self) -> None:
        self.kills(0)

    def kills(self, count: int) -> None:
        self.file.write_text(f"low 0\nhigh 3\nmax 12\noom 5\noom_kill {count}\noom_group_kill 0\n")


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "memory.events")


def test_only_as_many_ends_are_the_kernels_as_it_has_counted_since(counted):
    counted.kills(7)
    kills = OomKills(counted.file)
    assert not kills.took(), "what it did before this engine came is not about our replicas"
    counted.kills(9)
    assert [kills.took() for _ in range(3)] == [True, True, False]


def test_what_the_kernel_ended_long_ago_explains_no_end_of_today(counted):
    kills = OomKills(counted.file, now := Now())
    counted.kills(1)
    now.seconds += LOOK_EVERY_S
    kills.look()
    now.seconds += RECENT_S
    assert kills.took()
    counted.kills(2)
    now.seconds += LOOK_EVERY_S
    kills.look()
    now.seconds += RECENT_S + 1
    assert not kills.took()


def test_where_nothing_can_be_read_nothing_is_said(tmp_path):
    assert not OomKills(None).took()
    assert not OomKills(tmp_path / "none").took()
    assert counter(tmp_path, tmp_path / "none") == (VMSTAT if "oom_kill " in VMSTAT.read_text() else None)


@pytest.mark.parametrize(
    ("membership", "folder", "file"),
    [
        ("0::/user/engine\n", "user/engine", "memory.events"),
        ("0::/\n", "", "memory.events"),
        ("5:devices:/x\n4:memory:/box\n0::/\n", "memory/box", "memory.oom_control"),
    ],
    ids=["version 2", "its own namespace", "version 1"],
)
def test_the_count_of_our_own_cgroup_is_asked_before_the_machines(tmp_path, membership, folder, file):
    told = tmp_path / "membership"
    told.write_text(membership)
    own = tmp_path / "cgroups" / folder
    own.mkdir(parents=True)
    (own / file).write_text("oom_kill_disable 0\noom_kill 0\n")
    assert counter(tmp_path / "cgroups", told) == own / file


@pytest.mark.skipif(not VMSTAT.exists(), reason="the kernel's own files are read here")
def test_this_machine_has_such_a_count_and_it_can_be_read():
    file = counter()
    assert file is not None
    assert re.search(r"^oom_kill \d+$", file.read_text(), re.MULTILINE)


@pytest.fixture
async def place(tmp_path: Path, counted: Counted) -> Place:
    async def make() -> LocalDriver:
        driver = LocalDriver(tmp_path, orphan_timeout_s=30.0, oom_kills=OomKills(counted.file))
        await driver.open()
        return driver

    need = Need(model_bytes=150 << 20, process_bytes=100 << 20)
    return Place(await make(), make, lambda: asyncio.sleep(0.02), fetch.path_of(find(SMOLLM2)), need)


async def ended(place: Place, placed: Placed) -> tuple[bool, str]:
    """Whether it crashed, and how it ended."""
    await place.until(lambda: not place.driver.alive(placed))
    told = place.driver.crashed(placed), place.driver.ending(placed)
    assert told == (place.driver.crashed(placed), place.driver.ending(placed)), "asked again, the same is told"
    place.driver.forget(placed)
    return told


@pytest.mark.model
async def test_a_replica_that_the_kernel_ended_for_memory_has_crashed_and_one_that_somebody_killed_has_not(
    place, counted
):
    first, second, third = [await place.driver.start(place.launch()) for _ in range(3)]
    counted.kills(1)
    os.kill(first.pid, signal.SIGKILL)
    crashed, how = await ended(place, first)
    assert crashed
    assert how.startswith(FOR_MEMORY)
    os.kill(second.pid, signal.SIGKILL)
    assert await ended(place, second) == (False, "killed by signal 9 (SIGKILL)")
    counted.kills(2)
    place.driver.stop(third, force=True)
    assert await ended(place, third) == (False, "killed by signal 9 (SIGKILL)"), "it was told to"


@dataclass
class Cgroup:
    """One of our own that has no more memory than it is given."""

    folder: Path

    @property
    def events(self) -> Path:
        return next(file for name in ("memory.events", "memory.oom_control") if (file := self.folder / name).exists())

    def take(self, pid: int) -> None:
        (self.folder / "cgroup.procs").write_text(str(pid))

    def limit(self, most: int) -> None:
        for name in ("memory.max", "memory.limit_in_bytes", "memory.swap.max", "memory.memsw.limit_in_bytes"):
            with contextlib.suppress(OSError):
                (self.folder / name).write_text("0" if name == "memory.swap.max" else str(most))


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    top = CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS
    folder = top / f"firedeck-test-{os.getpid()}-{time.monotonic_ns()}"
    made = Cgroup(folder)
    try:
        folder.mkdir()
        made.limit(LIMIT_BYTES)
        assert made.events.exists()
    except (OSError, StopIteration):
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip("no cgroup of our own can be made here")
    yield made
    poll(lambda: not (folder / "cgroup.procs").read_text())
    folder.rmdir()


async def starved(place: Place, placed: Placed, cgroup: Cgroup) -> bool:
    """Give a replica no more memory; whether it lives, for it had all that it needs before we came to that."""
    cgroup.take(placed.pid)
    await place.until(
        lambda: not place.driver.alive(placed) or " ready after " in place.driver.last_words(placed.replica)
    )
    return place.driver.alive(placed)


@pytest.mark.model
@pytest.mark.parametrize("whose", ["cgroup", "machine"])
async def test_a_replica_with_too_little_memory_is_ended_by_a_real_kernel_and_that_is_seen(
    tmp_path, place, cgroup, whose
):
    if psutil.swap_memory().total:
        pytest.skip("what is swapped out is not ended")
    file = cgroup.events if whose == "cgroup" else VMSTAT
    place.driver = LocalDriver(tmp_path / "own", orphan_timeout_s=30.0, oom_kills=OomKills(file))
    while await starved(place, placed := await place.driver.start(place.launch()), cgroup):
        await place.end(placed)
    crashed, how = await ended(place, placed)
    assert crashed, how
    assert how.startswith(FOR_MEMORY)
