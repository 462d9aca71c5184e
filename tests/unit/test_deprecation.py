"""A model's last day: what it means before, and from then on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from client.errors import FailedPrecondition, InvalidArgument
from client.model_types import Model, TypeDate
from engine.deprecation import check_deployable, check_notice, check_removable, day_of, sunset

TODAY = date(2027, 3, 1)


def model(day: tuple[int, int, int] | None = None, *, public: bool = False) -> Model:
    given = None if day is None else TypeDate(year=day[0], month=day[1], day=day[2])
    return Model(name="accounts/local/models/m", public=public, deprecation_date=given)


def refused(check: Callable[..., Any], *given: Any) -> bool:
    try:
        check(*given)
    except FailedPrecondition as error:
        return bool(error.hint)
    return False


def test_a_day_is_one_of_the_calendar() -> None:
    assert day_of(TypeDate(year=2028, month=2, day=29)) == date(2028, 2, 29)
    assert day_of(None) is day_of(TypeDate()) is day_of(TypeDate(year=0)) is None
    for wrong in (TypeDate(year=2027, month=2, day=29), TypeDate(year=2027), TypeDate(year=99999, month=1, day=1)):
        with pytest.raises(InvalidArgument) as error:
            day_of(wrong)
        assert error.value.field == "deprecationDate"


@pytest.mark.parametrize(
    ("day", "no"), [(None, False), ((2027, 3, 2), False), ((2027, 3, 1), True), ((2026, 1, 1), True)]
)
def test_from_its_day_on_it_is_not_deployed_anew(day: Any, no: bool) -> None:
    assert refused(check_deployable, model(day), TODAY) is no


@pytest.mark.parametrize(
    ("before", "after", "public", "no"),
    [
        (None, (2027, 3, 14), True, True), (None, (2027, 3, 15), True, False), (None, (2027, 3, 2), False, False),
        ((2027, 3, 5), (2027, 3, 4), True, True), ((2027, 3, 5), (2027, 3, 5), True, False),
        ((2027, 3, 5), None, True, False), ((2028, 1, 1), (2027, 3, 15), True, False),
        ((2028, 1, 1), (2027, 3, 14), True, True),
    ],
)  # fmt: skip
def test_users_of_a_public_model_have_two_weeks(before: Any, after: Any, public: bool, no: bool) -> None:
    assert refused(check_notice, model(before, public=public), model(after, public=public), TODAY) is no


@pytest.mark.parametrize(
    ("day", "public", "no"),
    [((2027, 3, 2), True, True), ((2027, 3, 1), True, False), ((2027, 3, 2), False, False), (None, True, False)],
)
def test_a_public_model_stays_until_its_day(day: Any, public: bool, no: bool) -> None:
    assert refused(check_removable, model(day, public=public), TODAY) is no


def test_the_header_is_an_http_date() -> None:
    assert sunset(date(2027, 12, 31)) == "Fri, 31 Dec 2027 00:00:00 GMT"
