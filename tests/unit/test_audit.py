"""The audit log's trails: appended, bounded, chained; what anybody does to them afterwards is found."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from client.access_types import AuditVerification
from client.errors import Unavailable
from engine.clock import FakeClock
from engine.store.access import AccessRecords, AuditQuery, AuditRecord
from engine.store.store import Store
from engine.telemetry import audit as audit_room
from engine.telemetry.audit import CHANGES, HEAD_FILE, READS, AuditLog, Seen

SEEN = Seen(
    change=True, account="local", principal="ada@example.com", method="POST", message="CreateDeployment",
    resource="accounts/local/deployments/chat", code="OK", detail="", admin=False, key_id="k1", client_ip="127.0.0.1",
    user_agent="tests",
)  # fmt: skip
LOOK = replace(SEEN, change=False, method="GET", message="GetDeployment")
DATABASE = "state.db"
ALL = AuditQuery("local", "", "9")
TRIGGERS = ("audit_logs_never_change", "audit_logs_go_oldest_first")
TEXTS = (
    "account", "time", "principal", "method", "message", "resource", "code", "detail", "key_id", "client_ip",
    "user_agent", "digest", "former",
)  # fmt: skip


@asynccontextmanager
async def opened(folder: Path, clock: FakeClock | None = None) -> AsyncIterator[AuditLog]:
    store = await Store.open(folder / DATABASE)
    log = AuditLog(AccessRecords(store), b"chain", folder / HEAD_FILE, clock or FakeClock())
    await log.open()
    try:
        yield log
    finally:
        await log.close()
        await store.close()


async def fill(folder: Path, count: int) -> None:
    async with opened(folder) as log:
        for number in range(count):
            log.add(replace(SEEN if number % 3 else LOOK, detail=f"number {number}"))
        await log.commit()


async def verified(folder: Path):
    async with opened(folder) as log:
        return await log.verify()


def by_hand(folder: Path, *statements: str) -> list[tuple]:
    """What somebody with the database file in hands can do, triggers or not; the rows of the last statement."""
    rows: list[tuple] = []
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        for trigger in TRIGGERS:
            db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            rows = db.execute(statement).fetchall()
        db.commit()
    return rows


async def test_records_come_back_as_they_were_and_after_a_restart_the_numbers_go_on(tmp_path) -> None:
    await fill(tmp_path, 4)
    async with opened(tmp_path) as log:
        log.add(SEEN)
        await log.commit()
        rows = await log._records.audit_page(ALL, cursor=None, limit=10, newest_first=False)
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
    assert [row.trail for row in rows] == [READS, CHANGES, CHANGES, READS, CHANGES]
    assert (rows[4].principal, rows[4].message, rows[4].resource) == (SEEN.principal, SEEN.message, SEEN.resource)
    assert (await verified(tmp_path)).valid


async def test_the_database_itself_refuses_to_change_a_record_or_to_drop_any_but_the_oldest(tmp_path) -> None:
    await fill(tmp_path, 9)
    with sqlite3.connect(tmp_path / DATABASE) as db:
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            db.execute("UPDATE audit_logs SET principal = 'nobody' WHERE seq = 3")
        with pytest.raises(sqlite3.IntegrityError, match="only the oldest"):
            db.execute("DELETE FROM audit_logs WHERE seq = 8")


@pytest.mark.parametrize(
    ("seed", "records", "bends"), [(1, 300, 15), (2, 300, 15), pytest.param(3, 10_000, 40, marks=pytest.mark.soak)]
)
async def test_any_bent_character_of_any_record_is_found_at_that_record(tmp_path, seed, records, bends) -> None:
    await fill(tmp_path, records)
    dice = random.Random(seed)
    for _ in range(bends):
        column, seq = dice.choice(TEXTS), dice.randrange(4, records + 1)
        [[text]] = by_hand(tmp_path, f"SELECT {column} FROM audit_logs WHERE seq = {seq}")
        at = dice.randrange(len(text) + 1)
        bent = text[:at] + "~" + text[at + 1 :]
        by_hand(tmp_path, f"UPDATE audit_logs SET {column} = '{bent}' WHERE seq = {seq}")
        found = await verified(tmp_path)
        assert (found.valid, found.first_bad_id) == (False, str(seq)), (column, text, bent, found)
        by_hand(tmp_path, f"UPDATE audit_logs SET {column} = '{text}' WHERE seq = {seq}")
    assert (await verified(tmp_path)).valid


@pytest.mark.parametrize("seq", [4, 100, 299])
async def test_a_removed_record_is_found_at_the_one_that_came_after_it(tmp_path, seq) -> None:
    await fill(tmp_path, 300)
    by_hand(tmp_path, f"DELETE FROM audit_logs WHERE seq = {seq}")
    found = await verified(tmp_path)
    following = seq + 3 if seq % 3 == 1 else seq + 1 if seq % 3 == 2 else seq + 2
    assert (found.valid, found.first_bad_id) == (False, str(following))


async def test_a_record_that_was_put_between_two_others_is_found(tmp_path) -> None:
    await fill(tmp_path, 30)
    shift = (
        "UPDATE audit_logs SET seq = seq + 1000 WHERE seq > 11",
        "UPDATE audit_logs SET seq = seq - 999 WHERE seq > 999",
    )
    columns = ", ".join(name for name in AuditRecord.__dataclass_fields__ if name != "seq")
    copy = f"INSERT INTO audit_logs (seq, {columns}) SELECT 12, {columns} FROM audit_logs WHERE seq = 5"
    by_hand(tmp_path, *shift, copy)
    assert (await verified(tmp_path)).first_bad_id == "12"


async def test_two_records_that_changed_places_are_found(tmp_path) -> None:
    await fill(tmp_path, 30)
    moves = ("SET seq = 1000 WHERE seq = 11", "SET seq = 11 WHERE seq = 12", "SET seq = 12 WHERE seq = 1000")
    by_hand(tmp_path, *(f"UPDATE audit_logs {move}" for move in moves))
    assert (await verified(tmp_path)).first_bad_id == "11"


async def test_a_tail_that_was_cut_off_and_a_beginning_that_was_removed_are_found(tmp_path) -> None:
    for number, (cut, where) in enumerate((("newest", "seq > 20"), ("oldest", "seq < 5"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        await fill(folder, 30)
        by_hand(folder, f"DELETE FROM audit_logs WHERE {where}")
        found = await verified(folder)
        assert not found.valid
        assert cut in (found.reason or "")


async def test_without_the_file_of_the_ends_the_check_says_what_it_cannot_tell(tmp_path) -> None:
    async with opened(tmp_path) as log:
        assert await log.verify() == AuditVerification()  # nothing is there that could be missing
    await fill(tmp_path, 4)
    assert (await verified(tmp_path)).reason is None
    (tmp_path / HEAD_FILE).unlink()
    found = await verified(tmp_path)
    assert found.valid
    assert found.reason == f"{HEAD_FILE} is missing: records removed at the end would not be noticed"


async def test_only_so_many_records_of_a_trail_stay_and_reads_do_not_push_changes_out(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(audit_room, "RECORDS_KEPT", 50)
    monkeypatch.setattr(audit_room, "PRUNE_EVERY", 20)
    async with opened(tmp_path) as log:
        for _ in range(30):
            log.add(SEEN)
        for _ in range(20):
            for _ in range(20):
                log.add(LOOK)
            await log.commit()
        rows = await log._records.audit_page(ALL, cursor=None, limit=1000, newest_first=False)
        counts = [sum(row.trail == trail for row in rows) for trail in (CHANGES, READS)]
        assert counts == [30, 50]
        assert (await log.verify()).valid


async def test_records_older_than_thirty_days_go(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(audit_room, "PRUNE_EVERY", 1)
    clock = FakeClock()
    async with opened(tmp_path, clock) as log:
        for day in (0, 10, 29, 31):
            clock.advance(timedelta(days=day).total_seconds() - clock.monotonic())
            log.add(replace(SEEN, detail=f"day {day}"))
            await log.commit()
        rows = await log._records.audit_page(ALL, cursor=None, limit=10, newest_first=False)
        assert [row.detail for row in rows] == ["day 10", "day 29", "day 31"]
        assert (await log.verify()).valid


class Hands(FakeClock):
    """A clock whose wall somebody sets, by `off`."""

    off = timedelta()

    def wall(self) -> datetime:
        return super().wall() + self.off


async def test_a_clock_that_is_set_a_month_ahead_erases_nothing_until_it_has_stood_for_an_hour(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(audit_room, "PRUNE_EVERY", 1)
    clock = Hands()
    async with opened(tmp_path, clock) as log:
        for detail, off, later_s in (("a", 0, 0), ("b", 31, 0), ("c", 31, 3000), ("d", 0, 60), ("e", 31, 3600)):
            clock.off = timedelta(days=off)
            clock.advance(later_s)
            log.add(replace(SEEN, detail=detail))
            await log.commit()
        assert await details(log) == ["a", "b", "c", "d", "e"]
        clock.advance(3600)
        log.add(replace(SEEN, detail="f"))
        await log.commit()
        assert await details(log) == ["e", "f"]  # all up to the newest that is too old
        assert (await log.verify()).valid


async def test_while_the_disk_takes_nothing_records_wait_in_order_and_are_bounded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(audit_room, "WAITING_MAX", 5)
    async with opened(tmp_path) as log:
        await log._records._store._run(log._records._store._db.execute, "PRAGMA query_only = ON")
        for number in range(8):
            log.add(replace(SEEN, detail=str(number)))
            with pytest.raises(Unavailable):
                await log.commit()
        await log._records._store._run(log._records._store._db.execute, "PRAGMA query_only = OFF")
        await log.commit()
        rows = await log._records.audit_page(ALL, cursor=None, limit=10, newest_first=False)
        assert [row.detail for row in rows] == ["3", "4", "5", "6", "7"]
        assert (await log.verify()).valid


async def test_a_writer_that_is_cancelled_loses_nothing_and_writes_nothing_twice(tmp_path) -> None:
    async with opened(tmp_path) as log:
        for number in range(40):
            log.add(replace(SEEN, detail=str(number)))
            writer = asyncio.create_task(log.commit())
            for _ in range(number % 5):
                await asyncio.sleep(0)
            writer.cancel()
        await log.commit()
        rows = await log._records.audit_page(ALL, cursor=None, limit=100, newest_first=False)
        assert [row.detail for row in rows] == [str(number) for number in range(40)]
        assert (await log.verify()).valid


async def test_a_key_that_stands_where_none_belongs_is_not_kept_nor_a_line_break(tmp_path) -> None:
    async with opened(tmp_path) as log:
        log.add(replace(SEEN, resource="accounts/fd_abcdefghijklmnop", user_agent="a\r\nb" + "x" * 1000))
        await log.commit()
        [row] = await log._records.audit_page(ALL, cursor=None, limit=10, newest_first=False)
    assert row.resource == "accounts/fd_***"
    assert row.user_agent.startswith("a??b")
    assert len(row.user_agent) == 300


async def details(log: AuditLog) -> list[str]:
    return [row.detail for row in await log._records.audit_page(ALL, cursor=None, limit=100, newest_first=False)]


async def test_a_record_that_the_database_does_not_take_costs_no_other(tmp_path) -> None:
    async with opened(tmp_path) as log:
        for number in range(5):
            log.add(replace(SEEN, detail=str(number), message=object() if number == 2 else "x"))  # type: ignore[arg-type]
        await log.commit()
        assert await details(log) == ["0", "1", "3", "4"]
        assert (log._lost, len(log._waiting)) == (1, 0)
        assert (await log.verify()).valid


async def test_a_failure_of_any_kind_loses_nothing_and_the_log_goes_on_by_itself(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(audit_room, "FLUSH_EVERY_S", 0.01)
    async with opened(tmp_path) as log:
        whole, failures = log._records.add_audit, 0

        async def failing(rows, owners):
            nonlocal failures
            failures += 1
            raise sqlite3.ProgrammingError("nothing can be written")

        monkeypatch.setattr(log._records, "add_audit", failing)
        log.add(replace(SEEN, detail="a"))
        log.add(replace(SEEN, detail="b"))
        while failures < 8:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(log._records, "add_audit", whole)
        while log._waiting or log._writing.locked():
            await asyncio.sleep(0.01)
        assert sorted(await details(log)) == ["a", "b"]


async def test_a_fault_that_ends_between_two_records_costs_none(tmp_path, monkeypatch) -> None:
    async with opened(tmp_path) as log:
        whole, failures = log._records.add_audit, 0

        async def failing_twice(rows, owners):
            nonlocal failures
            failures += 1
            if failures <= 2:  # of all, then of the first alone
                raise sqlite3.ProgrammingError("nothing can be written")
            await whole(rows, owners)

        monkeypatch.setattr(log._records, "add_audit", failing_twice)
        log.add(replace(SEEN, detail="a"))
        log.add(replace(SEEN, detail="b"))
        await log.commit()
        assert sorted(await details(log)) == ["a", "b"]
        assert (log._lost, (await log.verify()).valid) == (0, True)


async def test_after_a_failure_behind_the_writing_numbers_go_on_from_what_is_there(tmp_path, monkeypatch) -> None:
    async with opened(tmp_path) as log:
        whole = log._records.add_audit

        async def written_but_refused(rows, owners):
            await whole(rows, owners)
            raise Unavailable("the log of the database was removed")

        monkeypatch.setattr(log._records, "add_audit", written_but_refused)
        log.add(replace(SEEN, detail="a"))
        with pytest.raises(Unavailable):
            await log.commit()
        monkeypatch.setattr(log._records, "add_audit", whole)
        await log.commit()
        assert await details(log) == ["a", "a"]
        assert (await log.verify()).valid
