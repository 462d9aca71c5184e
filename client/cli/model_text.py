"""A model as firectl's `get` prints it: what it is, what its file is, and where that came from."""

from __future__ import annotations

from collections.abc import Iterator

from client.cli import output as out
from client.cli import precisions
from client.model_types import BaseModelDetails, Model, ModelFile, PeftDetails
from client.stages import known, local_time


def text(m: Model) -> str:
    """`Key: value`, what is not known left out, and below it the precisions that it was prepared in."""
    file, details = m.firedeck or ModelFile(), m.base_model_details or BaseModelDetails()
    told = (*_life(m), *_weights(m, file, details), *_adapter(m.peft_details), *_use(m), *_file(file))
    prepared = precisions.text(m)
    return out.lines((key, value) for key, value in told if value) + (f"\n{prepared}" if prepared else "")


def show(m: Model, output: str) -> None:
    """One model in the form that was asked for."""
    if output == "text":
        out.say(text(m))
    else:
        out.show(m, out.MODEL_HEADER, out.model_row, output)


def _life(m: Model) -> Iterator[tuple[str, str]]:
    yield "Name", m.name
    yield "Display Name", (m.display_name or "") if m.display_name != m.id else ""
    yield "Description", m.description or ""
    yield "Create Time", local_time(m.create_time) if m.create_time else ""
    yield "State", known(m.state)
    yield "Status", f"{m.status.code} {m.status.message}".strip() if m.status else ""
    yield "Kind", known(m.kind)


def _weights(m: Model, file: ModelFile, details: BaseModelDetails) -> Iterator[tuple[str, str]]:
    yield "Parameters", out.parameters(details)
    yield "Architecture", f"{file.architecture}, a mixture of experts" if details.moe else file.architecture or ""
    yield "Precision", file.quantization or ""
    yield "Supported Precisions", ", ".join(m.supported_precisions or ())
    yield "Size", out.file_size(file)
    yield "Context", str(m.context_length or "")


def _adapter(details: PeftDetails | None) -> Iterator[tuple[str, str]]:
    if details is not None:
        yield "Base Model", details.base_model
        yield "Rank", str(details.r or "")
        yield "Target Modules", ", ".join(details.target_modules)


def _use(m: Model) -> Iterator[tuple[str, str]]:
    if not m.is_adapter:
        yield "Chat", "yes" if m.use_hf_apply_chat_template else "no"
    yield "Public", "yes" if m.public else "no"
    yield "Serverless", "yes" if m.supports_serverless else ""
    day = m.deprecation_date
    yield "Deprecation Date", f"{day.year}-{day.month or 1:02}-{day.day or 1:02}" if day and day.year else ""
    yield "Draft Model", m.default_draft_model or ""
    yield "Deployed As", ", ".join(ref.name for ref in m.deployed_model_refs or ())


def _file(file: ModelFile) -> Iterator[tuple[str, str]]:
    yield "Recommended Drafts", ", ".join(file.recommended_drafts or ())
    yield "Licence", file.licence or ""
    yield "Source", file.source or ""
    yield "Revision", file.revision or ""
    yield "SHA-256", file.digest or ""
    yield "File", file.file or ""
    yield "On Disk", "yes" if file.on_disk else "no"
