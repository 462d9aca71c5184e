"""The comparison's rows: ratios, what was wanted of them, and what could not be measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.rows import HEADER, NotMeasured, Row, Wanted, told

speeds = st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4)), min_size=1, max_size=9)


@given(speeds)
def test_a_row_of_equal_sides_is_one_to_one(pairs: list[tuple[float, float]]) -> None:
    ours = [pair[0] for pair in pairs]
    row = Row("x", "tok/s", ours, ours)
    assert row.ratio == pytest.approx(1.0)
    assert row.ratios == pytest.approx([1.0] * len(ours))


@given(speeds, st.floats(0.1, 10))
def test_a_ratio_is_wanted_at_least_or_at_most(pairs: list[tuple[float, float]], limit: float) -> None:
    row = Row("x", "ms", *map(list, zip(*pairs, strict=True)))
    assert Wanted(limit).met(row.ratio) == (row.ratio >= limit)
    assert Wanted(limit, at_least=False).met(row.ratio) == (row.ratio <= limit)


def test_the_table_has_a_cell_for_every_column_and_names_what_was_not_measured() -> None:
    row = Row("throughput", "tok/s", [210.0, 190.0], [100.0, 100.0], wanted=Wanted(1.05))
    assert len(row.cells) == len(HEADER)
    text = told([row, NotMeasured("adapters", "PUT /adapters answered 404")])
    assert "2.00x" in text
    assert "1.90 to 2.10" in text
    assert "at least 1.05x" in text
    assert "adapters: not measured: PUT /adapters answered 404" in text
