"""The tally of requests: sums that survive the engine, its disk and its months; a journal that counts nothing twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import Unavailable
from engine.backup import back_up
from engine.control.price import TokenPrice
from engine.control.tokens import (
    COMBINATIONS_MAX,
    DAY_MS,
    HOUR_MS,
    MANY,
    MINUTE_MS,
    TAGS_MAX,
    Payer,
    Spent,
    charge,
    grouped,
    tags_of,
)
from engine.keys import Principal
from engine.store.disk import DATABASE
from engine.store.store import Store
from engine.telemetry import metrics, usage_journal
from engine.telemetry import tally as tally_room
from engine.telemetry.meter import Usage
from engine.telemetry.tally import Tally
from engine.telemetry.usage_journal import FILES
from tests.processes import lines_until_killed

ADA = Principal("local", "ada", "user", "k1")
CHAT, MODEL = "accounts/local/deployments/chat", "accounts/fireworks/models/m"
USED = Usage(10, 4, 6, 3, 1)
PRICE = TokenPrice(prompt=1000, cached=500, generated=2000)
COST = 6 * 1000 + 4 * 500 + 6 * 2000
START_MS = int(datetime(2026, 10, 31, 23, 58, 30, tzinfo=UTC).timestamp() * 1000)
KILLS = int(os.environ.get("FIREDECK_TEST_KILLS", "3"))


@dataclass
class Desk:
    """A tally on a folder, and the instant that it reads."""

    folder: Path
    store: Store
    tally: Tally
    now_ms: int = START_MS

    async def again(self, *, killed: bool = True) -> None:
        """The next engine on the same folder; one that was killed has written nothing at its end."""
        if killed:
            assert self.tally._loop is not None
            self.tally._loop.cancel()
            self.tally._journal.close()
        else:
            await self.tally.close()
        await self.store.close()
        self.store = await Store.open(self.folder / DATABASE)
        self.tally = Tally(self.store, self.folder, lambda: self.now_ms, lambda model, serverless: PRICE)
        await self.tally.open()

    def post(self, caller: Principal = ADA, used: Usage = USED, *, failed: bool = False, **metadata: str) -> None:
        bill = self.tally.bill(caller, CHAT, MODEL, None, metadata, simulated=False)
        bill.settle(used, failed=failed)

    async def sums(self, start_ms: int = 0, end_ms: int = 1 << 60, account: str = "local") -> Spent:
        total = Spent()
        for _, _, spent in await self.tally.usage(account, start_ms, end_ms):
            total.add(spent)
        return total


@pytest.fixture
async def desk(tmp_path, monkeypatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(tally_room, "WRITE_EVERY_S", 3600.0)
    store = await Store.open(tmp_path / DATABASE)
    opened = Desk(tmp_path, store, None)  # type: ignore[arg-type]
    opened.tally = Tally(store, tmp_path, lambda: opened.now_ms, lambda model, serverless: PRICE)
    await opened.tally.open()
    yield opened
    await opened.tally.close()
    await opened.store.close()


async def test_what_is_written_behind_a_line_that_an_earlier_engine_left_torn_is_whole(desk):
    (desk.folder / FILES[0]).write_bytes(b'[1, 17, "local", "ada"')
    await desk.again()
    desk.post()
    await desk.again()
    assert (await desk.sums()).requests == 1


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("written", [True, False])
async def test_what_was_settled_is_counted_once_by_the_next_engine(desk, killed, written):
    desk.post(team="a")
    desk.post(failed=True)
    if written:
        await desk.tally.write()
        desk.post(team="a")
    before = await desk.sums()
    for _ in range(3):
        await desk.again(killed=killed)
        assert await desk.sums() == before
    assert before == Spent(2 + written, 1, 20 + 10 * written, 8 + 4 * written, 12 + 6 * written, 6 + 3 * written,
                           2 + written, 0, COST * (2 + written))  # fmt: skip


async def test_a_bill_is_settled_once(desk):
    bill = desk.tally.bill(ADA, CHAT, MODEL, None, None, simulated=False)
    bill.settle(USED, failed=False)
    bill.settle(USED, failed=True)
    assert (await desk.sums()).requests == 1


async def test_an_engine_that_ends_while_it_writes_counts_nothing_twice(desk, monkeypatch):
    real, asked, go_on = desk.store.transact, asyncio.Event(), asyncio.Event()

    async def slow(statements):
        await real(statements)
        asked.set()
        await go_on.wait()  # the database has it, and nobody was told so yet

    monkeypatch.setattr(desk.store, "transact", slow)
    desk.post()
    desk.tally._loop.cancel()
    desk.tally._loop = asyncio.create_task(desk.tally.write())
    await asked.wait()
    ending = asyncio.create_task(desk.tally.close())
    await asyncio.sleep(0)
    go_on.set()
    await ending
    monkeypatch.setattr(desk.store, "transact", real)
    desk.tally._loop = asyncio.create_task(asyncio.sleep(0))
    await desk.again()
    assert (await desk.sums()).requests == 1


async def test_what_a_broken_replica_tells_spoils_no_sum(desk):
    desk.post(used=Usage(-5, -1, 10**30))
    desk.post()
    await desk.tally.write()
    found = await desk.sums()
    assert (found.requests, found.prompt, found.cached) == (2, 10, 4)
    assert found.generated == tally_room.TOKENS_MAX + 6


async def test_lines_that_the_database_took_before_the_kill_are_not_taken_again(desk, monkeypatch):
    desk.post()
    monkeypatch.setattr(desk.tally._journal, "taken", lambda: None)  # killed between the commit and this
    await desk.tally.write()
    assert any((desk.folder / name).stat().st_size for name in FILES)
    await desk.again()
    assert (await desk.sums()).requests == 1
    desk.post()
    await desk.again()
    assert (await desk.sums()).requests == 2


async def test_a_disk_that_takes_nothing_loses_nothing_and_the_journal_is_emptied_when_it_does_again(desk, monkeypatch):
    real = desk.store.transact

    async def full(statements):
        raise Unavailable("the disk is full")

    monkeypatch.setattr(desk.store, "transact", full)
    for _ in range(3):
        desk.post()
        await desk.tally.write()
    assert (await desk.sums()).requests == 3
    assert desk.tally.spent("local") == 3 * COST
    monkeypatch.setattr(desk.store, "transact", real)
    for _ in range(3):
        desk.post()
        await desk.tally.write()
    assert (await desk.sums()).requests == 6
    assert sum((desk.folder / name).stat().st_size for name in FILES) == 0
    await desk.again()
    assert (await desk.sums()).requests == 6


async def test_a_line_that_was_torn_is_passed_over_and_the_next_one_is_whole(desk):
    desk.post()
    with (desk.folder / FILES[0]).open("ab") as file:
        file.write(b'[2, 17, "local", "ada"')
    desk.tally._journal._torn = True
    desk.post()
    for junk in (b"\n[]\n", b"\xff\xfe\n", b'[9, "x"]\n', b"{}\n", b'["1", 2]\n', b"[null]\n"):
        with (desk.folder / FILES[1]).open("ab") as file:
            file.write(junk)
    await desk.again()
    assert (await desk.sums()).requests == 2


async def test_a_full_disk_or_a_journal_that_is_too_long_keeps_usage_in_memory(desk, monkeypatch):
    monkeypatch.setattr(usage_journal, "BYTES_MAX", 10)
    desk.post()
    desk.post()
    assert (desk.folder / FILES[0]).read_bytes().count(b"\n") == 1
    monkeypatch.setattr(usage_journal, "BYTES_MAX", 1 << 20)

    def no_space(file, line):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    desk.post()
    monkeypatch.undo()
    assert (await desk.sums()).requests == 3
    await desk.tally.write()
    await desk.again()
    assert (await desk.sums()).requests == 3


async def test_charges_of_a_month_begin_anew_with_it_and_survive_a_restart(desk):
    desk.post()
    assert (desk.tally.spent("local"), desk.tally.spent("other")) == (COST, 0)
    await desk.again()
    assert desk.tally.spent("local") == COST
    desk.now_ms += 2 * MINUTE_MS
    assert desk.tally.spent("local") == 0, "November has begun"
    desk.post()
    await desk.tally.write()
    desk.post()
    assert desk.tally.spent("local") == 2 * COST
    await desk.again()
    assert desk.tally.spent("local") == 2 * COST
    assert (await desk.sums()).charge == 3 * COST


async def test_periods_are_whole_minutes_and_periods_that_follow_each_other_add_up(desk):
    for _ in range(10):
        desk.post()
        desk.now_ms += 25_000
    await desk.tally.write()
    edges = [0, START_MS, START_MS + 47_000, START_MS + 100_000, START_MS + 180_000, 1 << 60]
    parts = [(await desk.sums(a, b)).requests for a, b in itertools.pairwise(edges)]
    assert sum(parts) == 10
    assert max(parts) < 10


@pytest.mark.parametrize("written", [True, False])
async def test_sums_by_hour_and_by_day_are_those_of_whole_hours_and_days_in_utc(desk, written):
    for minute in (0, 1, 2, 60, 24 * 60, 48 * 60):  # the first is 90 s before a month, a day and an hour end
        desk.now_ms = START_MS + minute * MINUTE_MS
        desk.post()
    if written:
        await desk.tally.write()
    for span, expected in ((HOUR_MS, [2, 2, 1, 1]), (DAY_MS, [2, 3, 1])):
        found = await desk.tally.usage("local", 0, 1 << 60, span)
        by: Counter[int] = Counter()
        for at, _, spent in found:
            by[at] += spent.requests
        assert [by[at] for at in sorted(by)] == expected
        assert min(by) == START_MS // span * span
        assert all(at % span == 0 for at in by)


async def test_the_ends_of_a_period_are_whole_minutes_and_long_ago_whole_hours(desk):
    minute, hour = START_MS // MINUTE_MS * MINUTE_MS, START_MS // HOUR_MS * HOUR_MS
    assert desk.tally.whole(minute) == minute
    assert desk.tally.whole(minute + 1) == desk.tally.whole(minute + MINUTE_MS) == minute + MINUTE_MS
    desk.now_ms += 60 * HOUR_MS
    assert desk.tally.whole(minute) == desk.tally.whole(hour + 1) == hour + HOUR_MS
    assert desk.tally.whole(hour) == hour


async def test_a_line_of_an_engine_that_knew_no_guards_is_counted_as_it_was_meant(desk):
    desk.post(team="a")
    [line] = [line for name in FILES for line in (desk.folder / name).read_text().splitlines() if line]
    number, minute, *rest = json.loads(line)
    assert rest.pop(8) == ""
    await desk.again()
    for name in FILES:
        (desk.folder / name).write_text("")
    (desk.folder / FILES[0]).write_text(json.dumps([number + 1, minute, *rest]) + "\n")
    await desk.again()
    [(_, payer, spent)] = await desk.tally.usage("local", 0, 1 << 60)
    assert (payer.guard, spent.requests, spent.charge) == ("", 2, 2 * COST)


async def test_old_minutes_become_hours_and_no_sum_changes(desk):
    for minute in range(0, 240, 20):
        desk.now_ms = START_MS + minute * MINUTE_MS
        desk.post(team="a" if minute % 40 else "b")
    await desk.tally.write()
    before = await desk.sums()
    desk.now_ms = START_MS + 60 * HOUR_MS
    desk.post()
    await desk.tally.write()
    period = {"account": "local", "start": 0, "end": START_MS + 50 * HOUR_MS, "per_ms": HOUR_MS}
    rows = await desk.store.fetch("request_usage", period)
    assert sum(row["requests"] for row in rows) == before.requests
    [whole] = [await desk.sums(0, START_MS + 50 * HOUR_MS)]
    assert whole == before
    with_minutes = await desk.sums(START_MS // HOUR_MS * HOUR_MS + 1, START_MS + HOUR_MS)
    assert with_minutes.requests == 3, "those of the next hour alone, told as one"


async def test_of_very_many_rows_the_newest_stay(desk, monkeypatch):
    monkeypatch.setattr(tally_room, "ROWS_KEPT", 5)
    for hour in range(9):
        desk.now_ms = START_MS + hour * HOUR_MS
        desk.post()
        await desk.tally.write()
    assert (await desk.sums()).requests == 6


async def test_a_copy_of_a_running_engine_has_what_is_in_its_journal_alone(desk, tmp_path):
    desk.post()
    await desk.tally.write()
    desk.post()
    back_up(desk.folder, tmp_path / "copy")
    store = await Store.open(tmp_path / "copy" / DATABASE)
    copied = Tally(store, tmp_path / "copy", lambda: desk.now_ms, lambda model, serverless: PRICE)
    await copied.open()
    assert sum(spent.requests for _, _, spent in await copied.usage("local", 0, 1 << 60)) == 2
    await copied.close()
    await store.close()


async def test_no_more_combinations_of_tags_than_a_thousand_a_month_also_after_a_restart(desk):
    for number in range(COMBINATIONS_MAX + 50):
        desk.post(id=f"n{number}")
    assert len(await desk.tally.usage("local", 0, 1 << 60)) == COMBINATIONS_MAX + 1
    await desk.again()
    desk.post(id="another")
    desk.post(id="n7")
    every = await desk.tally.usage("local", 0, 1 << 60)
    found = grouped((payer.tags, spent) for _, payer, spent in every)
    assert len(found) <= COMBINATIONS_MAX + 1
    assert (found[MANY].requests, found['{"id": "n7"}'].requests) == (51, 2)
    desk.now_ms += 2 * MINUTE_MS
    await desk.tally.write()
    desk.post(id="another")
    assert sum(payer.tags == '{"id": "another"}' for _, payer, _ in await desk.tally.usage("local", 0, 1 << 60)) == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_tags_are_few_short_words_whatever_is_sent(metadata):
    tags = json.loads(tags_of(metadata) or "{}")
    assert len(tags) <= TAGS_MAX
    for name, value in tags.items():
        assert name.isascii()
        assert value.isascii()
        assert len(name) <= 32
        assert len(value) <= 64
        assert not set(name + value) & set(" \n\t\"'\\")


def test_tags_do_not_depend_on_their_order_and_the_first_eight_count():
    tags = {f"t{number}": "x" for number in range(12)}
    assert tags_of(tags) == tags_of(dict(reversed(tags.items())))
    assert list(json.loads(tags_of(tags))) == ["t0", "t1", "t10", "t11", "t2", "t3", "t4", "t5"]
    assert tags_of({"team": "a b"}) == '{"team": "(other)"}'
    assert tags_of({"": "x", "é": "x"}) == tags_of(None) == tags_of([]) == ""


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_charge_is_exact_and_cached_tokens_are_part_of_the_prompt(prompt, cached, generated):
    taken = min(cached, prompt)
    assert charge(PRICE, prompt, cached, generated) == (prompt - taken) * 1000 + taken * 500 + generated * 2000
    assert charge(None, prompt, cached, generated) == 0


async def test_ten_thousand_users_with_tags_of_their_own_make_no_series_and_a_bounded_number_of_sums(desk):
    def series() -> int:
        return sum(not line.startswith(b"#") for line in metrics.exposition().splitlines())

    before = series()
    for number in range(10_000):
        desk.post(replace(ADA, user=f"user-{number % 100}"), who=f"w{number}")
    assert series() == before
    sums = await desk.tally.usage("local", 0, 1 << 60)
    assert sum(spent.requests for _, _, spent in sums) == 10_000
    assert len({payer.tags for _, payer, _ in sums}) == COMBINATIONS_MAX + 1
    assert len(sums) <= COMBINATIONS_MAX + 100


# Posts for ever, and tells the number of each request once it has been settled.
WRITER = """
import asyncio, pathlib, sys
from engine.store.store import Store
from engine.telemetry import tally as room
from engine.telemetry.meter import Usage
from tests.unit.test_tally import ADA, CHAT, MODEL, START_MS

room.WRITE_EVERY_S = 0.002

async def main(folder):
    store = await Store.open(folder / "firedeck.db")
    tally = room.Tally(store, folder, lambda: START_MS, lambda model, serverless: None)
    await tally.open()
    for number in range(10**9):
        bill = tally.bill(ADA, CHAT, MODEL, None, {"team": f"t{number % 3}"}, simulated=False)
        bill.settle(Usage(2, 1, 1), failed=False)
        sys.stdout.write(f"{number % 3}\\n")
        sys.stdout.flush()
        if number % 7 == 0:
            await asyncio.sleep(0)

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def post_until_killed(folder: Path, after: int) -> Counter[str]:
    """How many of each tag were told to be settled."""
    return Counter(lines_until_killed(WRITER, str(folder), lines=after))


async def test_every_request_that_was_settled_survives_kill_9_and_none_counts_twice(tmp_path):
    seed = int(os.environ.get("FIREDECK_TEST_SEED", "0")) or random.randrange(1, 2**31)
    print(f"seed {seed}: FIREDECK_TEST_SEED={seed} plays it again")
    chance, told = random.Random(seed), Counter[str]()
    for _ in range(KILLS):
        told += await asyncio.to_thread(post_until_killed, tmp_path, chance.randint(1, 4000))
    store = await Store.open(tmp_path / DATABASE)
    tally = Tally(store, tmp_path, lambda: START_MS, lambda model, serverless: None)
    await tally.open()
    found = {payer.tags: spent.requests for _, payer, spent in await tally.usage("local", 0, 1 << 60)}
    await tally.close()
    await store.close()
    for tag, count in told.items():  # one may be settled and not told: it was killed in between
        assert count <= found[f'{{"team": "t{tag}"}}'], f"seed {seed}"
    assert sum(found.values()) <= sum(told.values()) + KILLS, f"seed {seed}"
    print(f"{sum(told.values())} settled, {sum(found.values())} found after {KILLS} kills")


def test_a_payer_is_as_it_was_written(tmp_path):
    payer = Payer("a", "u", "k", "d", "m", "l", '{"x": "y"}', simulated=True, guard="g")
    assert tally_room._payer("a", {**tally_room._row(0, payer, Spent())}) == payer
