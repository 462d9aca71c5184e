"""One loaded model and all that serves it: what the loading thread puts together and the scheduler works with."""

from __future__ import annotations

from dataclasses import dataclass

from engine.replica.adapters import Adapters
from engine.replica.costs import CostTable
from engine.replica.hardware import Layout
from engine.replica.llama import Context, Model
from engine.replica.speculation import DraftModel, SharedSpeculation, SpeculationSettings


@dataclass(frozen=True, slots=True)
class Loaded:
    """`prefix_bytes`: RAM for saved prefixes and preempted sequences. `adapter_sequences`: how many running sequences
    may use adapters at once (maxPeftBatchSize), None for all. `wide`: see hardware.Layout; 1 where text is not
    independent of the batch anyway."""

    model: Model
    context: Context
    costs: CostTable
    adapters: Adapters
    speculation: SharedSpeculation
    drafting: SpeculationSettings
    draft_model: DraftModel | None
    layout: Layout
    prefix_bytes: int
    adapter_sequences: int | None = None
    wide: int = 1
