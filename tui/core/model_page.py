"""The pages of models and of adapters as data: what there is, who uses it, and what it was asked for today. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from client.names import LIBRARY_ACCOUNT
from tui.core import precisions, units
from tui.core.columns import Column
from tui.core.lists import Entry, Listing
from tui.core.snapshot import Picture
from tui.core.states import Look, Tone

if TYPE_CHECKING:
    from client.addon_types import DeployedModel
    from client.types import Model
    from client.usage_tokens_types import TokenRow

_LOOKS = {
    "READY": Look("●", "READY", "healthy", 30), "UPLOADING": Look("◐", "UPLOADING", "working", 10),
    "DEPLOYED": Look("●", "DEPLOYED", "healthy", 30), "DEPLOYING": Look("◐", "DEPLOYING", "working", 10),
    "UPDATING": Look("◐", "UPDATING", "working", 11), "UNDEPLOYING": Look("▼", "UNLOADING", "attention", 12),
    "FAILED": Look("✖", "FAILED", "failed", 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Used:
    """A model and the deployments that have it, by their ids: as what they run, or as an adapter on them."""

    model: Model
    by: tuple[str, ...]
    today: date = date.min  # by its engine's clock


@dataclass(frozen=True, slots=True)
class OnDeployment:
    """An adapter on a deployment, and what it was asked for today; None where requests are not counted."""

    one: DeployedModel
    asked: TokenRow | None


_NOT_FETCHED = Look("○", "NOT FETCHED", "neutral", 40)
_NO_FILE = Look("✖", "NO FILE", "failed", 1)


def standing(model: Model) -> Look:
    """A READY model whose file is not here is no surprise in the library: a replica fetches it. One's own is lost."""
    file = model.firedeck
    if model.state != "READY" or file is None or not file.file or file.on_disk:
        return look(model.state)
    return _NOT_FETCHED if model.name.startswith(f"accounts/{LIBRARY_ACCOUNT}/") else _NO_FILE


def look(state: str) -> Look:
    return _LOOKS.get(state) or Look("?", state.removeprefix("STATE_"), "neutral", 60)


def short(name: str | None) -> str:
    return (name or "").rpartition("/")[2] or units.UNKNOWN


# Models.


def models(found: Iterable[Model], loaded: Iterable[DeployedModel], picture: Picture) -> tuple[Entry[Used], ...]:
    """The library's, then the account's own; deleted deployments use nothing."""
    users: dict[str, list[str]] = {}
    for status in picture.snapshot.deployments if picture.snapshot else []:
        if status.deployment.state != "DELETED" and status.deployment.base_model:
            users.setdefault(status.deployment.base_model, []).append(status.deployment.id)
    for one in loaded:
        if one.model and one.deployment and short(one.deployment) not in users.get(one.model, []):
            users.setdefault(one.model, []).append(short(one.deployment))
    today = picture.snapshot.time.astimezone(UTC).date() if picture.snapshot else date.min
    return tuple(Entry(model.name, Used(model, tuple(users.get(model.name, ())), today)) for model in found)


def _kind(row: Entry[Used]) -> str:
    if not row.what.model.is_adapter:
        return "base"
    details = row.what.model.peft_details
    return f"LoRA r{details.r} of {short(details.base_model)}" if details else "LoRA"


def _own(row: Entry[Used]) -> str:
    return "library" if row.name.startswith(f"accounts/{LIBRARY_ACCOUNT}/") else "own"


def _bytes(row: Entry[Used]) -> float | None:
    file = row.what.model.firedeck
    return None if file is None else file.size_bytes or file.expected_size_bytes


def _size(row: Entry[Used]) -> str:
    """That of a file which is not here yet, and whose size nobody has told, is about."""
    size, file = _bytes(row), row.what.model.firedeck
    if size is None or file is None:
        return units.UNKNOWN
    return f"{'' if file.size_bytes else '~'}{units.size(int(size))}"


def _precision(row: Entry[Used]) -> str:
    model = row.what.model
    file, base = model.firedeck, model.base_model_details
    return (file.quantization if file else None) or (base.default_precision if base else None) or units.UNKNOWN


def _day(row: Entry[Used]) -> date:
    """Those that do not end come after all that do."""
    return precisions.ends(row.what.model) or date.max


def _ends(row: Entry[Used]) -> str:
    return precisions.badge(precisions.ends(row.what.model), row.what.today)


def _ends_tone(row: Entry[Used]) -> Tone | None:
    day = precisions.ends(row.what.model)
    return None if day is None else "failed" if day <= row.what.today else "attention"


def _model_tone(row: Entry[Used]) -> Tone | None:
    return standing(row.what.model).tone


MODELS: Listing[Used] = Listing(
    "models", "models",
    (
        Column("model", "MODEL", lambda r: r.what.model.id, 0, 14, 40, "left"),
        Column("from", "FROM", _own, 2, 7, align="left"),
        Column("kind", "KIND", _kind, 1, 6, 40, "left"),
        Column("state", "STATE", lambda r: standing(r.what.model).text, 0, 7, None, "left", _model_tone,
               lambda r: standing(r.what.model).rank),
        Column("size", "SIZE", _size, 0, 7, value=_bytes),
        Column("precision", "PRECISION", _precision, 3, 9, 12, "left"),
        Column("prepared", "PREPARED", lambda r: precisions.prepared(r.what.model), 4, 8, 24, "left",
               lambda r: precisions.tone(r.what.model)),
        Column("ends", "DEPRECATED", _ends, 1, 10, None, "left", _ends_tone, lambda r: _day(r).isoformat()),
        Column("context", "CONTEXT", lambda r: units.count(r.what.model.context_length), 5, 7,
               value=lambda r: r.what.model.context_length),
        Column("used", "USED BY", lambda r: " ".join(r.what.by) or "nobody", 0, 8, 80, "left",
               value=lambda r: " ".join(r.what.by) or None),
    ),
    "no models", lambda r, now: _model_detail(r), 10.0,
)  # fmt: skip


def _path(file: str | None) -> str:
    """Where the file is on the engine's machine, short: `~/models/chat.gguf`, elsewhere its folder and name. `firedeck
    model get` has it whole."""
    if not file:
        return "no file"
    path = PurePath(file)
    if path.is_relative_to(Path.home()):
        return str("~" / path.relative_to(Path.home()))
    return str(PurePath("…", *path.parts[-2:])) if len(path.parts) > 3 else file


def _here(model: Model) -> str:
    if model.firedeck is not None and model.firedeck.on_disk:
        return "on disk"
    return "not here yet" if standing(model) is _NOT_FETCHED else "not on disk"


def fetched_first(model: Model) -> str:
    """What a replica of the model waits for where its file is not here yet; nothing of others."""
    return f"a replica fetches it first, or: firedeck model pull {model.id}" if standing(model) is _NOT_FETCHED else ""


def _model_detail(row: Entry[Used]) -> tuple[str, ...]:
    model = row.what.model
    file = model.firedeck
    where = "" if file is None else f"{_path(file.file)}, {_here(model)}"
    licence = f", licence {file.licence}" if file is not None and file.licence else ""
    deploy = f"firedeck deployment create {model.id}" if not model.is_adapter else f"firedeck load-lora {model.id}"
    lines = (
        f"{model.name}  {model.display_name or ''}".rstrip(), f"{where}{licence}".lstrip(), fetched_first(model),
        precisions.told(model),
        precisions.end_told(precisions.ends(model), row.what.today, serverless=bool(model.supports_serverless)), deploy,
    )  # fmt: skip
    return tuple(line for line in lines if line)


# Adapters: deployment x adapter.


def adapters(
    loaded: Iterable[DeployedModel], asked: Iterable[TokenRow], picture: Picture
) -> tuple[Entry[OnDeployment], ...]:
    """Every adapter on every deployment; a deployment's own base model is none."""
    counted = {(row.deployment, row.adapter): row for row in asked if row.adapter}
    statuses = picture.snapshot.deployments if picture.snapshot else []
    bases = {status.deployment.name: status.deployment.base_model for status in statuses}
    return tuple(
        Entry(one.name, OnDeployment(one, _asked(counted, one)), one.deployment or "")
        for one in loaded
        if one.model != bases.get(one.deployment or "")
    )


def _asked(counted: Mapping[tuple[str | None, str], TokenRow], one: DeployedModel) -> TokenRow | None:
    """Usage names an adapter by its id or in full."""
    return counted.get((one.deployment, one.model or "")) or counted.get((one.deployment, short(one.model)))


def _state_tone(row: Entry[OnDeployment]) -> Tone | None:
    return look(row.what.one.state).tone


def _requests(row: Entry[OnDeployment]) -> float | None:
    return None if row.what.asked is None else row.what.asked.requests


def _failed(row: Entry[OnDeployment]) -> float | None:
    return None if row.what.asked is None else row.what.asked.failed_requests


def _failed_tone(row: Entry[OnDeployment]) -> Tone | None:
    return "failed" if _failed(row) else None


def _count(value: float | None) -> str:
    return units.count(None if value is None else int(value))


ADAPTERS: Listing[OnDeployment] = Listing(
    "adapters", "adapters",
    (
        Column("deployment", "DEPLOYMENT", lambda r: short(r.what.one.deployment), 0, 10, 28, "left"),
        Column("adapter", "ADAPTER", lambda r: short(r.what.one.model), 0, 10, 36, "left"),
        Column("state", "STATE", lambda r: look(r.what.one.state).text, 0, 10, 11, "left", _state_tone,
               lambda r: look(r.what.one.state).rank),
        Column("default", "DEFAULT", lambda r: "yes" if r.what.one.default else "", 3, 7, align="left"),
        Column("requests", "REQUESTS TODAY", lambda r: _count(_requests(r)), 1, 14, value=_requests),
        Column("failed", "FAILED", lambda r: _count(_failed(r)), 1, 6, tone=_failed_tone, value=_failed),
        Column("problem", "WHY", lambda r: (r.what.one.status.message if r.what.one.status else "") or "", 2, 10, 200,
               "left", _state_tone),
    ),
    "no adapter is on a deployment; load one with: firedeck load-lora ADAPTER --deployment ID",
    lambda r, now: tuple(_adapter_detail(r)), 5.0,
)  # fmt: skip


def _adapter_detail(row: Entry[OnDeployment]) -> Iterator[str]:
    one = row.what.one
    yield f"ask it as {one.model}#{one.deployment}"
    problem = one.status.message if one.status else ""
    yield problem or f"take it off in the matrix (:matrix), or with: firedeck unload-lora {one.id}"
