"""`/v1/accounts/{account}/models`, and firedeck's own way to register a file of this machine."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from client.access_types import ADMIN
from client.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from client.model_types import DeployedModelRef, Model, ModelPage
from client.names import LIBRARY_ACCOUNT, Name
from engine import deprecation, model_rules
from engine.api.common import (
    Body,
    Caller,
    HouseDep,
    Listing,
    ReadMask,
    UpdateMask,
    ValidateOnly,
    documented_body,
    object_body,
    shown,
)
from engine.api.listing import page
from engine.house import House
from engine.keys import Principal
from engine.masks import update_paths
from engine.models.fetch import models_dir
from engine.preparing import sources
from engine.serverless import is_shared, until

router = APIRouter(tags=["models"])
_MODELS = "/v1/accounts/{account}/models"
_ONE = _MODELS + "/{model_id}"


@router.get(_MODELS, response_model=ModelPage)
async def list_models(
    account: str,
    house: HouseDep,
    caller: Caller,
    query: Listing,
    include_refs: Annotated[bool, Query(alias="includeDeployedModelRefs")] = False,
    show_internal: Annotated[bool, Query(alias="showInternal", description="no effect: no model is internal")] = False,
) -> Response:
    """The account's models; `fireworks` owns the library."""
    items = [_as_seen_by(caller, model) for model in house.library.list(account)]
    told = _with_refs(house, items, caller.account, include=include_refs)
    found, token, total = page(told, **asdict(query), default_order="name", kind=Model)
    return shown(ModelPage(models=found, next_page_token=token, total_size=total), query.read_mask, "models")


@router.post(_MODELS, response_model=Model, openapi_extra=documented_body("ModelCreateBody"))
async def create(account: str, body: Body, house: HouseDep, caller: Caller) -> Response:
    """`{"modelId", "model"}`: a model whose files are still to be uploaded (UPLOADING). See `:getUploadEndpoint`."""
    fields = object_body(body, "modelId", "model", "cluster")
    model_id = _text(fields.get("modelId"), "modelId")
    spec = model_rules.read(fields.get("model") or {})
    model_rules.check_new(spec)
    if spec.default_draft_model:
        house.library.get(spec.default_draft_model, "model.defaultDraftModel")
    return shown(await house.library.declare(account, model_id, spec))


@router.get(_ONE, response_model=Model)
async def get(account: str, model_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """A model, with where it is deployed; a public one of another account too."""
    name = _name(account, model_id)
    if not house.library.is_public(name):
        caller.may(account, write=False)
    found = _as_seen_by(caller, house.library.get(name, "name"))
    [told] = _with_refs(house, [found], caller.account)
    return shown(told, read_mask)


@router.patch(_ONE, response_model=Model, openapi_extra=documented_body("ModelSpec"))
async def update(
    account: str,
    model_id: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    update_mask: UpdateMask = "",
    validate_only: ValidateOnly = False,
) -> Response:
    """Only the fields of `updateMask` change; without a mask, only those that the body has. With `validateOnly` (ours)
    what it would be."""
    current = house.library.get(_name(account, model_id), "name")
    changed = model_rules.updated(current, model_rules.read(body), update_paths(update_mask))
    if changed.default_draft_model:
        house.library.get(changed.default_draft_model, "defaultDraftModel")
    now = house.fleet.rooms.clock.wall()
    deprecation.check_notice(current, changed, now.date())
    planned = changed.model_copy(update={"update_time": now})
    kept = planned if validate_only else await house.library.put(planned)
    [told] = _with_refs(house, [_as_seen_by(caller, kept)], caller.account)
    return shown(told)


@router.delete(_ONE)
async def delete(
    account: str, model_id: str, house: HouseDep, caller: Caller, validate_only: ValidateOnly = False
) -> dict[str, Any]:
    """Forget a model (a file that was registered stays where it is); refused while a deployment uses it. `validateOnly`
    (ours) only checks."""
    name = _name(account, model_id)
    if house.library.has(name):
        deprecation.check_removable(house.library.get(name), house.fleet.rooms.clock.wall().date())
    users = [*house.fleet.uses(name), *(str(ref.deployment) for ref in house.fleet.deployed.of_model(name))]
    if users:
        used = ", ".join(dict.fromkeys(users))
        raise FailedPrecondition(f"{name} is used by {used}", field="name", hint="delete those first")
    if validate_only:
        house.library.check_delete(name)
        return {}
    await house.library.delete(name)
    await house.preparations.forget(name)
    house.uploads.forget(name)
    return {}


@router.post(_ONE + ":prepare", openapi_extra=documented_body("PrepareBody"))
async def prepare(account: str, model_id: str, body: Body, house: HouseDep, caller: Caller) -> dict[str, Any]:
    """`{"precision"}`: make the model in this precision, beside its own file. It goes on after the answer; what came of
    it stands in `firedeck.prepared` of the model, and once it is READY in `supportedPrecisions`. AUTO prepares all
    that deployments with AUTO choose from."""
    model = house.library.get(_name(account, model_id), "name")
    await house.preparations.ask(model, object_body(body, "precision").get("precision"))
    return {}


@router.post(_ONE + ":import", openapi_extra=documented_body("AnyBody"))
async def import_model(account: str, model_id: str, body: Body, caller: Caller) -> dict[str, Any]:
    """Not served: this engine reaches no object store."""
    raise FailedPrecondition(
        "models are not imported from object stores",
        hint="fetch the file and register it: firedeck model create ID --file PATH",
    )


@router.post("/firedeck" + _MODELS, response_model=Model, openapi_extra=documented_body("ModelFileBody"))
async def create_from_file(account: str, body: Body, house: HouseDep, caller: Caller) -> Response:
    """Register a GGUF file that lies on the engine's machine: `{"modelId", "file", "displayName"?, "baseModel"?,
    "model"?}`, the last of it with what the file does not say.

    A LoRA adapter needs `baseModel`, the model that it was trained on. `file` may be a folder, of which the engine
    makes a GGUF file: an adapter's that PEFT has saved (`adapter_config.json` and `adapter_model.safetensors`), or that
    of a model that transformers have saved (`config.json`, `tokenizer.json` and safetensors).
    Admins may register any file, others those of the engine's model folders: of other files they learn nothing, not
    even whether there are such.
    """
    fields = object_body(body, "modelId", "file", "displayName", "baseModel", "model")
    model_id, file = _text(fields.get("modelId"), "modelId"), _text(fields.get("file"), "file")
    display_name, base_model = fields.get("displayName"), fields.get("baseModel")
    if display_name is not None and (not isinstance(display_name, str) or len(display_name) > 63):
        raise InvalidArgument("displayName must be a text of at most 63 characters", field="displayName")
    if base_model is not None:
        base_model = _text(base_model, "baseModel")
    described = model_rules.read(fields.get("model") or {})
    model_rules.check_described(described)
    if described.default_draft_model:
        house.library.get(described.default_draft_model, "model.defaultDraftModel")
    if caller.role != ADMIN:
        file = _in_model_folders(Path(file), [models_dir(), *house.fleet.settings.model_folders])
    place = house.uploads.converted(str(Name.of(model_id, "models", account, "modelId")))
    tell = partial(model_rules.updated, changes=described, paths=None)
    made = await house.library.create(account, model_id, file, display_name, base_model, place, tell)
    return shown(_as_seen_by(caller, made))


def _in_model_folders(file: Path, folders: list[Path]) -> str:
    """The path behind `file`, once it and whatever it stands for is known to lie in one of the folders."""
    real = _in_model_folder(file, folders)
    for part in sources.files_in(real).values() if real.is_dir() else ():
        _in_model_folder(part, folders)
    return str(real)


def _in_model_folder(file: Path, folders: list[Path]) -> Path:
    """The file behind a path, links followed, if it lies in one of the folders; PermissionDenied, in the same words
    whatever there is, if not."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        real = file.resolve()
        if file.is_absolute() and any(real.is_relative_to(folder.resolve()) for folder in folders):
            return real
    raise PermissionDenied(
        "only admins register files outside of the engine's model folders", field="file",
        hint="upload the file, or ask an admin for it, or for the folder: firedeck serve --model-folder FOLDER",
    )  # fmt: skip


def _as_seen_by(caller: Principal, model: Model) -> Model:
    """Where files lie on the engine's machine is for admins; others see a file's name."""
    known = model.firedeck
    if caller.role == ADMIN or known is None or not known.file:
        return model
    return model.model_copy(update={"firedeck": known.model_copy(update={"file": Path(known.file).name})})


def _with_refs(house: House, models: list[Model], account: str, *, include: bool = True) -> list[Model]:
    """The models with whether they are served serverless, and until when, and, to `include` that, where the account
    finds them deployed."""
    refs: dict[str, list[DeployedModelRef]] = {}
    for record in house.fleet.deployed.all() if include or house.fleet.keepers(LIBRARY_ACCOUNT) else ():
        if record.public or record.name.split("/")[1] == account:
            ref = DeployedModelRef(
                name=record.name, deployment=record.deployment or "", state=record.state,
                default=bool(record.default), public=bool(record.public),
            )  # fmt: skip
            refs.setdefault(record.model or "", []).append(ref)

    def told(model: Model) -> Model:
        there = refs.get(model.name, [])
        facts: dict[str, Any] = {"deployed_model_refs": there} if include else {}
        if shared := next((ref.deployment for ref in there if is_shared(ref.deployment)), None):
            day = until(house.fleet.get(shared).deployment)
            facts |= {"supports_serverless": True} | ({"deprecation_date": deprecation.wire_date(day)} if day else {})
        return model.model_copy(update=facts)

    return [told(model) for model in models]


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{field} is required, as a text", field=field)
    return value


def _name(account: str, model_id: str) -> str:
    return str(Name.of(model_id, "models", account, "model"))
