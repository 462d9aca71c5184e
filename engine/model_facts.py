"""Models as they are shown: from the library's catalogue, or from a checked file."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from client.errors import InvalidArgument
from client.model_types import ConversationConfig
from client.types import READY, BaseModelDetails, Model, ModelFile, PreparedPrecision
from engine.model_rules import LORA
from engine.models import fetch, gguf, origin, own_adapters, own_models
from engine.models.catalogue import Entry
from engine.precision import own as own_precisions


def listed(entry: Entry) -> Model:
    """A model of the library, whether its file is here yet or not."""
    kept = fetch.origin_of(entry)
    expected = entry.expected_bytes or None
    size = entry.size_bytes or (kept.size_bytes if kept else None)
    return Model(
        name=entry.name,
        display_name=entry.display_name,
        description=entry.description,
        context_length=entry.context_length,
        public=True,
        supports_lora=True,
        use_hf_apply_chat_template=entry.supports_chat,
        supports_tools=entry.supports_chat,
        supported_precisions=own_precisions(entry.quantization),
        base_model_details=BaseModelDetails(
            parameter_count=str(entry.parameter_count) if entry.parameter_count else None,
            model_type=entry.architecture,
            moe=entry.moe,
        ),
        firedeck=ModelFile(
            file=str(fetch.path_of(entry)), size_bytes=size, expected_size_bytes=None if size else expected,
            digest=entry.sha256 or (kept.sha256 if kept else None),
            quantization=entry.quantization, architecture=entry.architecture, licence=entry.license,
            on_disk=fetch.is_present(entry), recommended_drafts=list(entry.recommended_drafts) or None,
            source=entry.origin_text, revision=kept.revision or None if kept else None,
        ),
    )  # fmt: skip


def with_file_state(model: Model) -> Model:
    """The model as it is now: its file may have been moved away since it was registered."""
    file = model.firedeck
    if file is None or not file.file:
        return model
    return model.model_copy(update={"firedeck": file.model_copy(update={"on_disk": Path(file.file).exists()})})


def with_prepared(model: Model, made: list[PreparedPrecision]) -> Model:
    """The model with what was prepared of it, which counts as supported once it is READY."""
    if not made or model.firedeck is None:
        return model
    ready = [one.precision for one in made if one.state == READY]
    supported = [*(model.supported_precisions or ()), *ready]
    file = model.firedeck.model_copy(update={"prepared": made})
    return model.model_copy(update={"supported_precisions": supported, "firedeck": file})


def without_prepared(model: Model) -> Model:
    """The model without what was prepared of it: that has records of its own, and may be gone one day."""
    file = model.firedeck
    if file is None or file.prepared is None:
        return model
    own = own_precisions(file.quantization)
    return model.model_copy(
        update={"supported_precisions": own, "firedeck": file.model_copy(update={"prepared": None})}
    )


def of_base(declared: Model, checked: own_models.OwnModel, now: datetime) -> Model:
    """`declared` with what its checked file says."""
    info, kept = checked.info, origin.of(checked.path)
    return declared.model_copy(
        update={
            "display_name": declared.display_name or info.name or declared.id,
            "state": "READY",
            "update_time": now,
            "context_length": info.context_length,
            "use_hf_apply_chat_template": info.has_chat_template,
            "supports_tools": info.has_chat_template,
            "supports_lora": True,
            "supported_precisions": own_precisions(info.quantization),
            "conversation_config": _conversation(info.conversation) or declared.conversation_config,
            "default_sampling_params": _numbers(info.defaults),
            "base_model_details": BaseModelDetails(
                parameter_count=str(info.parameter_count), model_type=info.architecture, moe=bool(info.expert_count)
            ),
            "firedeck": ModelFile(
                file=str(checked.path), size_bytes=info.size_bytes, digest=checked.sha256,
                quantization=info.quantization, architecture=info.architecture, licence=info.license, on_disk=True,
                revision=kept.revision or None if kept and kept.sha256 == checked.sha256 else None,
            ),
        }
    )  # fmt: skip


def lacks_facts(model: Model) -> bool:
    """Whether it was made by a firedeck that did not ask its file whether it is a mixture of experts."""
    details = model.base_model_details
    return model.state == READY and details is not None and details.moe is None and model.firedeck is not None


def completed(model: Model) -> Model:
    """The model with what its file says of experts, as long as that is the file that was checked; else as it is.

    Reads the file's header: call it from a thread."""
    details, file = model.base_model_details, model.firedeck
    if details is None or file is None or not file.file:
        return model
    try:
        info = gguf.read(Path(file.file))
    except (OSError, InvalidArgument):
        return model
    if info.size_bytes != file.size_bytes or str(info.parameter_count) != details.parameter_count:
        return model
    return model.model_copy(update={"base_model_details": details.model_copy(update={"moe": bool(info.expert_count)})})


def _conversation(told: str | None) -> ConversationConfig | None:
    """As the file has it, but for its template; None where it says nothing that can be read."""
    found = _parsed(told)
    style, system = found.get("style"), found.get("system")
    return (
        ConversationConfig(style=style, system=system if isinstance(system, str) else None)
        if isinstance(style, str)
        else None
    )


def _numbers(told: str | None) -> dict[str, float] | None:
    """The defaults that are numbers: the wire has no others."""
    kept = {name: float(value) for name, value in _parsed(told).items() if type(value) in (int, float)}
    return kept or None


def _parsed(told: str | None) -> dict[str, Any]:
    try:
        found = json.loads(told) if told else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def of_adapter(declared: Model, checked: own_adapters.OwnAdapter, now: datetime) -> Model:
    """`declared`, which names its base, with what its checked file says."""
    assert declared.peft_details is not None
    facts = checked.facts
    details = declared.peft_details.model_copy(
        update={"r": facts.rank, "target_modules": checked.target_modules, "base_model_type": facts.architecture}
    )
    return declared.model_copy(
        update={
            "display_name": declared.display_name or declared.id,
            "kind": LORA,
            "state": "READY",
            "update_time": now,
            "peft_details": details,
            "firedeck": ModelFile(
                file=str(checked.path), size_bytes=facts.size_bytes, digest=facts.digest,
                architecture=facts.architecture, on_disk=True,
            ),
        }
    )  # fmt: skip
