"""What `/stats` says of a replica: load, memory, counters, histograms, adapters, drafts, measured costs."""

from __future__ import annotations

from typing import Any

from engine.replica.loaded import Loaded
from engine.replica.pooler import Pooler
from engine.replica.scheduler import ALONE_CHUNK_MS, SMALLEST_CHUNK_TOKENS, Scheduler
from engine.replica.speculation import SpeculationTotals


def load_figures(scheduler: Scheduler | None, pooler: Pooler | None) -> dict[str, Any]:
    """Running, waiting, and progress: its age, and the tokens evaluated so far, by which a supervisor tells a long
    prompt from a wedge. Zeros while there is nothing to run."""
    ages = [part.last_progress_age_s for part in (scheduler, pooler) if part is not None]
    return {
        "running": sum(part.running for part in (scheduler, pooler) if part is not None),
        "waiting": scheduler.waiting if scheduler else 0,
        "last_progress_age_s": round(max(ages, default=0.0), 3),
        "progress_tokens": scheduler.meters.progress_tokens if scheduler else 0,
    }


def figures(loaded: Loaded, scheduler: Scheduler) -> dict[str, Any]:
    """Everything at once; the units are in the names."""
    context, states = loaded.context, scheduler.memory.states
    return {
        "slots": context.slots,
        "free_slots": context.slots - scheduler.running,
        "kv_used_tokens": scheduler.memory.tokens_held(),
        "kv_capacity_tokens": context.capacity,
        "kv_shared": context.unified,
        "prefix_cache": {
            "ram_bytes": states.bytes_used,
            "ram_budget_bytes": states.budget_bytes,
            "ram_entries": states.entries,
            "ram_tokens": states.tokens_kept,
            "ram_hits": states.hits,
            "ram_evictions": states.evictions,
        },
        "counters": scheduler.meters.totals(),
        "histograms": scheduler.meters.histograms(),
        "speculation": speculation(loaded.speculation.totals),
        "adapters": [info.name for info in loaded.adapters.infos()],
        "model": model_facts(loaded),
        "device": device(loaded),
        "step_cost_ms": {str(width): round(ms, 3) for width, ms in loaded.costs.step_ms.items()},
        "verify_cost_ms": {str(width): round(ms, 3) for width, ms in loaded.costs.verify_ms.items()},
        "draft_token_ms": round(loaded.draft_model.step_ms, 3) if loaded.draft_model else None,
        "batch_invariant": loaded.costs.batch_invariant,
        "prefill_token_ms": round(loaded.costs.prefill_token_ms, 3),
        "thread_cost_ms": {str(count): round(ms, 3) for count, ms in sorted(loaded.costs.thread_ms.items())},
        "longest_call_ms": round(longest_call_ms(loaded), 3),
    }


def longest_call_ms(loaded: Loaded) -> float:
    """What one call takes at most by the measured costs: between two calls no progress can be seen from outside."""
    costs, smallest = loaded.costs, max(loaded.wide, SMALLEST_CHUNK_TOKENS)
    steps = [*costs.step_ms.values(), *costs.verify_ms.values()]
    return max(ALONE_CHUNK_MS, smallest * costs.prefill_token_ms, *steps)


def speculation(totals: SpeculationTotals) -> dict[str, Any]:
    """By source: drafts made, tokens drafted and accepted, and both by their position in the draft (from 0)."""
    return {
        str(source): {
            "drafts": one.drafts,
            "drafted": one.drafted,
            "accepted": one.accepted,
            "drafted_at": list(one.drafted_at),
            "accepted_at": list(one.accepted_at),
        }
        for source, one in totals.items()
    }


def model_facts(loaded: Loaded) -> dict[str, Any]:
    model = loaded.model
    return {
        "description": model.description,
        "parameters": model.parameters,
        "context_trained": model.context_trained,
        "context": loaded.context.length,
        "architecture": model.architecture,
        "vocabulary": model.vocabulary.size,
    }


def device(loaded: Loaded) -> dict[str, Any]:
    layout = loaded.layout
    return {
        "kind": "gpu" if layout.on_gpu else "cpu",
        "devices": layout.devices,
        "gpu_layers": loaded.model.layers + 1 if layout.gpu_layers < 0 else layout.gpu_layers,
        "threads": layout.threads,
        "flash_attention": loaded.context.flash_attention,
    }
