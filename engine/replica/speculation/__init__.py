"""Speculation: guess the next tokens cheaply, let the model check the guess in one call, never lose by it.

settings     what a deployment asks for
predicted    drafts from the text a client expects      ngram   drafts from the request's own text
draft_model  drafts from a smaller model
pricing      how many tokens pay                         ledger  what may be lost on finding out
sources      each source with its record                 shared  what all requests of a replica share
speculator   one request: propose, verified, advance     totals  counts for telemetry
"""

from __future__ import annotations

from collections.abc import Hashable

from engine.replica.job import DraftCounts
from engine.replica.speculation.draft_model import DraftModel, check_vocabulary
from engine.replica.speculation.ngram import NgramIndex
from engine.replica.speculation.predicted import PredictedText
from engine.replica.speculation.settings import MAX_DRAFT_TOKENS, SpeculationSettings
from engine.replica.speculation.shared import SharedSpeculation
from engine.replica.speculation.sources import Lookup
from engine.replica.speculation.speculator import NOTHING, Proposal, Speculator
from engine.replica.speculation.totals import POSITIONS, Source, SourceTotals, SpeculationTotals

__all__ = [
    "MAX_DRAFT_TOKENS",
    "NOTHING",
    "POSITIONS",
    "DraftModel",
    "Proposal",
    "SharedSpeculation",
    "Source",
    "SourceTotals",
    "SpeculationSettings",
    "SpeculationTotals",
    "Speculator",
    "begin",
    "check_vocabulary",
]


def begin(
    shared: SharedSpeculation,
    settings: SpeculationSettings,
    *,
    prompt: list[int],
    prediction: list[int],
    counts: DraftCounts,
    scope: Hashable = (),
) -> Speculator | None:
    """The speculator of a request, or None when nothing could draft for it. `scope`: as of the prefix cache."""
    records, limit = shared.records, settings.drafted_tokens
    lookups = []
    if prediction:
        follower = PredictedText(prediction)
        lookups.append(Lookup(Source.PREDICTION, follower, records[Source.PREDICTION], MAX_DRAFT_TOKENS))
    if settings.uses_ngrams:
        index = NgramIndex(settings.ngram_length, prompt)
        lookups.append(Lookup(Source.NGRAM, index, records[Source.NGRAM], limit))
    drafting = shared.acquire(prompt, scope, limit) if settings.uses_draft_model else None
    return Speculator(shared, lookups, drafting, counts) if lookups or drafting is not None else None
