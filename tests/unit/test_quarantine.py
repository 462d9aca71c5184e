"""Which requests are refused because replicas died under them."""

from __future__ import annotations

import random

from engine.control.quarantine import DEATHS_UNTIL_QUARANTINE, KEPT_S, MARKS_MAX, Quarantine, digest_of

POISON = digest_of(b'{"prompt": "poison"}')


def test_the_second_replica_that_dies_under_a_request_quarantines_it_and_the_first_does_not():
    quarantine = Quarantine()
    assert quarantine.blame(POISON, "r1", 0) is False
    assert quarantine.quarantined(0) == []
    assert quarantine.blame(POISON, "r2", 1) is True
    [mark] = quarantine.quarantined(1)
    assert (mark.digest, mark.replicas) == (POISON, ("r1", "r2"))


def test_one_death_counts_once_however_many_copies_of_the_request_were_there():
    quarantine = Quarantine()
    for _ in range(9):
        assert quarantine.blame(POISON, "r1", 0) is False
    assert quarantine.quarantined(0) == []


def test_an_answer_clears_a_suspect_but_not_a_quarantined_request():
    quarantine = Quarantine()
    quarantine.blame(POISON, "r1", 0)
    quarantine.answered(POISON)
    assert quarantine.mark(POISON, 0) is None
    for replica in ("r2", "r3"):
        quarantine.blame(POISON, replica, 0)
    quarantine.answered(POISON)
    assert len(quarantine.quarantined(0)) == 1


def test_a_mark_ends_after_its_time_and_not_before():
    quarantine = Quarantine()
    quarantine.blame(POISON, "r1", 0)
    quarantine.blame(POISON, "r2", 100)
    assert quarantine.mark(POISON, 100 + KEPT_S - 0.1) is not None
    assert quarantine.quarantined(100 + KEPT_S) == []
    assert quarantine.mark(POISON, 100 + KEPT_S) is None
    assert quarantine.blame(POISON, "r3", 101 + KEPT_S) is False


def test_the_number_of_marks_is_bounded_and_the_oldest_go_first():
    quarantine, chance = Quarantine(), random.Random(1)
    for i in range(MARKS_MAX + 10):
        quarantine.blame(digest_of(str(i).encode()), f"r{chance.random()}", i / 1000)
    assert quarantine.mark(digest_of(b"9"), 2) is None
    assert quarantine.mark(digest_of(b"10"), 2) is not None


def test_two_deaths_make_a_quarantine():
    assert DEATHS_UNTIL_QUARANTINE == 2


def test_bodies_that_differ_in_a_byte_are_different_requests():
    assert digest_of(b"a") != digest_of(b"b")
    assert digest_of(b"a") == digest_of(b"a")
