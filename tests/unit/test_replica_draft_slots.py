"""A draft model's slots and its failures: who is set aside gives its slot back, and what breaks costs only drafts."""

from __future__ import annotations

from typing import Any

import pytest

from engine.replica.costs import CostTable
from engine.replica.job import Finished
from engine.replica.speculation import SpeculationSettings
from tests.unit.replica_fakes import Breaks, FakeContext, job, new_scheduler, reference, serving, wait

DRAFTS_PAY = CostTable({1: 10.0, 8: 80.0}, 1.0, {8: 10.5, 32: 11.0})
DRAFTING = SpeculationSettings(draft_model_path="a file", draft_token_count=4)


class Drafter:
    """A draft model that is always right, as long as it has read what it continues. `held`: tokens by slot."""

    slots, step_ms, prefill_token_ms = 4, 0.1, 0.01

    def __init__(self) -> None:
        self.held: dict[int, list[int]] = {slot: [] for slot in range(self.slots)}
        self.proposals: list[tuple[int, list[int]]] = []  # the slot, and what was continued there

    def missing(self, slot: int, tokens: Any) -> int:
        held = self.held[slot]
        same = next((i for i, (a, b) in enumerate(zip(held, tokens, strict=False)) if a != b), len(held))
        return len(tokens) - min(same, len(tokens) - 1)

    def catch_up(self, slot: int, tokens: Any, budget_tokens: int) -> int:
        self.held[slot] = list(tokens[: len(tokens) - 1])
        return 0

    def propose(self, slot: int, tokens: Any, limit: int) -> list[int]:
        self.held[slot] = list(tokens)
        self.proposals.append((slot, list(tokens)))
        return reference(list(tokens), limit)

    def forget(self, slot: int) -> None:
        self.held[slot] = []


def run(drafter: Any, *, context: Any = None) -> tuple[list[Any], Any]:
    """Four requests that fill the replica, pushed aside in part by urgent ones; all must end as without drafts."""
    scheduler = new_scheduler(context, drafting=DRAFTING, drafter=drafter, costs=DRAFTS_PAY)
    low = [job([1 + i, 2, 3], 80) for i in range(4)]
    urgent = [job([5, 5, i], 30, priority=1) for i in range(2)]
    low[3].sink = Breaks(6, lambda: [scheduler.submit([one]) for one in urgent])
    for one in low:
        scheduler.submit([one])
    with serving(scheduler):
        wait([*urgent, *low])
    for one in (*urgent, *low):
        assert isinstance(one.sink.events[-1], Finished)
        assert one.sink.tokens == reference(one.prompt, one.max_tokens)
    assert len(scheduler._admission._loaded.speculation._free) == Drafter.slots
    return [*urgent, *low], scheduler


def drafted_for(jobs: list[Any], drafter: Drafter) -> list[list[int]]:
    """By job, after how many tokens of its output it was drafted for."""
    return [
        [
            len(tokens) - len(one.prompt)
            for _slot, tokens in drafter.proposals
            if tokens[: len(one.prompt)] == one.prompt
        ]
        for one in jobs
    ]


def test_who_is_pushed_aside_gives_its_draft_slot_to_who_comes_and_gets_one_on_its_return() -> None:
    drafter = Drafter()
    jobs, scheduler = run(drafter)
    assert scheduler.meters.counters.preemptions_total >= 2
    after = drafted_for(jobs, drafter)
    assert all(after[:2]), "the urgent ones were drafted for"
    assert all(max(positions) > 30 for positions in after[2:]), "and all others to their end"


class Broken(Drafter):
    """Raises in the `at`th call of `method`, and, once it `stays` broken, in every later one."""

    def __init__(self, method: str, at: int, *, stays: bool) -> None:
        super().__init__()
        self.broke = 0
        left = [at]
        whole = getattr(self, method)

        def breaking(*given: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 or (stays and left[0] < 0):
                self.broke += 1
                raise RuntimeError("llama.cpp has no logits to read")
            return whole(*given)

        setattr(self, method, breaking)


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("at", [1, 2, 4])
@pytest.mark.parametrize("method", ["missing", "catch_up", "propose", "forget"])
def test_a_draft_model_that_breaks_costs_only_drafts(method: str, at: int, stays: bool) -> None:
    drafter = Broken(method, at, stays=stays)
    jobs, scheduler = run(drafter)
    assert drafter.broke
    assert scheduler.meters.counters.request_errors_total == 0
    assert scheduler.meters.counters.requests_total == len(jobs)


def test_what_a_broken_slot_held_is_not_built_upon() -> None:
    drafter = Broken("propose", 1, stays=False)
    forgotten: list[int] = []
    forget = drafter.forget
    drafter.forget = lambda slot: (forgotten.append(slot), forget(slot))[1]  # type: ignore[assignment, func-returns-value]
    scheduler = new_scheduler(FakeContext(), drafting=DRAFTING, drafter=drafter, costs=DRAFTS_PAY)
    with serving(scheduler):
        for prompt in ([1, 2, 3], [1, 2, 3]):
            one = job(prompt, 30)
            scheduler.submit([one])
            wait([one])
            assert one.sink.tokens == reference(prompt, 30)
    assert len(forgotten) == 2
    assert drafter.proposals
