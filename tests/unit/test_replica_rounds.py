"""What is asked while a round is carried out is done before its next call: rounds take up to a second, calls do not."""

from __future__ import annotations

import threading
from typing import Any

from client.errors import Unavailable
from tests.engine.conftest import poll_until
from tests.unit.replica_fakes import A, B, Breaks, FakeContext, finish, job, new_scheduler, reference, serving, wait


class Calling(FakeContext):
    """Calls `at_first_prompt` when the first chunk of a prompt is evaluated; `read`: how much of each, by its start."""

    def __init__(self) -> None:
        super().__init__()
        self.at_first_prompt: Any = lambda: None
        self.read: dict[int, int] = {}

    def prefill(self, sequence: int, tokens: Any, start: int, *, rows: str) -> int:
        code = super().prefill(sequence, tokens, start, rows=rows)
        if not self.read:
            self.at_first_prompt()
        first = self.held[sequence][0]
        self.read[first] = self.read.get(first, 0) + len(tokens)
        return code


def test_a_prompt_that_is_cancelled_while_another_is_read_is_not_read_any_more() -> None:
    context = Calling()
    scheduler = new_scheduler(context)
    kept, *gone = (job([1 + i] * 40, 4) for i in range(3))
    context.at_first_prompt = lambda: scheduler.cancel(gone)
    for one in (kept, *gone):
        scheduler.submit([one])
    with serving(scheduler):
        wait([kept])
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert context.read == {1: 40}
    assert kept.sink.tokens == reference(kept.prompt, 4)
    assert scheduler.meters.counters.cancelled_total == 2


def test_a_sequence_that_is_cancelled_in_a_long_turn_gets_no_further_token() -> None:
    scheduler = new_scheduler()
    kept, gone = job([1, 2], 50, adapters=A), job([3, 4], 50, adapters=B)
    gone.sink = Breaks(4, lambda: scheduler.cancel([gone]))
    for one in (kept, gone):
        scheduler.submit([one])
    with serving(scheduler):
        wait([kept])
        poll_until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    assert gone.sink.tokens == reference(gone.prompt, 50, B)[:3]
    assert kept.sink.tokens == reference(kept.prompt, 50, A)


def test_a_loop_that_is_told_to_end_in_the_round_of_its_last_job_ends() -> None:
    scheduler = new_scheduler()
    last = job([1, 2], 3)
    last.sink = Breaks(5, scheduler.stop)  # at its end
    scheduler.submit([last])
    loop = threading.Thread(target=scheduler.run)
    loop.start()
    loop.join(30)
    ended = not loop.is_alive()
    scheduler.stop()  # or a loop that waits for work would outlive this test
    loop.join(30)
    assert ended
    assert last.sink.tokens == reference(last.prompt, 3)


def test_what_is_asked_in_a_round_and_fails_everything_leaves_the_loop_able_to_serve() -> None:
    context = Calling()
    scheduler = new_scheduler(context)
    first = [job([1 + i] * 40, 4) for i in range(3)]
    context.at_first_prompt = lambda: scheduler.fail_all(Unavailable("moving on"))
    for one in first:
        scheduler.submit([one])
    again = job([5, 6], 4)
    with serving(scheduler):
        wait(first)
        finish(scheduler, [again])
    assert [type(one.sink.error) for one in first] == [Unavailable] * 3
    assert sum(context.read.values()) - 2 == 16  # one chunk, and the later prompt
    assert again.sink.tokens == reference(again.prompt, 4)


class Switching(Calling):
    """Notes what was evaluated, decode steps as the adapters that they were made under."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def decode_step(self, sequences: Any, tokens: Any, positions: Any) -> int:
        self.calls.append(self.adapters)
        return super().decode_step(sequences, tokens, positions)

    def prefill(self, sequence: int, tokens: Any, start: int, *, rows: str) -> int:
        self.calls.append(f"prompt {tokens[0]}")
        return super().prefill(sequence, tokens, start, rows=rows)


def in_two_long_turns(running: list[Any], newcomer: Any) -> list[Any]:
    """What is evaluated after `newcomer` came in the first of two turns that are planned to last for many tokens."""
    context = Switching()
    scheduler = new_scheduler(context)
    places: list[int] = []

    def come() -> None:
        places.append(len(context.calls))
        scheduler.submit([newcomer])

    running[-1].sink = Breaks(4, come)  # its adapters are in force after its prompt
    for one in running:
        scheduler.submit([one])
    with serving(scheduler):
        wait([*running, newcomer])
    for one in (*running, newcomer):
        assert one.sink.tokens == reference(one.prompt, one.max_tokens, one.adapters)
    return context.calls[places[0] :]


def test_who_comes_in_a_long_turn_has_its_prompt_read_after_one_token_of_each_other_turn() -> None:
    running = [job([1, 2], 50, adapters=A), job([3, 4], 50, adapters=B)]
    assert in_two_long_turns(running, job([5, 6], 4))[:2] == [A, "prompt 5"]


def test_who_cannot_start_makes_no_turn_shorter() -> None:
    running = [job([1, 2], 50, adapters=use) for use in (A, A, B, B)]  # on every id
    assert in_two_long_turns(running, job([5, 6], 4))[:10] == [B] * 10


def test_who_may_push_another_aside_need_not_wait_for_a_long_turn_to_end() -> None:
    running = [job([1, 2], 50, adapters=use) for use in (A, A, B, B)]
    assert in_two_long_turns(running, job([5, 6], 4, priority=1))[:2] == [A, "prompt 5"]
