"""The speculation advisor: what share of drafted tokens is accepted, and from which share on drafting pays. Pure.

A step that drafts k tokens, each accepted with probability a, yields (1 - a^(k+1)) / (1 - a) tokens (Leviathan et al.,
"Fast Inference from Transformers via Speculative Decoding", 2023) and costs 1 + k c steps of the model alone, c being
a draft's cost by the model's. Here c is estimated by the sizes of the two files: weights that are read a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from client.fleet_types import DeploymentStatus
from client.types import Deployment, Model
from client.usage_tokens_types import TokenRow
from tui.core import units
from tui.core.columns import Column
from tui.core.lists import Entry, Listing
from tui.core.states import Tone

FEW_TOKENS = 200  # drafted: fewer say nothing yet
_STEPS = 60  # of bisection


@dataclass(frozen=True, slots=True)
class Advice:
    """`accepted` of `drafted` tokens today. `break_even` is None where the cost of a draft is not known."""

    how: str
    drafted: int | None
    accepted: int | None
    break_even: float | None
    verdict: str
    tone: Tone

    @property
    def acceptance(self) -> float | None:
        return self.accepted / self.drafted if self.drafted and self.accepted is not None else None


def tokens_per_step(acceptance: float, drafted: int) -> float:
    """Expected tokens of a step, 1 to `drafted` + 1."""
    return sum(acceptance**n for n in range(drafted + 1))


def break_even(drafted: int, cost: float) -> float | None:
    """The acceptance from which on a step of `drafted` drafts, each of `cost`, is faster than no drafting; None where
    even drafts that are all accepted are not worth it."""
    if drafted + 1 <= 1 + drafted * cost:
        return None
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if tokens_per_step(middle, drafted) >= 1 + drafted * cost else (middle, high)
    return high


def rows(
    statuses: Iterable[DeploymentStatus], models: Iterable[Model], asked: Iterable[TokenRow]
) -> tuple[Entry[Advice], ...]:
    """Every deployment that is not deleted; `asked` is today's use by deployment."""
    sizes = {model.name: model.firedeck.size_bytes for model in models if model.firedeck and model.firedeck.size_bytes}
    used = {row.deployment: row for row in asked}
    live = [status.deployment for status in statuses if status.deployment.state != "DELETED"]
    return tuple(Entry(one.name, _advice(one, sizes, used.get(one.name)), one.name) for one in live)


def _advice(one: Deployment, sizes: Mapping[str, int], row: TokenRow | None) -> Advice:
    if not one.draft_model and not one.ngram_speculation_length:
        return Advice("off", None, None, None, "nothing is drafted; prompts with repetitions gain by n-grams", "idle")
    drafted = None if row is None else row.accepted_draft_tokens + row.rejected_draft_tokens
    accepted = None if row is None else row.accepted_draft_tokens
    count = one.draft_token_count
    how = f"{_short(one.draft_model)}, {units.count(count)} a step" if one.draft_model else _ngram(one)
    cost = _cost(one, sizes)
    known = bool(count) and cost is not None
    limit = break_even(count, cost) if count and cost is not None else None
    verdict, tone = _verdict(drafted, accepted, count, limit, worth=not known or limit is not None)
    return Advice(how, drafted, accepted, limit, verdict, tone)


def _short(name: str | None) -> str:
    return (name or "").rpartition("/")[2]


def _ngram(one: Deployment) -> str:
    return f"n-grams of {one.ngram_speculation_length}, {units.count(one.draft_token_count)} a step"


def _cost(one: Deployment, sizes: Mapping[str, int]) -> float | None:
    """A draft's cost by the model's; n-grams are found at next to none."""
    if not one.draft_model:
        return 0.0
    draft, model = sizes.get(one.draft_model), sizes.get(one.base_model or "")
    return draft / model if draft and model else None


def _verdict(
    drafted: int | None, accepted: int | None, count: int | None, limit: float | None, *, worth: bool
) -> tuple[str, Tone]:
    if not worth:
        return "slower than off even if all were accepted: the draft model is too large", "attention"
    if not drafted or drafted < FEW_TOKENS or accepted is None:
        return f"too little drafted today to tell ({units.count(drafted)} of {FEW_TOKENS} tokens)", "idle"
    share = accepted / drafted
    if limit is None:
        return "measured; the draft's cost is not known, so neither is what it must reach", "neutral"
    if share < limit:
        fewer = f"try {count - 1} a step, or off" if count and count > 1 else "try it off"
        return f"slower than off, as estimated by sizes: {fewer}", "attention"
    return "pays, as estimated by sizes", "healthy"


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
        Column("verdict", "ADVICE", lambda r: r.what.verdict, 1, 20, 200, "left", lambda r: r.what.tone),
    ),
    "no deployments",
    lambda r, now: (r.what.verdict, f"firedeck deployment update {_short(r.name)} --draft-token-count N"), 10.0,
)  # fmt: skip
