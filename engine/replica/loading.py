"""What text generation needs around a model: context, measured costs, adapters, draft model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.replica import cost_memory, costs, hardware, llama
from engine.replica.adapters import Adapters
from engine.replica.hardware import Layout
from engine.replica.loaded import Loaded
from engine.replica.settings import Settings
from engine.replica.speculation import DraftModel, SharedSpeculation

MIB = 1024 * 1024
DRAFT_BATCH_TOKENS = 256


def load(settings: Settings, layout: Layout, model: llama.Model) -> Loaded:
    """Everything that text generation needs around a model. Raises LoadError."""
    context = llama.Context(model, _shape(settings, layout, model))
    table = _costs(settings, layout, model, context)
    layout = replace(layout, threads=table.threads, tune=False)
    context.use_threads(layout.threads)  # where the choice was remembered, nothing has set it yet
    draft_model = _draft_model(settings, layout, model, context.length)
    return Loaded(
        model=model,
        context=context,
        costs=table,
        adapters=Adapters(model, Path(settings.model_path), max_cached=settings.adapters_cached),
        speculation=SharedSpeculation(table.verify, draft_model),
        drafting=settings.drafting,
        draft_model=draft_model,
        layout=layout,
        prefix_bytes=settings.prefix_ram_mib * MIB,
        adapter_sequences=settings.adapter_sequences,
        wide=layout.wide if table.batch_invariant else 1,
    )


def free(loaded: Loaded) -> None:
    """Give everything but the model back. Nothing of `loaded` may be used afterwards."""
    if loaded.draft_model is not None:
        loaded.draft_model.close()
    loaded.context.close()


def _shape(settings: Settings, layout: Layout, model: llama.Model) -> llama.Shape:
    return llama.Shape(
        slots=settings.slots,
        context=min(settings.context, model.context_trained),  # past the trained length a model writes garbage
        threads=layout.threads,
        batch=layout.batch,
        rows=layout.rows,
        kv_tokens=settings.kv_tokens,
    )


def _costs(settings: Settings, layout: Layout, model: llama.Model, context: llama.Context) -> costs.CostTable:
    """Measured here, or remembered from an earlier replica of the same kind."""
    key = cost_memory.fingerprint(
        Path(settings.model_path), slots=settings.slots, context=context.length, capacity=context.capacity,
        threads=layout.threads, tune=layout.tune, gpu_layers=layout.gpu_layers, devices=layout.devices,
        accelerators=llama.accelerators(), build=llama.build(),
    )  # fmt: skip
    file = Path(settings.costs_file) if settings.costs_file else None
    token = max(model.vocabulary.bos, 0)
    return cost_memory.recall_or_measure(file, key, lambda: costs.measure(context, token, tune=layout.tune))


def _draft_model(settings: Settings, layout: Layout, model: llama.Model, context_length: int) -> DraftModel | None:
    path = settings.drafting.draft_model_path
    if path is None or not settings.drafting.uses_draft_model:
        return None
    draft = llama.Model(path, gpu_layers=layout.gpu_layers, tensor_split=hardware.tensor_split(layout))
    shape = llama.Shape(
        slots=settings.slots,
        context=min(context_length, draft.context_trained),
        threads=layout.threads,
        batch=min(layout.batch, DRAFT_BATCH_TOKENS),
    )
    return DraftModel(draft, model.vocabulary, shape=shape)
