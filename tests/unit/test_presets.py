"""The library's shapes by rule: of every model each preset, from what the catalogue knows of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client.addon_types import DeploymentShape
from client.enums import PRESET_TYPES, said
from engine import presets, shapes
from engine.control import capacity
from engine.control.capacity import Workload
from engine.models import catalogue, dimensions, fetch
from engine.models.catalogue import Entry
from engine.units import GIB

ALWAYS = {"MINIMAL", "FAST", "THROUGHPUT", "FULL_PRECISION", "SUMMARIZATION", None}
CHATS = {"CHAT", "AGENTIC_CODING"}
SMOLLM2 = catalogue.find("smollm2-135m-instruct")
LARGE = catalogue.find("llama-v3p3-70b-instruct")


def shapes_of(entry: Entry) -> dict[str, DeploymentShape]:
    return {
        one.snapshot.name.removeprefix(f"{shapes.PREFIX}{entry.id}-"): one.snapshot
        for one in presets.versions_of(entry)
    }


def parameters(entry: Entry, *, tied: bool) -> int:
    """Of a decoder of these sizes, by what the architectures are published to have."""
    kind, sizes = entry.architecture or "", entry.sizes
    assert sizes is not None
    width, queries, keys = sizes.embedding, sizes.heads * sizes.head_size, sizes.kv_heads * sizes.head_size
    norms = (4 if kind.startswith("gemma") else 2) * width
    head_norms = 2 * sizes.head_size if kind in ("qwen3", "gemma3") else 0
    biases = queries + 2 * keys if kind == "qwen2" else 0
    layer = 2 * width * (queries + keys) + 3 * width * sizes.feed_forward + norms + head_norms + biases
    return (1 if tied else 2) * sizes.vocabulary * width + width + sizes.layers * layer


@pytest.mark.parametrize("entry", catalogue.library(), ids=lambda entry: entry.id)
def test_the_sizes_of_a_model_are_those_that_its_parameters_come_of(entry: Entry) -> None:
    assert entry.parameter_count in {parameters(entry, tied=tied) for tied in (True, False)}


@pytest.mark.parametrize("entry", catalogue.embedded(), ids=lambda entry: entry.id)
def test_what_is_expected_of_a_file_is_what_it_says_once_it_is_here(entry: Entry) -> None:
    assert dimensions.expected(entry) == dimensions.read(fetch.path_of(entry))


@pytest.mark.parametrize("entry", catalogue.library(), ids=lambda entry: entry.id)
def test_every_model_has_a_shape_for_each_preset_and_one_for_adapters(entry: Entry) -> None:
    found = shapes_of(entry)
    assert {one.preset_type for one in found.values()} == ALWAYS | (CHATS if entry.supports_chat else set())
    assert {*said(PRESET_TYPES), None} == ALWAYS | CHATS
    assert [name for name, one in found.items() if one.enable_addons] == ["addons"]
    assert all(one.precision is None for name, one in found.items() if name != "full-precision")
    for version in presets.versions_of(entry):
        shapes.check_alone(version)


@pytest.mark.parametrize("entry", catalogue.library(), ids=lambda entry: entry.id)
def test_caches_stay_within_their_room_and_contexts_within_the_models(entry: Entry) -> None:
    sizes = dimensions.expected(entry)
    room = max(presets.CACHE_BYTES, entry.expected_bytes)
    for shape in shapes_of(entry).values():
        slots, context = shape.max_batch_size or 0, shape.max_context_length or 0
        assert presets.CONTEXT_LEAST <= context <= (entry.context_length or 0)
        assert capacity.kv_bytes(sizes, Workload(slots, context)) <= room


def test_what_is_recommended_to_draft_does_so_in_fast_and_else_what_the_text_repeats() -> None:
    for entry in catalogue.library():
        fast = shapes_of(entry)["fast"]
        given = (fast.draft_model, fast.draft_token_count, fast.ngram_speculation_length)
        wanted = (entry.recommended_drafts[0], 4, None) if entry.recommended_drafts else (None, 8, 3)
        assert given == wanted, entry.id
        assert "drafts where that pays" in (fast.description or ""), entry.id


def test_long_presets_give_up_sequences_and_others_context() -> None:
    heavy = replace(SMOLLM2, context_length=131_072, sizes=replace(LARGE.sizes, layers=40))  # type: ignore[type-var]
    found = {name: (one.max_batch_size, one.max_context_length) for name, one in shapes_of(heavy).items()}
    assert (found["agentic-coding"], found["summarization"]) == ((1, 16_384), (1, 16_384))
    assert (found["fast"], found["chat"], found["throughput"]) == ((4, 4096), (8, 2048), (8, 2048))


def test_a_replica_that_one_accelerator_may_not_hold_leaves_their_count_open() -> None:
    assert {one.accelerator_count for one in shapes_of(LARGE).values()} == {None}
    small = {name: one.accelerator_count for name, one in shapes_of(SMOLLM2).items()}
    assert {name for name, count in small.items() if count is None} == {"summarization"}, "longPrompt takes two"


def test_a_description_says_what_a_replica_takes() -> None:
    told = shapes_of(LARGE)["full-precision"].description or ""
    assert told.endswith("4 sequences of 8,192 tokens; a replica takes about 142.01 GiB.")
    assert float(told.split("about ")[1].split()[0]) * GIB > 2 * (LARGE.parameter_count or 0)


def test_versions_that_are_out_never_change() -> None:
    """What deployments were made with, and say that they have."""
    one = {"accelerator_count": 1}
    ngram = {"ngram_speculation_length": 3, "draft_token_count": 8}
    coding = {"ngram_speculation_length": 4, "draft_token_count": 12, "enable_session_affinity": True}
    first = {
        "minimal": (2, 2048, one), "fast": (4, 8192, one | ngram), "throughput": (16, 2048, one),
        "addons": (8, 2048, one | {"enable_addons": True, "num_lora_device_cached": 4}),
        "full-precision": (4, 8192, one | {"precision": "FP16"}), "agentic-coding": (4, 8192, one | coding),
        "summarization": (2, 8192, {"long_prompt": True}), "chat": (8, 4096, one | {"enable_session_affinity": True}),
    }  # fmt: skip
    kept = set(DeploymentShape.model_fields) - {
        "name", "base_model", "display_name", "description", "preset_type", "create_time", "update_time", "model_type",
        "parameter_count",
    }  # fmt: skip
    for name, shape in shapes_of(SMOLLM2).items():
        slots, context, rest = first[name]
        set_there = {field: getattr(shape, field) for field in kept if getattr(shape, field) is not None}
        assert set_there == {"max_batch_size": slots, "max_context_length": context, **rest}, name
    assert {one.name.rpartition("/")[2] for one in presets.versions_of(SMOLLM2)} == {"v1"}
