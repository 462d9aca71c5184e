"""What drafts yield and cost: costs between measured widths, chances by position, the best count, break-even."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.fleet_types import SpeculationView
from tui.core import drafting
from tui.core.drafting import FEW_DRAFTS, Costs

MS = st.floats(0.1, 100.0)
CHANCES = st.lists(st.floats(0.0, 1.0), max_size=12).map(lambda found: tuple(sorted(found, reverse=True)))
MEASURED = st.builds(Costs, MS, st.dictionaries(st.integers(2, 32), MS, min_size=1), st.floats(0.0, 20.0))


@given(st.integers(1, 31), st.floats(0.0, 2.0))
def test_at_break_even_a_step_costs_what_it_yields(drafted, cost):
    costs = Costs(1.0, {32: 1.0}, cost)
    limit = drafting.break_even(drafted, costs)
    if limit is None:
        assert cost >= 1 - 1e-9
        return
    assert 0 <= limit <= 1
    yields = sum(limit**n for n in range(drafted + 1))
    assert yields == pytest.approx(1 + drafted * cost, abs=1e-6) or limit < 1e-9


@given(MEASURED, st.integers(0, 31))
def test_a_step_costs_what_was_measured_of_its_width_and_what_its_drafts_cost(costs, drafted):
    found = costs.of(drafted) - drafted * costs.draft_token_ms
    known = {1: costs.step_ms, **costs.verify_ms}
    if drafted + 1 in known:
        assert found == pytest.approx(known[drafted + 1])
    below = [ms for width, ms in known.items() if width <= drafted + 1]
    assert found >= min(known.values()) - 1e-9
    if drafted + 1 > max(known):
        assert found == pytest.approx(known[max(known)] * (drafted + 1) / max(known))
    assert below, "one token is always known"


@given(CHANCES, MEASURED)
def test_no_other_count_is_faster_than_the_best(chances, costs):
    most = drafting.speedup(chances, drafting.best(chances, costs), costs)
    assert all(drafting.speedup(chances, k, costs) <= most for k in range(len(chances) + 1))
    assert most >= 1.0


@given(CHANCES)
def test_one_more_position_is_at_most_as_likely_as_the_last(chances):
    longer = drafting.one_more(chances)
    assert longer[: len(chances)] == chances
    assert not chances or 0.0 <= longer[-1] <= chances[-1] + 1e-9


def test_positions_of_which_too_few_drafts_tell_are_left_out():
    view = SpeculationView(drafted_at=[1000, 400, FEW_DRAFTS - 1], accepted_at=[700, 300, 40])
    assert drafting.right_up_to(view) == (0.7, 0.7), "a draft that is right so far was right before"
    assert drafting.right_up_to(SpeculationView(drafted_at=[1000, 400])) == (0.0, 0.0)
    assert drafting.right_up_to(SpeculationView()) == ()


def test_costs_that_are_not_told_are_not_known():
    told = SpeculationView(step_ms=10.0, verify_ms={4: 12.0})
    assert drafting.costs_of(None, by_model=False) is None
    assert drafting.costs_of(SpeculationView(step_ms=10.0), by_model=False) is None
    assert drafting.costs_of(told, by_model=True) is None, "what its draft model costs is not told"
    assert drafting.costs_of(told, by_model=False) == Costs(10.0, {4: 12.0})
