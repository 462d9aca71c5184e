"""A limit on reasoning: kept to the token, whoever opens the reasoning, and whatever is drafted or pushed aside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.replica.costs import CostTable
from engine.replica.sampling import Sampler, SamplingOptions
from engine.replica.thought import Thought, ThoughtLimit
from tests.unit.replica_fakes import Breaks, Cell, finish, job, new_scheduler, next_token, reference, serving, wait

END = (101, 102)


def written(pieces: list[bytes], tokens: int, *, inside: bool) -> list[int | bytes]:
    """What is written of `pieces`, one a token, and of the end that is due in between."""
    thought = Thought(ThoughtLimit(tokens, "<think>", "</think>", END, inside))
    out: list[int | bytes] = []
    for piece in pieces:
        while (due := thought.due) is not None:
            out.append(due)
            thought.accept(due, b"</th")
        out.append(piece)
        thought.accept(7, piece)
    return out


def test_reasoning_that_the_prompt_has_opened_ends_after_so_many_tokens() -> None:
    assert written([b"a", b"b", b"c", b"d", b"e", b"f"], 3, inside=True) == [b"a", b"b", b"c", *END, b"d", b"e", b"f"]


def test_reasoning_that_the_answer_opens_is_counted_from_there() -> None:
    pieces = [b" ", b"<th", b"ink>", b"a", b"b", b"c"]
    assert written(pieces, 2, inside=False) == [*pieces[:5], *END, b"c"]


@pytest.mark.parametrize(
    ("pieces", "inside"),
    [
        ([b"a", b"</think>", b"b", b"c"], True),
        ([b"a", b"b", b"c", b"d"], False),
        ([b"a", b"</thi", b"nk>b", b"c"], True),
    ],
)
def test_an_answer_has_no_limit(pieces: list[bytes], inside: bool) -> None:
    assert written(pieces, 3, inside=inside) == pieces


def test_characters_that_are_cut_between_tokens_are_no_end() -> None:
    pieces = [bytes([byte]) for byte in "ä</think>b".encode()]
    assert written(pieces, 20, inside=True) == pieces


# In the scheduler. The fake model spells token 3 "d".


def limited(tokens: int, **fields: Any) -> Any:
    return job([1, 2], 30, thought=ThoughtLimit(tokens, "<", "dd", (3, 3), True), **fields)


def forced(prompt: list[int], after: int, count: int) -> list[int]:
    head = [*reference(prompt, after), 3, 3]
    cells: list[Cell] = [(token, (), False) for token in [*prompt, *head]]
    while len(cells) < len(prompt) + count:
        cells.append((next_token(cells), (), False))
    return [token for token, *_how in cells[len(prompt) :]]


def test_the_end_is_written_and_the_model_goes_on_from_there() -> None:
    one, other = limited(5), job([4, 2], 30)
    with serving(new_scheduler()) as scheduler:
        finish(scheduler, [one, other])
    assert one.sink.tokens == forced([1, 2], 5, 30)
    assert other.sink.tokens == reference([4, 2], 30)


def test_drafts_neither_hide_the_end_nor_are_kept_for_it() -> None:
    costs = CostTable({1: 10.0, 8: 10.5}, 1.0, {8: 10.5, 32: 11.0})
    for prediction in (reference([1, 2], 30), forced([1, 2], 5, 30)):
        one = limited(5, prediction=prediction)
        with serving(new_scheduler(costs=costs)) as scheduler:
            (end,) = finish(scheduler, [one])
        assert one.sink.tokens == forced([1, 2], 5, 30)
        assert end.drafts.accepted > 0  # type: ignore[union-attr]


def test_who_was_pushed_aside_in_the_middle_of_the_end_writes_the_rest_of_it() -> None:
    scheduler = new_scheduler()
    urgent = job([5, 5], 3, priority=1)
    low = [*(job([1 + i, 3], 40) for i in range(3)), limited(5)]
    low[3].sink = Breaks(7, lambda: scheduler.submit([urgent]))  # at the sixth token, which is the first of the end
    for one in low:
        scheduler.submit([one])
    with serving(scheduler):
        wait([urgent, *low])
    assert scheduler.meters.counters.preemptions_total == 1
    assert low[3].sink.tokens == forced([1, 2], 5, 30)


@pytest.mark.parametrize("options", [{"temperature": 0.7, "seed": 3}, {"mirostat_target": 3.0, "temperature": 0.7}])
def test_a_forced_token_has_its_own_probability_and_leaves_later_draws_as_they_were(options: dict[str, Any]) -> None:
    rows = np.random.Generator(np.random.PCG64(1)).normal(0, 3, (4, 50)).astype(np.float32)
    sampler = Sampler(SamplingOptions(top_logprobs=2, **options))
    choice = sampler.forced(rows[0], 9)
    assert choice.token == 9
    assert choice.logprob == pytest.approx(float(rows[0][9] - np.log(np.exp(rows[0]).sum())), abs=1e-4)
    assert len(choice.top) == 2
    sampler.accept(9)
    drawn = Sampler(SamplingOptions(top_logprobs=2, **options))
    drawn.accept(9)
    assert sampler.choose(rows[1]) == drawn.choose(rows[1])
