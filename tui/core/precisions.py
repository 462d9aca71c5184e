"""In which precisions a model is there, how others are made, and when a model ends. Pure."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from client.enums import AUTO
from tui.core.states import Tone

if TYPE_CHECKING:
    from client.model_types import Model, PreparedPrecision

_SIGNS = {"READY": "", "PREPARING": "◐", "FAILED": "✖"}
_UNSPECIFIED = "PRECISION_UNSPECIFIED"


def asked_for(model: Model) -> list[PreparedPrecision]:
    """The precisions beside that of the model's own file, in any state."""
    return (model.firedeck.prepared if model.firedeck else None) or []


def prepared(model: Model) -> str:
    """`FP8 ◐FP4 ✖FP16`: ready, on its way, failed."""
    return " ".join(f"{_SIGNS.get(one.state, '?')}{one.precision}" for one in asked_for(model))


def tone(model: Model) -> Tone | None:
    states = {one.state for one in asked_for(model)}
    return "attention" if "FAILED" in states else "working" if "PREPARING" in states else None


def told(model: Model) -> str:
    """What is being made or could not be, and how to ask for more; nothing of what has no precisions."""
    if model.is_adapter or model.firedeck is None or not model.firedeck.file:
        return ""
    notes = []
    for one in asked_for(model):
        if one.state == "PREPARING":
            notes.append(f"{one.precision} is being prepared ({one.stage or 'it waits its turn'})")
        elif one.state == "FAILED":
            notes.append(f"{one.precision} failed: {one.status.message if one.status else 'no reason is told'}")
    return "; ".join([*notes, f"prepare others: {command(model)}"])


def command(model: Model) -> str:
    return f"firedeck model prepare {model.id} --precision {AUTO}"


def choices(model: Model | None) -> list[tuple[str, str]]:
    """What a deployment may ask for, as labels and values: what is there alone; AUTO where there is a choice."""
    ready = {one.precision: one.quantization for one in asked_for(model) if one.state == "READY"} if model else {}
    own = [one for one in (model.supported_precisions or []) if one not in ready] if model else []
    found = [(f"{one} (its own file)", one) for one in own if one != _UNSPECIFIED]
    found += [(f"{one} ({quantization})", one) for one, quantization in ready.items()]
    return [*found, ("AUTO: the fastest that is true enough", AUTO)] if ready else found


def how(model: Model | None) -> str:
    """Under the choice of precisions: what else there could be."""
    if model is None or not told(model):
        return ""
    pending = [one.precision for one in asked_for(model) if one.state == "PREPARING"]
    wait = f"{', '.join(pending)}: being prepared; " if pending else ""
    return f"{wait}others once prepared: {command(model)}"


def ends(model: Model) -> date | None:
    """The day from which nobody deploys it anew; None of one that does not end, or says no day of the calendar."""
    given = model.deprecation_date
    if given is None or not (given.year and given.month and given.day):
        return None
    try:
        return date(given.year, given.month, given.day)
    except ValueError:
        return None


def badge(day: date | None, today: date) -> str:
    """`▲ 2027-01-31`, from that day on `✖ 2027-01-31`."""
    return "" if day is None else f"{'✖' if day <= today else '▲'} {day.isoformat()}"


def end_told(day: date | None, today: date, *, serverless: bool = False) -> str:
    """`serverless`: it is one that every account asks without a deployment, and that is what ends."""
    if day is None:
        return ""
    if serverless:
        return f"leaves serverless on {day}, in {max(0, (day - today).days)} days: it can be deployed as before"
    if day <= today:
        return f"deprecated since {day}: it is not deployed anew; what runs goes on"
    left = (day - today).days
    when = f"from {day} on, in {left} day{'s' * (left != 1)}"
    return f"deprecated {when}: then it is not deployed anew; what runs goes on"
