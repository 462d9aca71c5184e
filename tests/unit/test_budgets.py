"""The quotas of a month: when what was used has to be known."""

from __future__ import annotations

from engine.access.budgets import CEILINGS, over
from engine.control.price import Totals


def test_what_an_account_used_is_added_up_only_where_there_is_a_limit():
    asked = 0

    def used() -> Totals:
        nonlocal asked
        asked += 1
        return Totals()

    for quota_id, ceiling in CEILINGS.items():
        assert not over(quota_id, ceiling, used)
    assert not asked
    assert [over(quota_id, 0, used) for quota_id in CEILINGS] == [True, True]
    assert asked == len(CEILINGS)
