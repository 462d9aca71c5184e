"""The deployment shapes of the library: each preset for every model, by rule from what the catalogue knows of it. Pure.

Of the weights a preset takes the library's own file, but for FULL_PRECISION, which wants them prepared in 16 bits. What
differs is what a replica does with the memory beside them: many sequences, or long ones, and what drafts. Caches of a
replica stay within CACHE_BYTES, or the weights' size where that is more; of what they do not fit, RULES say what gives
way. A model whose file is not here yet has its shapes too: they follow from its catalogue entry alone.

Source of the names: https://docs.fireworks.ai (deployment shapes). A version is never changed: whoever changes RULES
gives what comes of it another version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any

from client.addon_types import DeploymentShape, DeploymentShapeVersion
from client.names import LIBRARY_ACCOUNT, Name
from engine.control import capacity
from engine.control.capacity import Estimate, Workload
from engine.models import catalogue, dimensions
from engine.models.catalogue import Entry
from engine.shapes import DRAFT_TOKENS_DEFAULT
from engine.units import GIB, gib

VERSION, MADE = "v1", datetime(2026, 11, 22, tzinfo=UTC)
CACHE_BYTES = 4 * GIB
DEVICE_BYTES = 20 * GIB  # of the smallest accelerator that the product names (L4, 24 GB), less what its driver keeps
CONTEXT_LEAST = 2048
_FULL_BYTES = 2  # of a weight in 16 bits
_NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rule:
    """One preset: at most so many sequences of at most so many tokens. `long`: where the caches do not fit, sequences
    give way before the context does, else after it. `drafts`: the model that is recommended for it drafts, if any;
    `settings` are those of the shape besides."""

    id: str
    label: str
    preset: str | None
    about: str
    sequences: int
    context_tokens: int
    long: bool = False
    chats: bool = False  # only of models with a chat template
    drafts: bool = False
    counted: bool = True  # its replica has one accelerator where that holds any; else as many as the engine finds
    settings: Mapping[str, Any] = field(default_factory=lambda: _NO_SETTINGS)


RULES = (
    Rule("minimal", "minimal", "MINIMAL", "The least memory.", 2, 2048),
    Rule("fast", "fast", "FAST", "Few sequences, each of which is quick.", 4, 8192, drafts=True),
    Rule("throughput", "throughput", "THROUGHPUT", "Many sequences at once: the most tokens of all.", 16, 2048),
    Rule(
        "full-precision", "full precision", "FULL_PRECISION",
        "Weights of 16 bits, prepared first, and caches of 16 bits: nothing is rounded beyond the library's own file.",
        4, 8192, settings={"precision": "FP16"},
    ),
    Rule(
        "agentic-coding", "agentic coding", "AGENTIC_CODING",
        "Long contexts, turn after turn of one session on one replica; what code repeats drafts itself.",
        4, 32_768, long=True, chats=True,
        settings={"ngram_speculation_length": 4, "draft_token_count": 12, "enable_session_affinity": True},
    ),
    Rule(
        "chat", "chat", "CHAT", "Conversations, each of which comes back to the replica that knows it.", 8, 4096,
        chats=True, settings={"enable_session_affinity": True},
    ),
    Rule(
        "summarization", "summarization", "SUMMARIZATION", "Long prompts, short answers.", 2, 32_768, long=True,
        counted=False, settings={"long_prompt": True},
    ),
    Rule(
        "addons", "with LoRA adapters", None, "Up to four adapters in a replica's memory at once.", 8, 2048,
        settings={"enable_addons": True, "num_lora_device_cached": 4},
    ),
)  # fmt: skip


@cache
def library_versions() -> tuple[DeploymentShapeVersion, ...]:
    """Every version of every shape of the library: of a model the smallest first, models as the catalogue has them."""
    return tuple(version for entry in catalogue.library() for version in versions_of(entry))


def versions_of(entry: Entry) -> Iterator[DeploymentShapeVersion]:
    """The shapes of one model."""
    for rule in RULES:
        if entry.supports_chat or not rule.chats:
            shape = _shape(rule, entry)
            yield DeploymentShapeVersion(
                name=f"{shape.name}/versions/{VERSION}", create_time=MADE, snapshot=shape, public=True
            )


def _shape(rule: Rule, entry: Entry) -> DeploymentShape:
    work = _work(rule, entry)
    settings = {**rule.settings, **_drafting(rule, entry)}
    size = _estimate(rule, entry, work, settings.get("draft_model"))
    if rule.counted and size.model_bytes <= DEVICE_BYTES:
        settings["accelerator_count"] = 1
    return DeploymentShape(
        name=str(Name(LIBRARY_ACCOUNT, "deploymentShapes", f"{entry.id}-{rule.id}")),
        base_model=entry.name,
        display_name=f"{entry.display_name}, {rule.label}",
        description=_described(rule, work, size, settings),
        preset_type=rule.preset,
        model_type=entry.architecture,
        parameter_count=str(entry.parameter_count),
        max_context_length=work.context_tokens,
        max_batch_size=work.slots,
        create_time=MADE,
        update_time=MADE,
        **settings,
    )


def _work(rule: Rule, entry: Entry) -> Workload:
    """As much of what the rule asks for as the caches have room for."""
    sizes = dimensions.expected(entry)
    room = max(CACHE_BYTES, sizes.weights_bytes)
    slots, context = rule.sequences, min(rule.context_tokens, entry.context_length or rule.context_tokens)
    while capacity.kv_bytes(sizes, Workload(slots, context)) > room and (slots > 1 or context > CONTEXT_LEAST):
        if slots > 1 and (rule.long or context <= CONTEXT_LEAST):
            slots //= 2
        else:
            context = max(CONTEXT_LEAST, context // 2)
    adapters = capacity.adapter_places(
        rule.settings.get("num_lora_device_cached", 0), addons=bool(rule.settings.get("enable_addons")), merged=False
    )
    return Workload(slots, context, adapters=adapters)


def _drafting(rule: Rule, entry: Entry) -> dict[str, Any]:
    """A model that is recommended to draft for it, or where there is none what the text itself repeats."""
    if not rule.drafts:
        return {}
    if not entry.recommended_drafts:
        return {"ngram_speculation_length": 3, "draft_token_count": 8}
    return {"draft_model": entry.recommended_drafts[0], "draft_token_count": DRAFT_TOKENS_DEFAULT}


def _estimate(rule: Rule, entry: Entry, work: Workload, draft: str | None) -> Estimate:
    """Of one replica, before any file is here."""
    sizes = dimensions.expected(entry)
    if "precision" in rule.settings:
        sizes = replace(sizes, weights_bytes=_FULL_BYTES * (entry.parameter_count or 0))
    return capacity.estimate(sizes, work, dimensions.expected(catalogue.find(draft)) if draft else None)


def _described(rule: Rule, work: Workload, size: Estimate, settings: Mapping[str, Any]) -> str:
    draft = settings.get("draft_model")
    by = f"{draft.rpartition('/')[2]} drafts where that pays. " if draft else ""
    if rule.drafts and not draft:
        by = "What the text repeats drafts where that pays. "
    count = f"{work.slots} sequence{'s' * (work.slots != 1)} of {work.context_tokens:,} tokens"
    takes = f"a replica takes about {gib(size.model_bytes + size.process_bytes)}"
    return f"{rule.about} {by}{count}; {takes}."
