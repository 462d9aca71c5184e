"""Shared KV cells: prefixes that are shared count once. In shared cells or own ones, overflow spoils nobody else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.replica.cells import SharedCells
from engine.replica.costs import CostTable
from engine.replica.job import AdapterUse, Failed, Finished
from engine.replica.sequence import NotNumbers
from tests.engine.conftest import poll_until
from tests.unit.replica_fakes import POISON, Breaks, FakeContext, finish, job, new_scheduler, reference, serving, wait

HOT = (AdapterUse("hot", "digest of hot", 100.0),)
LATE = 9


class Overflowing(FakeContext):
    """What is computed under HOT is no number, nor is what comes late after LATE, and it spoils all that is computed
    beside its cells, used or not."""

    def __init__(self) -> None:
        super().__init__()
        self.stained: set[int] = set()  # ids, those that were freed too; -1 for all of shared cells
        self._overflowing: list[bool] = []

    def decode_step(self, sequences: Any, tokens: Any, positions: Any) -> int:
        return super().decode_step(sequences, tokens, positions) or self._stain(list(sequences))

    def prefill(self, sequence: int, tokens: Any, start: int, *, rows: str) -> int:
        code = super().prefill(sequence, tokens, start, rows=rows)
        return code or self._stain([sequence] * max(1, len(self._rows)))

    def _stain(self, sequences: list[int]) -> int:
        hot = [any(adapters == HOT for adapters, _wide in self._how[s]) or self._late(s) for s in sequences]
        places = [-1 if self.unified else s for s in sequences]
        self.stained |= {place for place, is_hot in zip(places, hot, strict=True) if is_hot}
        self._overflowing = [place in self.stained for place in places]
        return 0

    def _late(self, sequence: int) -> bool:
        return self.held[sequence][:1] == [LATE] and len(self.held[sequence]) > 6

    def logits(self, rows: int) -> Any:
        out = super().logits(rows)
        out[np.asarray(self._overflowing[:rows])] = np.nan
        return out

    def copy(self, source: int, target: int) -> None:
        super().copy(source, target)
        if not self.unified:  # else no bytes move
            self.stained = self.stained - {target} | ({target} if source in self.stained else set())

    def clear(self, *, wipe: bool = False) -> None:
        super().clear(wipe=wipe)
        if wipe:
            self.stained.clear()


class OverflowingTogether(Overflowing):
    unified, capacity = True, 4 * 64


KINDS = pytest.mark.parametrize("kind", [Overflowing, OverflowingTogether])


@KINDS
def test_overflow_ends_those_at_fault_alone_and_leaves_no_trace(kind: type[Overflowing]) -> None:
    scheduler = new_scheduler(kind())
    good = [job([1 + i, 2, 3], 30) for i in range(2)]
    hot = [job([3 + i, 1], 30, adapters=HOT) for i in range(2)]
    later = [job([2, 1 + i], 20) for i in range(4)]
    good[1].sink = Breaks(5, lambda: [scheduler.submit([one]) for one in hot])
    for one in good:
        scheduler.submit([one])
    with serving(scheduler):
        wait([*good, *hot])
        finish(scheduler, later)  # on every id
    for one in (*good, *later):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)
    for one in hot:
        assert isinstance(one.sink.error, NotNumbers)


@KINDS
def test_overflow_among_those_who_share_a_step_ends_those_at_fault_alone(kind: type[Overflowing]) -> None:
    scheduler = new_scheduler(kind())
    jobs = [job([LATE, 1], 30), job([LATE, 2], 30), job([1, 2, 3], 30), job([2, 2, 3], 30)]
    later = [job([3, 1 + i], 20) for i in range(4)]
    for one in jobs:
        scheduler.submit([one])
    with serving(scheduler):
        wait(jobs)
        finish(scheduler, later)
    for one in (*jobs[2:], *later):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)
    for one in jobs[:2]:
        assert isinstance(one.sink.error, NotNumbers)
        assert one.sink.tokens == reference(one.prompt, 5)  # up to where it happened


@KINDS
def test_overflow_in_a_part_of_a_prompt_ends_it_there(kind: type[Overflowing]) -> None:
    scheduler = new_scheduler(kind())
    good, hot = job([1, 2, 3], 30), job([4] * 40, 30, adapters=HOT)
    good.sink = Breaks(3, lambda: scheduler.submit([hot]))
    scheduler.submit([good])
    with serving(scheduler):
        wait([good, hot])
    assert isinstance(hot.sink.error, NotNumbers)
    assert good.sink.tokens == reference(good.prompt, 30)
    assert scheduler.meters.counters.prefilled_tokens_total < 40


@KINDS
def test_a_prompt_that_overflows_and_is_cancelled_spoils_nobody(kind: type[Overflowing]) -> None:
    class Cancelling(kind):  # type: ignore[misc, valid-type]
        def prefill(self, sequence: int, tokens: Any, start: int, *, rows: str) -> int:
            if self.adapters == HOT:
                scheduler.cancel(hot)
            return super().prefill(sequence, tokens, start, rows=rows)

    scheduler = new_scheduler(Cancelling())
    hot = [job([4 + i] * 40, 30, adapters=HOT) for i in range(4)]
    later = [job([2, 1 + i], 20) for i in range(4)]
    for one in hot:
        scheduler.submit([one])
    with serving(scheduler):
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
        finish(scheduler, later)
    for one in later:
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)


@KINDS
@pytest.mark.parametrize("prefix_bytes", [0, 1 << 20])
def test_a_draft_that_overflows_costs_no_request_its_answer(kind: type[Overflowing], prefix_bytes: int) -> None:
    """Nor does it matter that all that was evaluated beside the guess is spoilt, what is right included, or that there
    is no RAM to keep it in."""
    prompt = [1, 2, 3]
    text = reference(prompt, 40)
    (guess, *_) = set(range(1, 16)) - {POISON, *prompt, *text}

    class Context(kind):  # type: ignore[misc, valid-type]
        def _late(self, sequence: int) -> bool:
            return self.held[sequence][:3] == prompt and guess in self.held[sequence]

    costs = CostTable({1: 10.0, 8: 10.5}, 1.0, {8: 10.5, 32: 11.0})
    scheduler = new_scheduler(Context(), costs=costs, prefix_bytes=prefix_bytes)
    prediction = [*text[:20], *[guess] * 20]
    guessing = [job(prompt, 40, prediction=prediction) for _ in range(2)]
    others = [job([3 + i, 2], 30) for i in range(2)]
    for one in (*guessing, *others):
        scheduler.submit([one])
    with serving(scheduler):
        ends = wait([*guessing, *others])
        finish(scheduler, later := [job([4, 1 + i], 20) for i in range(4)])
    for one in (*guessing, *others, *later):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)
    assert all(end.drafts.drafted > end.drafts.accepted > 0 for end in ends[:2])


@KINDS
def test_overflow_costs_no_cached_prefix(kind: type[Overflowing]) -> None:
    scheduler = new_scheduler(kind())
    first, again = (job([1, 2, 3, 4, 5, 6], 1) for _ in range(2))
    with serving(scheduler):
        finish(scheduler, [first])
        finish(scheduler, [job([3, 1], 30, adapters=HOT)])
        finish(scheduler, [again])
    assert again.sink.started.cached_tokens == 5


def test_who_shared_cells_that_do_not_fit_twice_begins_anew_after_an_overflow() -> None:
    class Tight(OverflowingTogether):
        capacity, length, batch = 230, 256, 256

    scheduler = new_scheduler(Tight())
    shared = [1, 2, 3, 4] * 25
    leader, follower = job([*shared, 5], 60), job([*shared, 6], 40)
    hot = job([3, 1], 30, adapters=HOT)
    follower.sink = Breaks(5, lambda: scheduler.submit([hot]))
    leader.sink = Breaks(3, lambda: scheduler.submit([follower]))
    scheduler.submit([leader])
    with serving(scheduler):
        wait([leader, follower, hot])
    assert isinstance(hot.sink.error, NotNumbers)
    for one in (leader, follower):
        assert isinstance(one.sink.events[-1], Finished)
        assert len(one.sink.tokens) == one.max_tokens


def test_a_shared_prefix_counts_once_so_that_those_who_share_it_run_together() -> None:
    class Together(FakeContext):
        unified, capacity, length, batch = True, 260, 256, 256

    scheduler = new_scheduler(Together())
    shared = [1, 2, 3, 4] * 25  # 100 tokens: two of it fit, four do not
    leader = job([*shared, 5], 40)
    followers = [job([*shared, 6 + i], 10) for i in range(2)]
    seen: list[tuple[int, int]] = []
    leader.sink = Breaks(5, lambda: [scheduler.submit([one]) for one in followers])
    followers[1].sink = Breaks(3, lambda: seen.append((scheduler.running, scheduler.memory.tokens_held())))
    scheduler.submit([leader])
    with serving(scheduler):
        wait([leader, *followers])
    assert scheduler.meters.counters.preemptions_total == 0
    assert [one.sink.started.cached_tokens for one in followers] == [93, 93]  # what is left has to be a wide call
    ((running, held),) = seen
    assert running == 3
    assert 100 < held < 200


@given(st.data())
def test_cells_in_use_are_those_that_a_count_one_by_one_finds(data: st.DataObject) -> None:
    counted, cells, serial = SharedCells(), {}, iter(range(10**6))
    for _ in range(data.draw(st.integers(1, 40))):
        one = data.draw(st.integers(0, 3))
        what = data.draw(st.sampled_from(["grow", "cut", "copy", "drop"]))
        if what == "drop":
            counted.drop(one)
            cells.pop(one, None)
        elif what == "copy" and one in cells:
            other = data.draw(st.sampled_from([i for i in range(4) if i != one]))
            tokens = data.draw(st.integers(0, len(cells[one])))
            counted.copy(one, other, tokens)
            cells[other] = cells[one][:tokens]
        elif what == "cut" and one in cells:
            tokens = data.draw(st.integers(0, len(cells[one])))
            counted.cut(one, tokens)
            del cells[one][tokens:]
        elif what == "grow":
            cells.setdefault(one, []).extend(next(serial) for _ in range(data.draw(st.integers(0, 5))))
        assert counted.used({i: len(held) for i, held in cells.items()}) == len(set().union(*cells.values(), ()))


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 30), st.integers(1, 12), st.booleans()), min_size=1, max_size=9
    ),
    st.sampled_from([Overflowing, OverflowingTogether]),
    st.booleans(),
)
def test_whoever_overflows_and_whatever_is_shared_the_others_write_their_text(requests, kind, tight) -> None:
    class Context(kind):  # type: ignore[misc, valid-type]
        capacity = 130 if tight else kind.capacity

    scheduler = new_scheduler(Context())
    jobs = [
        job([1 + first] * size, count, adapters=HOT if hot else (), priority=first)
        for first, size, count, hot in requests
    ]
    for one in jobs:
        scheduler.submit([one])
    with serving(scheduler):
        wait(jobs)
    for one in jobs:
        if one.adapters:
            assert isinstance(one.sink.events[-1], Failed)
        elif one.max_tokens + len(one.prompt) < 60:
            assert one.sink.tokens == reference(one.prompt, one.max_tokens)
