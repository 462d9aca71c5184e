"""The speculation advisor: what share of drafted tokens is accepted, what drafts cost, and what to set. Pure.

Costs are those that replicas measured when they started. Where none is told (a simulated replica, another engine) they
are estimated by the sizes of the two files, weights that are read a token; the advice says which it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from tui.core import drafting, units
from tui.core.columns import Column
from tui.core.drafting import Costs
from tui.core.lists import Entry, Listing
from tui.core.states import Tone

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus, SpeculationView
    from client.types import Deployment, Model
    from client.usage_tokens_types import TokenRow

FEW_TOKENS = 200  # drafted: fewer say nothing yet
WORTH = 1.05  # times as fast: what is less is not told of
TRIED = 4  # tokens a step: what is suggested to begin with


@dataclass(frozen=True, slots=True)
class Advice:
    """`accepted` of `drafted` tokens today. `break_even` and `gain` (times the speed without drafts, of one request at
    a time) are None where they are not known; `count` is what to set, None for what is set already."""

    how: str
    verdict: str
    tone: Tone
    drafted: int | None = None
    accepted: int | None = None
    break_even: float | None = None
    gain: float | None = None
    measured: bool = False
    count: int | None = None
    ngrams: bool = False  # to set n-grams besides

    @property
    def acceptance(self) -> float | None:
        return self.accepted / self.drafted if self.drafted and self.accepted is not None else None


def rows(
    statuses: Iterable[DeploymentStatus], models: Iterable[Model], asked: Iterable[TokenRow]
) -> tuple[Entry[Advice], ...]:
    """Every deployment that is not deleted; `asked` is today's use by deployment."""
    sizes = {model.name: model.firedeck.size_bytes for model in models if model.firedeck and model.firedeck.size_bytes}
    used = {row.deployment: row for row in asked}
    live = [status for status in statuses if status.deployment.state != "DELETED"]
    return tuple(
        Entry(one.deployment.name, _advice(one, sizes, used.get(one.deployment.name)), one.deployment.name)
        for one in live
    )


def _advice(status: DeploymentStatus, sizes: Mapping[str, int], row: TokenRow | None) -> Advice:
    one, view = status.deployment, status.speculation
    by_model, count = one.draft_model is not None, one.draft_token_count or 0
    if not count or not (by_model or one.ngram_speculation_length):
        return _off(view)
    how = f"{_short(one.draft_model)}, {count} a step" if by_model else _ngram(one)
    measured = drafting.costs_of(view, by_model=by_model)
    costs = measured or _by_sizes(one, sizes)
    limit = drafting.break_even(count, costs) if costs else None
    drafted = None if row is None else row.accepted_draft_tokens + row.rejected_draft_tokens
    accepted = None if row is None else row.accepted_draft_tokens
    base = Advice(how, "", "neutral", drafted, accepted, limit, measured=measured is not None)
    return _judged(base, count, costs, drafting.right_up_to(view) if view and measured else ())


def _off(view: SpeculationView | None) -> Advice:
    """Nothing drafts: what n-grams would have to reach, where that has been measured."""
    costs = drafting.costs_of(view, by_model=False)
    if costs is None:
        return Advice("off", "nothing is drafted; prompts with repetitions gain by n-grams", "idle")
    limit = drafting.break_even(TRIED, costs)
    if limit is None:
        return Advice("off", "nothing is drafted, and no draft would pay on this machine", "idle", measured=True)
    told = f"nothing is drafted; n-grams would pay from {units.percent(limit)} of their tokens on"
    return Advice("off", told, "idle", break_even=limit, measured=True, count=TRIED, ngrams=True)


def _judged(base: Advice, count: int, costs: Costs | None, chances: tuple[float, ...]) -> Advice:
    if costs is not None and base.break_even is None:
        return _with(base, "slower than off even if all were accepted: drafts cost too much", "attention", 0)
    if not base.drafted or base.drafted < FEW_TOKENS or base.acceptance is None:
        few = f"too little drafted today to tell ({units.count(base.drafted)} of {FEW_TOKENS} tokens)"
        return _with(base, few, "idle")
    if costs is None:
        return _with(base, "measured; the draft's cost is not known, so neither is what it must reach", "neutral")
    if chances:
        return _by_positions(base, count, costs, chances)
    if base.break_even is not None and base.acceptance < base.break_even:
        return _with(base, f"slower than off{_source(base)}: {_fewer(count)}", "attention", max(0, count - 1))
    return _with(base, f"pays{_source(base)}", "healthy")


def _by_positions(base: Advice, count: int, costs: Costs, chances: tuple[float, ...]) -> Advice:
    """What replicas counted by position says which count would be best, up to one more than was drafted."""
    gain = drafting.speedup(chances, count, costs)
    longer = drafting.one_more(chances) if len(chances) >= count else chances
    wanted = drafting.best(longer, costs)
    ahead = drafting.speedup(longer, wanted, costs)
    base = replace(base, gain=gain)
    if wanted == 0:
        return _with(base, f"{_times(gain)} of the speed without drafts: set it off", "attention", 0)
    if wanted != count and ahead > gain * WORTH:
        tone: Tone = "attention" if gain < 1 else "healthy"
        return _with(base, f"{_times(gain)} as it is; {wanted} a step would give {_times(ahead)}", tone, wanted)
    return _with(base, f"pays: {_times(gain)} the speed without drafts", "healthy")


def _with(base: Advice, verdict: str, tone: Tone, count: int | None = None) -> Advice:
    return replace(base, verdict=verdict, tone=tone, count=count)


def _times(value: float) -> str:
    return f"{value:.2f}x"


def _source(advice: Advice) -> str:
    return ", by measured costs" if advice.measured else ", as estimated by sizes"


def _fewer(count: int) -> str:
    return f"try {count - 1} a step, or off" if count > 1 else "try it off"


def _short(name: str | None) -> str:
    return (name or "").rpartition("/")[2]


def _ngram(one: Deployment) -> str:
    return f"n-grams of {one.ngram_speculation_length}, {units.count(one.draft_token_count)} a step"


def _by_sizes(one: Deployment, sizes: Mapping[str, int]) -> Costs | None:
    """In steps of the model alone; a verification costs no more than a step. n-grams are found at next to none."""
    if not one.draft_model:
        return Costs(1.0, {32: 1.0})
    draft, model = sizes.get(one.draft_model), sizes.get(one.base_model or "")
    return Costs(1.0, {32: 1.0}, draft / model) if draft and model else None


SPECULATION: Listing[Advice] = Listing(
    "speculation", "speculation",
    (
        Column("deployment", "DEPLOYMENT", lambda r: _short(r.name), 0, 10, 28, "left"),
        Column("how", "DRAFTS", lambda r: r.what.how, 0, 8, 40, "left"),
        Column("drafted", "DRAFTED", lambda r: units.count(r.what.drafted), 2, 7, value=lambda r: r.what.drafted),
        Column("accepted", "ACCEPTED", lambda r: units.percent(r.what.acceptance), 0, 8,
               value=lambda r: r.what.acceptance, unit="share"),
        Column("needs", "NEEDS", lambda r: units.percent(r.what.break_even), 0, 5,
               value=lambda r: r.what.break_even, unit="share"),
        Column("gain", "SPEED", lambda r: units.UNKNOWN if r.what.gain is None else _times(r.what.gain), 1, 5,
               value=lambda r: r.what.gain),
        Column("verdict", "ADVICE", lambda r: r.what.verdict, 1, 20, 200, "left", lambda r: r.what.tone),
    ),
    "no deployments", lambda r, now: _detail(r, now), 10.0,
)  # fmt: skip


def _detail(row: Entry[Advice], now: datetime) -> tuple[str, ...]:
    advice = row.what
    if advice.measured:
        told = (
            "costs as replicas measured them at their start, for one request at a time; they draft only while it pays"
        )
    else:
        told = "costs are estimates by the sizes of the files, of one request at a time"
    return (advice.verdict, told if advice.break_even is not None else "", command(row))


def command(row: Entry[Advice]) -> str:
    """The line that sets what is advised; nothing where nothing is to be set."""
    advice = row.what
    if advice.count is None:
        return ""
    ngrams = "--ngram-speculation-length 3 " if advice.ngrams else ""
    return f"firedeck deployment update {_short(row.name)} {ngrams}--draft-token-count {advice.count}"
