"""The usage ledger on a real store and a clock that tests turn: what is charged, what survives, what is summed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.errors import Unavailable
from engine.clock import FakeClock
from engine.control.ledger import Presence, Terms
from engine.control.price import HOUR_MS, Totals, micro_usd_per_hour
from engine.store.store import Store
from engine.telemetry import ledger as shell
from engine.telemetry.ledger import BEAT_S, Ledger, month_began

CHAT, BIG = "accounts/local/deployments/chat", "accounts/local/deployments/big"
H100 = Terms("n1", "US_IOWA_1", "NVIDIA_H100_80GB", 2, 6_000_000, simulated=False)  # 6 USD an hour
CPU = Terms("local", "REGION_UNSPECIFIED", "ACCELERATOR_TYPE_UNSPECIFIED", 0, None, simulated=False)
FOREVER = (0, 2**53)
T0 = datetime(2026, 1, 31, 23, 0, tzinfo=UTC)


class Hands(FakeClock):
    """A wall clock that somebody sets; the monotonic one goes on."""

    def __init__(self, start: datetime = T0) -> None:
        super().__init__(start)
        self.off = timedelta()

    def wall(self) -> datetime:
        return super().wall() + self.off


class Desk:
    """A ledger, its store, and the replicas that it is told of."""

    def __init__(self, path: Path, clock: Hands) -> None:
        self.path, self.clock = path, clock
        self.there: dict[str, Presence] = {}

    async def open(self, boot: str = "one") -> Desk:
        self.store = await Store.open(self.path)
        self.ledger = Ledger(self.store, self.clock, boot)
        await self.ledger.open()
        return self

    async def killed_and_back(self, boot: str = "one", away_s: float = 10.0) -> None:
        """The engine is gone without a word; the next one finds its replicas not ready yet."""
        await self.store.close()
        self.clock.advance(away_s)
        await self.open(boot)
        now = self.clock.monotonic()
        self.there = {name: Presence(was.deployment, now, now) for name, was in self.there.items()}

    def ready(self, replica: str, deployment: str = CHAT, terms: Terms = H100) -> None:
        now = self.clock.monotonic()
        self.there[replica] = Presence(deployment, now, now, terms)

    def stop(self, replica: str) -> None:
        now = self.clock.monotonic()
        self.there[replica] = Presence(self.there[replica].deployment, now, now)

    async def look(self, after_s: float = 0.0) -> None:
        """Look once a second for so long, once a minute for long; all that are there are seen to live."""
        step_s = 1.0 if after_s <= 120 else 60.0
        while after_s > 0:
            self.clock.advance(min(step_s, after_s))
            after_s -= step_s
            await self._look()
        await self._look()

    async def _look(self) -> None:
        for one in self.there.values():
            one.seen_at = self.clock.monotonic()
        await self.ledger.observe(self.there)

    async def total(self, start_ms: int = 0, end_ms: int = FOREVER[1], account: str = "local") -> Totals:
        whole = Totals()
        for used in await self.ledger.usage(account, start_ms, end_ms):
            whole.join(used.totals)
        return whole

    async def seconds(self) -> float:
        return (await self.total()).replica_ms / 1000


@pytest.fixture
async def desk(tmp_path: Path):
    made = await Desk(tmp_path / "state.db", Hands()).open()
    yield made
    await made.store.close()


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


async def test_a_replica_counts_from_ready_until_it_drains_for_each_of_its_accelerators(desk):
    desk.there["r"] = Presence(CHAT, 0.0, 0.0)
    await desk.look(50)  # loading costs nothing
    desk.ready("r")
    await desk.look(90)
    assert await desk.seconds() == 90
    desk.stop("r")
    await desk.look(60)
    total = await desk.total()
    assert (total.replica_ms, total.accelerator_ms) == (90_000, 180_000)
    assert total.usd == pytest.approx(6 * 90 / 3600)
    assert (total.unpriced_ms, total.simulated_ms) == (0, 0)


async def test_one_that_dies_unseen_counts_until_it_was_last_known_to_live(desk):
    desk.ready("r")
    await desk.look(10)
    desk.clock.advance(3600)  # the engine itself was stopped meanwhile
    del desk.there["r"]
    await desk.ledger.observe(desk.there)
    assert await desk.seconds() == 10


async def test_at_zero_replicas_nothing_is_charged(desk):
    await desk.look(3)
    desk.clock.advance(86_400)
    await desk.look()
    assert await desk.ledger.usage("local", *FOREVER) == []
    assert desk.ledger.used("local") == Totals()


async def test_after_a_kill_what_lived_goes_on_without_a_gap_and_what_did_not_ends_at_the_last_beat(desk):
    desk.ready("lives")
    desk.ready("dies", BIG)
    await desk.look()
    await desk.look(BEAT_S + 5)
    await desk.killed_and_back(away_s=10)
    del desk.there["dies"]
    await desk.look(4)
    assert await desk.seconds() == 2 * BEAT_S  # both until the beat, while it is not known
    desk.ready("lives")
    await desk.look(6)
    by_name = {used.deployment: used.totals.replica_ms / 1000 for used in await desk.ledger.usage("local", *FOREVER)}
    assert by_name == {CHAT: BEAT_S + 5 + 10 + 4 + 6, BIG: BEAT_S}


async def test_a_second_kill_while_a_replica_is_taken_over_changes_nothing(desk):
    desk.ready("r")
    desk.ready("gone", BIG)
    await desk.look()
    await desk.look(3)
    for attempt in range(3):
        await desk.killed_and_back(away_s=5)
        desk.there = {"r": desk.there["r"]}
        desk.ready(f"other{attempt}")  # its beats must not move what is held
        await desk.look()
        await desk.look(60)
    found = [(used.deployment, used.totals.replica_ms) for used in await desk.ledger.usage("local", *FOREVER)]
    assert found == [(CHAT, 3 * 60_000)]  # the others': nothing is known after the beat with which they began
    desk.ready("r")
    await desk.look()
    mine = [row for row in await desk.store.fetch("open_intervals") if row["replica"] == "r"]
    assert [(row["began_ms"], row["held_ms"]) for row in mine] == [(ms(T0), None)]


async def test_a_machine_that_was_started_anew_has_no_replica_of_before(desk):
    desk.ready("r")
    await desk.look()
    await desk.look(BEAT_S * 2)
    desk.there.clear()
    await desk.killed_and_back(boot="two", away_s=4000)
    await desk.look(5)
    assert await desk.seconds() == 2 * BEAT_S


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=-1), timedelta(days=-400)])
async def test_a_clock_that_is_set_neither_loses_nor_doubles_time_and_instants_follow_it(desk, jump):
    desk.ready("r")
    await desk.look(100)
    desk.clock.off = jump
    await desk.look(100)
    await desk.killed_and_back(away_s=10)  # and set again while no engine runs
    desk.clock.off -= jump
    await desk.look(5)
    desk.ready("r")
    await desk.look(100)
    desk.stop("r")
    await desk.look()
    assert await desk.seconds() == 100 + 100 + 10 + 5 + 100
    assert abs(desk.ledger.now_ms() - ms(desk.clock.wall())) <= 2000


async def test_periods_share_out_what_they_have_in_common_with_an_interval(desk):
    desk.ready("r")
    await desk.look(2 * 3600)  # 23:00 to 01:00
    february = ms(datetime(2026, 2, 1, tzinfo=UTC))
    parts = [await desk.total(0, february), await desk.total(february)]
    assert [part.replica_ms for part in parts] == [3_600_000, 3_600_000]
    assert (await desk.total(february + 1, february + 1)).replica_ms == 0
    assert await desk.ledger.usage("elsewhere", *FOREVER) == []


async def test_by_hour_it_is_the_same_whether_the_database_has_it_or_not_yet(desk):
    desk.ready("r")
    desk.clock.advance(1000)
    await desk.look(5000)
    desk.ready("s")
    await desk.store._run(desk.store._db.execute, "PRAGMA query_only = ON")
    await desk.look(4000)
    desk.stop("r")
    await desk.look(600)

    async def by_hour():
        return {used.from_ms: used.totals for used in await desk.ledger.usage("local", *FOREVER, HOUR_MS)}

    hours = await by_hour()
    assert [hour % HOUR_MS for hour in hours] == [0] * len(hours)
    assert sum(totals.replica_ms for totals in hours.values()) == (await desk.total()).replica_ms
    assert len(hours) == 3
    await desk.store._run(desk.store._db.execute, "PRAGMA query_only = OFF")
    await desk.look()
    assert await by_hour() == hours


async def test_what_is_used_of_a_month_begins_anew_with_it_and_survives_a_restart(desk):
    desk.ready("r")
    await desk.look(1800)
    assert desk.ledger.used("local").accelerator_hours == pytest.approx(1.0)
    desk.stop("r")
    await desk.look(1799)  # until 23:59:59
    assert desk.ledger.used("local").accelerator_hours == pytest.approx(1.0)
    await desk.killed_and_back(away_s=0)
    assert desk.ledger.used("local").usd == pytest.approx(3.0)
    desk.ready("r")
    await desk.look(1801)  # the first second of it is January's
    assert desk.ledger.used("local").replica_ms == 1_800_000
    assert desk.ledger.used("elsewhere") == Totals()


async def test_a_store_that_cannot_be_written_loses_nothing_while_the_engine_lives(desk):
    await desk.store._run(desk.store._db.execute, "PRAGMA query_only = ON")
    with pytest.raises(Unavailable):
        await desk.store.transact([("prune_intervals", {"keep": 0})])
    desk.ready("r")
    await desk.look(40)
    desk.stop("r")
    await desk.look(5)
    desk.ready("s")
    await desk.look(2)
    assert await desk.seconds() == 42
    assert desk.ledger.used("local").replica_ms == 42_000
    await desk.store._run(desk.store._db.execute, "PRAGMA query_only = OFF")
    await desk.look()
    assert await desk.seconds() == 42


async def test_an_interval_whose_end_could_not_be_written_counts_once_and_to_its_end(desk):
    desk.ready("r")
    await desk.look(10)
    await desk.store._run(desk.store._db.execute, "PRAGMA query_only = ON")
    desk.stop("r")
    await desk.look(5)
    await desk.look(60)
    assert await desk.seconds() == 10
    assert desk.ledger.used("local").replica_ms == 10_000


async def test_a_clean_end_leaves_nothing_open(desk):
    desk.ready("r")
    await desk.look(7.5)
    await desk.ledger.close()
    assert await desk.store.fetch("open_intervals") == []
    assert await desk.seconds() == 7.5


async def test_of_very_many_intervals_the_oldest_go_and_none_that_is_open(desk, monkeypatch):
    monkeypatch.setattr(shell, "KEPT", 2)
    desk.ready("stays")
    for second in range(5):
        desk.ready(f"r{second}")
        await desk.look(1)
        desk.stop(f"r{second}")
        await desk.look(1)
    desk.clock.advance(86_400)
    await desk.look()  # the month turns
    rows = await desk.store.fetch("ended_usage", {"start": 0, "end": FOREVER[1]})
    assert sum(row["ms"] for row in rows) == 2 * 1000
    assert [row["replica"] for row in await desk.store.fetch("open_intervals")] == ["stays"]


def test_the_price_of_a_replica_is_its_part_of_the_node():
    node = {"of_accelerators": 8, "of_threads": 96}
    assert micro_usd_per_hour(24.5, accelerators=2, threads=1, **node) == 6_125_000
    assert micro_usd_per_hour(24.0, accelerators=0, threads=24, **node) == 6_000_000
    assert micro_usd_per_hour(None, accelerators=2, threads=1, **node) is None
    assert micro_usd_per_hour(1.0, accelerators=1, threads=1, of_accelerators=0, of_threads=0) == 1_000_000


def test_unknown_is_not_zero_and_a_free_node_is():
    unpriced, free = Totals(), Totals()
    unpriced.add(1000, accelerators=0, price=None, simulated=True)
    free.add(1000, accelerators=0, price=0, simulated=False)
    assert (unpriced.usd, unpriced.unpriced_ms, unpriced.simulated_ms) == (None, 1000, 1000)
    assert (free.usd, free.unpriced_ms) == (0.0, 0)
    assert Totals().usd == 0.0


def test_months_begin_in_utc():
    assert month_began(ms(T0)) == ms(datetime(2026, 1, 1, tzinfo=UTC))
    assert month_began(ms(datetime(2026, 2, 1, tzinfo=UTC))) == ms(datetime(2026, 2, 1, tzinfo=UTC))
