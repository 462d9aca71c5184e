"""What a valid model is, and what of it may change. Pure functions over wire types.

Source: https://docs.fireworks.ai (uploading models) and the SDK's field documentation.
"""

from __future__ import annotations

from typing import Any

from client.enums import STRICT
from client.errors import FailedPrecondition, InvalidArgument
from client.model_types import MODEL_OUTPUT_ONLY, Model
from engine import deprecation, masks
from engine.access import bodies
from engine.models.customized import Conversation, conversation
from engine.wire_paths import find

LORA = "HF_PEFT_ADDON"
SERVED_KINDS = frozenset({"HF_BASE_MODEL", "CUSTOM_MODEL", "EMBEDDING_MODEL", "DRAFT_ADDON", LORA})
# What the file says, or what the deployments that stand on it rest on.
FIXED = frozenset({
    "kind", "peft_details", "context_length", "base_model_details", "use_hf_apply_chat_template", "conversation_config",
})  # fmt: skip


def read(body: Any) -> Model:
    """The model in a request's body; unknown fields and wrong types are refused by name."""
    if not isinstance(body, dict):
        raise InvalidArgument("model must be a JSON object", field="model")
    spec = bodies.without(bodies.read(body, Model, STRICT), MODEL_OUTPUT_ONLY)
    _check(spec)
    return spec


def check_new(spec: Model) -> None:
    """What only a new model must have."""
    if spec.kind == LORA and spec.peft_details is None:
        raise InvalidArgument(
            "peftDetails is required for an adapter", field="model.peftDetails", hint="name its baseModel there"
        )


def check_described(spec: Model) -> None:
    """What may be said of a model whose file is here already: nothing that the file says."""
    if told := sorted(FIXED & spec.model_fields_set):
        field = _wire(told[0])
        raise InvalidArgument(f"{field} is what the file says", field=f"model.{field}", hint="leave it out")


def updated(current: Model, changes: Model, paths: frozenset[str] | None) -> Model:
    """`current` with the fields of the mask `paths`, or else those that `changes` sets."""
    taken: dict[str, Any] = {}
    for path in sorted(changes.model_fields_set if paths is None else paths):
        leaf = find(Model, path)
        if leaf is None or leaf.names[0] in MODEL_OUTPUT_ONLY:
            raise InvalidArgument(f"unknown field {path[:80]!r} in the update mask", field="updateMask")
        top, *below = leaf.names
        kind = find(Model, top)
        fresh = kind.kind if kind and kind.is_message else None
        taken[top] = masks.taken(taken.get(top, getattr(current, top)), getattr(changes, top), below, fresh)
    for field in FIXED & taken.keys():
        if taken[field] != getattr(current, field):
            raise InvalidArgument(
                f"{_wire(field)} cannot be changed after creation", field=_wire(field), hint="make a new model"
            )
    return current.model_copy(update=taken)


def _check(spec: Model) -> None:
    deprecation.day_of(spec.deprecation_date)
    if spec.kind not in SERVED_KINDS:
        raise FailedPrecondition(
            f"models of kind {spec.kind} are not served",
            field="kind",
            hint=f"served: {', '.join(sorted(SERVED_KINDS))}",
        )
    conversation_of(spec)


def conversation_of(spec: Model) -> Conversation | None:
    """How a model is to be talked with, if that was said. FailedPrecondition for a style that is not served."""
    given = spec.conversation_config
    if given is None:
        return None
    return conversation(given.style, given.template, given.system, "conversationConfig")


def _wire(field: str) -> str:
    return Model.model_fields[field].alias or field
