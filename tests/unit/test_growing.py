"""What an account has used by now, without a walk over its replicas."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.control.growing import Growing, count
from engine.control.ledger import Interval, Terms
from engine.control.price import Totals

START_MS = 1_000_000
TERMS = (
    Terms("a", "r", "H100", 2, 3_000_000, simulated=False), Terms("b", "r", "CPU", 0, None, simulated=True),
)  # fmt: skip

steps = st.lists(
    st.tuples(st.sampled_from(("begin", "end", "hold", "go on")), st.integers(0, 5), st.integers(0, 600_000)),
    max_size=40,
)


def walked(there: dict[int, Interval], start_ms: int, now_ms: int) -> Totals:
    totals = Totals()
    for one in there.values():
        count(totals, one, one.within(start_ms, now_ms))
    return totals


def stepped(done: list[tuple[str, int, int]], began_ms: int) -> tuple[Growing, dict[int, Interval], int]:
    """A ledger's day: replicas begin and end, engines are killed and take over what lives."""
    growing, there, now = Growing(START_MS), dict[int, Interval](), began_ms
    for what, which, later_ms in done:
        now += later_ms
        going = [one for one in there.values() if one.ended_ms is None]
        if what == "begin" or not going:
            number = len(there) + 1
            one = Interval(number, "accounts/a/deployments/d", f"r{number}", TERMS[which % 2], now)
        else:
            one = going[which % len(going)]
            held = one.held_ms if one.held_ms is not None else now
            changes = {
                "end": {"ended_ms": held, "held_ms": None},
                "hold": {"held_ms": held},
                "go on": {"held_ms": None},
            }
            one = replace(one, **changes[what])
        there[one.number] = one
        growing.take(one)
    return growing, there, now


@given(steps, st.integers(START_MS - 2_000_000, START_MS + 2_000_000), st.integers(0, 600_000))
def test_it_is_what_a_walk_over_all_intervals_comes_to(
    done: list[tuple[str, int, int]], began_ms: int, later_ms: int
) -> None:
    growing, there, now = stepped(done, began_ms)
    now = max(now, START_MS) + later_ms
    assert growing.at(now) == walked(there, START_MS, now)


@given(steps, st.integers(START_MS - 2_000_000, START_MS + 2_000_000))
def test_a_new_month_begins_with_what_is_open_alone(done: list[tuple[str, int, int]], began_ms: int) -> None:
    growing, there, now = stepped(done, began_ms)
    month_ms = max(now, START_MS) + 1
    assert growing.since(month_ms, month_ms + 5000) == walked(there, month_ms, month_ms + 5000)


def test_sums_of_before_count_besides() -> None:
    growing = Growing(START_MS)
    growing.ended.add(7_000, accelerators=1, price=None, simulated=False)
    growing.take(Interval(1, "accounts/a/deployments/d", "r", TERMS[0], START_MS))
    assert growing.at(START_MS + 3_000).replica_ms == 10_000
    assert growing.at(START_MS + 3_000).charges == 3_000 * 3_000_000
