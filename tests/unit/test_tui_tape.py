"""Recordings: what is written is what is shown again, at any instant, whatever ended the recorder."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from client.config import Context
from client.errors import FailedPrecondition, InvalidArgument, Unavailable
from client.fleet_types import DeploymentStats, DeploymentStatus, EngineInfo, FleetSnapshot
from client.types import Deployment, DeploymentSpec, ReplicaStats
from tui.core import units
from tui.core.facts import Facts
from tui.core.played import Tape
from tui.core.row import Row
from tui.core.tape import WHOLE_EVERY, Writer
from tui.sources.recording import Recorder, RecordFile, recorded
from tui.sources.rehearsal import RehearsalSource
from tui.sources.replay import Reel, ReplaySource, replayed

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHAT = "accounts/local/deployments/chat"


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    async def second(self):
        self.now += timedelta(seconds=1)


def snapshots(count, seed=7):
    """Deployments that come, go and change, from a seed."""
    chance = random.Random(seed)
    names = [f"accounts/a/deployments/d{n}" for n in range(6)]
    found = []
    for second in range(count):
        shown = [name for name in names if chance.random() < 0.8]
        statuses = [
            DeploymentStatus(
                deployment=Deployment(name=name, state="READY", desired_replica_count=chance.randrange(3)),
                stats=DeploymentStats(window_s=60, queue=chance.randrange(2), requests_per_second=float(second)),
            )
            for name in shown
        ]
        info = EngineInfo(version="1", started_at=START, cores=2)
        time = START + timedelta(seconds=second)
        found.append(FleetSnapshot(time=time, engine=info, deployments=statuses))
    return found


def lines(found):
    writer = Writer()
    return [writer.head(Context(name="eu")), *(writer.frame(snapshot) for snapshot in found)]


def read(written):
    """The recording of one context alone."""
    (tape,) = tapes_of(written).values()
    return tape


def tapes_of(written):
    return Tape.read("".join(written).encode())


def frame(tape, second):
    """Where the frame of this second is."""
    return tape.position(START + timedelta(seconds=second))


def by_name(snapshot):
    return {one.deployment.name: one.to_wire() for one in snapshot.deployments}


def test_every_frame_comes_back_as_it_was_whatever_changed_between():
    found = snapshots(3 * WHOLE_EVERY)
    tape = read(lines(found))
    for index, snapshot in enumerate(found):
        again = tape.snapshot(frame(tape, index))
        assert (again.time, by_name(again)) == (snapshot.time, by_name(snapshot))


def test_frames_may_be_looked_at_in_any_order():
    found = snapshots(3 * WHOLE_EVERY)
    tape = read(lines(found))
    for index in random.Random(3).choices(range(len(found)), k=60):
        assert by_name(tape.snapshot(frame(tape, index))) == by_name(found[index])


def test_of_a_long_recording_only_what_is_looked_at_is_read(monkeypatch):
    written = lines(snapshots(20 * WHOLE_EVERY))
    looked = []
    monkeypatch.setattr("tui.core.played._record", lambda line: looked.append(line) or json.loads(line))
    tape = read(written)
    assert len(looked) == 2, "the head, and what follows it"
    tape.snapshot(frame(tape, 19.5 * WHOLE_EVERY))
    assert len(looked) <= 3 + WHOLE_EVERY


def test_a_history_of_hours_has_a_value_for_each_of_its_steps():
    still = snapshots(1)[0].deployments[0]
    found = [
        snapshot.model_copy(
            update={"deployments": [still.model_copy(update={"stats": DeploymentStats(window_s=60, queue=n)})]}
        )
        for n, snapshot in enumerate(snapshots(3000))
    ]
    tape = read(lines(found))
    history = tape.history(still.deployment.name, frame(tape, 2999), 2880)
    assert history.step_s == 4
    queue = history.series["queue"]
    assert None not in queue
    assert max(abs(value - (2999 - 4 * (719 - slot))) for slot, value in enumerate(queue)) <= 2


def test_an_instant_shows_the_picture_that_was_the_newest_then():
    tape = read(lines(snapshots(10)))
    for moment, second in (
        (START + timedelta(seconds=3.9), 3), (START - timedelta(days=1), 0), (START + timedelta(days=1), 9),
    ):  # fmt: skip
        assert tape.time(tape.position(moment)) == START + timedelta(seconds=second)


def test_what_does_not_change_is_written_once_between_whole_pictures():
    still = snapshots(1)[0]
    written = lines([still.model_copy(update={"time": START + timedelta(seconds=n)}) for n in range(WHOLE_EVERY + 1)])
    assert sum('"whole"' in line for line in written) == 2
    assert all('"deployments":{}' in line for line in written[2:-1])


def test_a_torn_last_line_is_left_out():
    written = lines(snapshots(5))
    tape = read([*written[:-1], written[-1][:40]])
    assert tape.last == START + timedelta(seconds=3)


@pytest.mark.parametrize(
    "text", ["", "hello\n", '{"tape": 99, "context": {}}\n', '{"tape": 1, "context": {"name": "x"}}\n']
)
def test_what_is_no_recording_is_refused_with_a_remedy(tmp_path, text):
    file = tmp_path / "tape"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as refused:
        replayed(file)
    assert refused.value.hint


def test_what_a_source_did_not_send_is_not_known_in_its_recording_either():
    bare = DeploymentStatus(deployment=Deployment(name="accounts/a/deployments/x"), stats=DeploymentStats(window_s=60))
    snapshot = snapshots(1)[0].model_copy(update={"deployments": [bare]})
    tape = read(lines([snapshot]))
    (again,) = tape.snapshot(frame(tape, 0)).deployments
    assert Row(again).queue is None
    assert Row(again).told("queue", str) == units.NOT_EXPOSED


async def test_a_recording_of_what_is_not_exposed_says_so_again(tmp_path):
    source = RehearsalSource(clock=Clock())
    source.facts = Facts("Fireworks", hidden=frozenset({"tps"}))
    await recorded({"": source}, tmp_path / "tape")[""].close()
    head = (tmp_path / "tape").read_text().splitlines(keepends=True)
    frames = lines(snapshots(1))
    assert read([*head, *frames[1:]]).hidden == {"tps"}


def test_a_history_has_the_recorded_values_and_gaps_before_them():
    found = snapshots(20)
    tape = read(lines(found))
    name = "accounts/a/deployments/d0"
    history = tape.history(name, frame(tape, 19), 60)
    rps = history.series["requests_per_second"]
    assert len(rps) == len(history.times) == 60
    assert rps[:40] == [None] * 40
    there = [any(d.deployment.name == name for d in s.deployments) for s in found]
    assert rps[40:] == [float(n) if there[n] else None for n in range(20)]


async def record(path, seconds):
    clock = Clock()
    source = RehearsalSource(clock, clock.second)
    recorder = recorded({"": source}, path)[""]
    shown = []
    async with aclosing(recorder.watch()) as pictures:
        async for snapshot in pictures:
            shown.append(snapshot)
            if len(shown) == seconds:
                break
    assert recorder.facts.note == "REC"
    assert (await recorder.get(CHAT)).name == CHAT, "all else is the source's"
    await recorder.close()
    return shown


async def test_a_recorded_fleet_is_shown_again_wound_and_paused(tmp_path):
    file = tmp_path / "fleet.tape"
    shown = await record(file, 130)
    assert file.stat().st_mode & 0o077 == 0
    replay = replayed(file)[""]
    assert by_name(await replay.snapshot()) == by_name(shown[0])
    replay.wind(100)
    assert by_name(await replay.snapshot()) == by_name(shown[100])
    assert {e.seq for e in await replay.events(CHAT)} <= {e.seq for e in await replay.events()}
    assert [node.name for node in await replay.nodes()] == ["rehearsal-1", "rehearsal-2", "rehearsal-3"]
    assert (await replay.history(CHAT, 60)).series["ready"][-1] is not None
    replay.wind(10_000)
    assert by_name(await replay.snapshot()) == by_name(shown[-1])
    replay.pause()
    assert by_name(await replay.snapshot()) == by_name(shown[0]), "from its end it begins again"


class Ticks:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def source_of(*written, clock=None, among=()):
    """The first of these recordings, on the reel of all."""
    tapes = [read(one) for one in (written, *among)]
    return ReplaySource(tapes[0], Reel.of(tapes, clock or Ticks()))


async def test_a_replay_goes_at_its_own_pace_stands_when_paused_and_shows_a_jump_at_once():
    ticks = Ticks()
    replay = source_of(*lines(snapshots(100)), clock=ticks)
    pictures = replay.watch()
    first = await anext(pictures)
    ticks.now += 1
    replay.wind(30)
    second = await anext(pictures)
    assert (second.time - first.time).total_seconds() == 31
    replay.pause()
    ticks.now += 10
    third = await anext(pictures)
    assert third.time == second.time
    assert "‖" in replay.facts.note
    replay.pause()
    ticks.now += 5
    assert (await anext(pictures)).time - second.time == timedelta(seconds=5), "it goes on where it stood"
    await pictures.aclose()


def test_a_recording_that_ends_on_another_day_says_on_which():
    head, first, last = lines(snapshots(2))
    later = last.replace('"at":"2026-11-20T12:00:01', '"at":"2026-11-21T14:30:01')
    assert later != last
    end = (START + timedelta(days=1, hours=2, minutes=30, seconds=1)).astimezone()
    assert source_of(head, first, later).facts.note.endswith(f"of {end:%m-%d %H:%M:%S}")


async def test_a_recording_refuses_every_change_and_says_what_it_has_not():
    replay = source_of(*lines(snapshots(2)))
    with pytest.raises(FailedPrecondition, match="nothing can be changed"):
        await replay.delete("accounts/a/deployments/d0")
    with pytest.raises(FailedPrecondition):
        await replay.create(DeploymentSpec(), "x")
    with pytest.raises(Unavailable, match="has no users"):
        await replay.users()
    assert replay.facts.lacks["scale"]


async def test_a_full_disk_ends_the_recording_and_not_the_dashboard(tmp_path):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

        def flush(self):
            raise AssertionError

    clock = Clock()
    file = RecordFile(tmp_path / "t")
    recorder = Recorder(RehearsalSource(clock, clock.second), file, now=lambda: 0.0)
    file._file.close()
    file._file = Full()
    pictures = recorder.watch()
    await anext(pictures)
    await anext(pictures)
    assert "recording stopped" in recorder.facts.note
    await pictures.aclose()


def test_a_recording_is_never_written_over(tmp_path):
    file = tmp_path / "t"
    file.write_text("mine")
    with pytest.raises(InvalidArgument, match="exists already"):
        recorded({"": RehearsalSource()}, file)
    assert file.read_text() == "mine"


async def test_a_replay_ends_when_its_reader_is_cancelled():
    replay = source_of(*lines(snapshots(2)))

    async def read():
        async for _ in replay.watch():
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Several contexts.


def shifted(found, seconds):
    """As an engine whose clock is wrong has them."""
    return [one.model_copy(update={"time": one.time + timedelta(seconds=seconds)}) for one in found]


def together(**contexts):
    """The lines of these pictures, by contexts, which all came each second from START on by the recorder's clock."""
    writers = {name: Writer(name) for name in contexts}
    written = [writers[name].head(Context(name=name, base_url=f"http://{name}")) for name in contexts]
    for name, found in contexts.items():
        written += [writers[name].frame(one, START + timedelta(seconds=n)) for n, one in enumerate(found) if one]
    return written


async def test_two_contexts_are_recorded_into_one_file_and_each_is_shown_again_as_it_was(tmp_path):
    file, clock = tmp_path / "fleet.tape", Clock()
    both = {name: RehearsalSource(clock, clock.second, context=Context(name=name)) for name in ("eu", "us")}
    await both["us"].scale(CHAT, 5)
    recorders = recorded(both, file)
    shown = {}
    for name, recorder in recorders.items():
        pictures = recorder.watch()
        shown[name] = [await anext(pictures) for _ in range(3)]
        await pictures.aclose()
    await recorders["eu"].close()
    assert recorders["us"].facts.note == "REC", "the other one still writes"
    await recorders["us"].close()
    again = replayed(file)
    assert {name: one.context.name for name, one in again.items()} == {"eu": "eu", "us": "us"}
    for name, source in again.items():
        tape = source.tape
        assert by_name(tape.snapshot(tape.position(tape.first))) == by_name(shown[name][0])
        assert {e.deployment for e in tape.events(tape.last)}, name
    ends = [by_name(one.tape.snapshot(one.tape.position(one.tape.last))) for one in again.values()]
    assert ends[0] != ends[1]


def test_engines_whose_clocks_differ_are_laid_beside_each_other_by_the_recorders_clock():
    found = snapshots(20)
    tapes = tapes_of(together(eu=found, us=shifted(found, -3600)))
    reel = Reel.of(tapes.values(), Ticks())
    assert (reel.end - reel.start).total_seconds() == 19, "not an hour"
    sources = [ReplaySource(tape, reel) for tape in tapes.values()]
    reel.wind(7)
    shown = [source.tape.time(source.position) - source.tape.first for source in sources]
    assert shown == [timedelta(seconds=7)] * 2
    sources[1].wind(5)
    shown = [source.tape.time(source.position) - source.tape.first for source in sources]
    assert shown == [timedelta(seconds=12)] * 2, "there is one time"


async def test_a_context_that_was_silent_shows_no_picture_until_it_was_heard_of_again():
    ticks, found = Ticks(), snapshots(60)
    gap = [one if n < 10 or n >= 40 else None for n, one in enumerate(found)]
    tapes = tapes_of(together(eu=found, us=gap))
    reel = Reel.of(tapes.values(), ticks)
    pictures = ReplaySource(tapes["us"], reel).watch()
    assert (await anext(pictures)).time == START
    reel.wind(20)
    assert (await anext(pictures)).time == START + timedelta(seconds=9), "after a jump the newest that there was"
    waiting = asyncio.ensure_future(anext(pictures))
    await asyncio.sleep(0)
    ticks.now = 1.0
    reel._moved[0].set()
    reel._moved[0].clear()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    reel.wind(25)
    assert (await waiting).time >= START + timedelta(seconds=40)
    await pictures.aclose()


async def test_before_a_context_was_first_heard_of_nothing_is_made_up():
    found = snapshots(30)
    late = [None] * 20 + found[20:]
    tapes = tapes_of(together(eu=found, us=late))
    source = ReplaySource(tapes["us"], Reel.of(tapes.values(), Ticks()))
    for asked in (source.snapshot(), source.history("accounts/a/deployments/d0", 60)):
        with pytest.raises(Unavailable, match="nothing had been recorded of us by then"):
            await asked
    source.wind(25)
    assert (await source.snapshot()).time == found[25].time


def test_a_context_that_never_answered_is_in_the_recording_without_a_picture():
    tapes = tapes_of(together(eu=snapshots(3), us=[]))
    assert tapes["eu"].last == START + timedelta(seconds=2)
    assert tapes["us"].first is None
    with pytest.raises(InvalidArgument):
        tapes_of(together(eu=[], us=[]))


def test_a_recording_of_the_first_version_is_still_read():
    old = [line.replace('"tape":2', '"tape":1') for line in lines(snapshots(3))]
    assert read(old).last == START + timedelta(seconds=2)


# Spikes.


def told(values, every_s=1.0, name="d0"):
    """A picture for each of these figures of one deployment: (queue, ready replicas)."""
    info = EngineInfo(version="1", started_at=START, cores=2)
    return [
        FleetSnapshot(
            time=START + timedelta(seconds=n * every_s), engine=info,
            deployments=[
                DeploymentStatus(
                    deployment=Deployment(
                        name=f"accounts/a/deployments/{name}", replica_stats=ReplicaStats(ready_replica_count=ready)
                    ),
                    stats=DeploymentStats(window_s=60, queue=queue),
                )
            ],
        )
        for n, (queue, ready) in enumerate(values)
    ]  # fmt: skip


def closed(found):
    """The lines of a recording that was ended by its user."""
    writer = Writer()
    return [writer.head(Context(name="eu")), *(writer.frame(snapshot) for snapshot in found), writer.peaks()]


def curve(tape, series, seconds, end=None):
    history = tape.history("accounts/a/deployments/d0", tape.position(end or tape.last), seconds)
    return history.series[series], history


@pytest.mark.parametrize("spike", [7, 59, 60, 61, 1234, 3599])
@pytest.mark.parametrize("seconds", [3600, 21_600, 86_400])
def test_a_spike_of_one_second_is_in_the_curve_of_hours_where_it_was(spike, seconds):
    values = [(900 if n == spike else 1, 2) for n in range(3600)]
    tape = read(closed(told(values)))
    queue, history = curve(tape, "queue", seconds)
    assert queue.count(900) == 1
    at = history.times[queue.index(900)]
    assert abs(at - (START + timedelta(seconds=spike)).timestamp()) <= history.step_s / 2
    assert {value for value in queue if value is not None} == {1, 900}


def test_of_every_step_of_a_day_the_extreme_is_kept_and_of_ready_replicas_the_lowest():
    chance = random.Random(11)
    values = [(chance.randrange(1000), chance.randrange(1, 9)) for _ in range(14_400)]
    tape = read(closed(told(values, every_s=6.0)))
    for series, part, extreme in (("queue", 0, max), ("ready", 1, min)):
        found, history = curve(tape, series, 86_400)
        first = START.timestamp()
        for slot, at in enumerate(history.times):
            within = [
                one[part]
                for n, one in enumerate(values)
                if at - history.step_s / 2 < first + n * 6.0 <= at + history.step_s / 2
            ]
            assert found[slot] == extreme(within, default=None)


def test_a_spike_that_comes_later_is_not_in_the_curve_before_it():
    tape = read(closed(told([(900 if n == 1800 else 1, 2) for n in range(3600)])))
    assert 900 not in curve(tape, "queue", 3600, end=START + timedelta(seconds=1799))[0]
    assert 900 in curve(tape, "queue", 3600, end=START + timedelta(seconds=1800 + 60))[0]


def test_spikes_of_one_context_are_not_those_of_another_though_names_are_equal():
    quiet, busy = told([(1, 2)] * 600), told([(900 if n == 333 else 1, 2) for n in range(600)])
    tapes = tapes_of(together(eu=quiet, us=busy))
    assert 900 not in curve(tapes["eu"], "queue", 3600)[0]
    assert 900 in curve(tapes["us"], "queue", 3600)[0]


@pytest.mark.parametrize("ended", ["torn", "of an older dashboard"])
def test_without_the_lines_of_peaks_a_recording_still_has_its_curves(ended):
    written = "".join(closed(told([(n, 2) for n in range(600)]))).splitlines(keepends=True)
    assert any('"peaks"' in line for line in written)
    rest = [line for line in written if '"peaks"' not in line] if ended != "torn" else [*written[:-2], written[-2][:30]]
    queue, _ = curve(read(rest), "queue", 3600)
    assert [value for value in queue if value is not None]


async def test_what_rose_last_is_written_when_the_recording_is_closed(tmp_path):
    file, clock = tmp_path / "tape", Clock()
    recorder = recorded({"": RehearsalSource(clock, clock.second)}, file)[""]
    pictures = recorder.watch()
    for _ in range(20):
        await anext(pictures)
    await pictures.aclose()
    await recorder.close()
    assert file.read_text().splitlines()[-1].startswith('{"peaks":{')


def test_what_stays_as_it_is_has_no_peaks_and_costs_nothing():
    still = told([(5, 2)] * 300)
    assert sum('"peaks"' in line for line in "".join(closed(still)).splitlines()) == 1, "it rose from nothing once"
