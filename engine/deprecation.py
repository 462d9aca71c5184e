"""When models end: what a `deprecationDate` means before that day, and from it on. Pure functions over wire types.

    before    answers carry its day (`Sunset`, RFC 8594); a public model's users have NOTICE at least
    from then nobody deploys the model anew; what is deployed goes on. One of the library is deployed as before: it
              leaves serverless on that day (`engine.serverless`)

Source: https://docs.fireworks.ai (models leave serverless with two weeks' notice at least)
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime

from client.errors import FailedPrecondition, InvalidArgument
from client.model_types import Model, TypeDate

NOTICE = timedelta(days=14)
FIELD = "deprecationDate"


def day_of(given: TypeDate | None) -> date | None:
    """InvalidArgument for what is no day of the calendar."""
    if given is None or not (given.year or given.month or given.day):
        return None
    try:
        return date(given.year or 0, given.month or 0, given.day or 0)
    except ValueError:
        raise InvalidArgument(
            f"{FIELD} is no day", field=FIELD, hint='e.g. {"year": 2027, "month": 12, "day": 31}'
        ) from None


def check_deployable(model: Model, today: date) -> None:
    """FailedPrecondition from its day on."""
    day = day_of(model.deprecation_date)
    if day is not None and day <= today:
        raise FailedPrecondition(
            f"{model.name} is deprecated since {day}", field="baseModel", hint="deploy another model"
        )


def check_notice(current: Model, changed: Model, today: date) -> None:
    """A public model's day comes no sooner than its users were told, or than NOTICE after today."""
    before, after = day_of(current.deprecation_date), day_of(changed.deprecation_date)
    soonest = today + NOTICE if before is None else min(before, today + NOTICE)
    if current.public and after is not None and after < soonest:
        raise FailedPrecondition(
            f"{current.name} is public: its users have {NOTICE.days} days' notice, until {soonest}", field=FIELD,
            hint="name that day, or a later one",
        )  # fmt: skip


def check_removable(model: Model, today: date) -> None:
    """A public model whose day was told stays until then."""
    day = day_of(model.deprecation_date)
    if model.public and day is not None and today < day:
        raise FailedPrecondition(
            f"{model.name} is public, and was promised until {day}", field="name", hint="delete it from that day on"
        )


def wire_date(day: date) -> TypeDate:
    return TypeDate(year=day.year, month=day.month, day=day.day)


def sunset(day: date) -> str:
    """The day's first moment as `Sunset` has it: an HTTP-date."""
    return format_datetime(datetime.combine(day, time(), UTC), usegmt=True)
