"""`/v1/accounts/{account}/models`, and firedeck's own way to register a file of this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from client.errors import FailedPrecondition, InvalidArgument
from client.names import Name
from client.types import Model, ModelPage
from engine.api.common import Body, Caller, HouseDep, Listing, documented_body
from engine.api.listing import page

router = APIRouter(tags=["models"])
_MODELS = "/v1/accounts/{account}/models"


@router.get(_MODELS, response_model_exclude_none=True, response_model_by_alias=True)
async def list_models(account: str, house: HouseDep, caller: Caller, query: Listing) -> ModelPage:
    """The account's models; `fireworks` owns the library."""
    caller.may(account, write=False)
    found, token, total = page(house.library.list(account), **asdict(query), default_order="name")
    return ModelPage(models=found, next_page_token=token, total_size=total)


@router.get(_MODELS + "/{model_id}", response_model_exclude_none=True, response_model_by_alias=True)
async def get(account: str, model_id: str, house: HouseDep, caller: Caller) -> Model:
    caller.may(account, write=False)
    return house.library.get(_name(account, model_id))


@router.delete(_MODELS + "/{model_id}")
async def delete(account: str, model_id: str, house: HouseDep, caller: Caller) -> dict[str, Any]:
    """Forget a model (its file stays); refused while a deployment uses it."""
    caller.may(account, write=True)
    name = _name(account, model_id)
    users = house.fleet.uses(name)
    if users:
        raise FailedPrecondition(f"{name} is used by {', '.join(users)}", field="name", hint="delete those first")
    await house.library.delete(name)
    return {}


@router.post(
    "/firedeck" + _MODELS,
    openapi_extra=documented_body("ModelFileBody"),
    response_model_exclude_none=True,
    response_model_by_alias=True,
)
async def create_from_file(account: str, body: Body, house: HouseDep, caller: Caller) -> Model:
    """Register a GGUF file that lies on the engine's machine: `{"modelId", "file", "displayName"?}`."""
    caller.may(account, write=True)
    fields = body if isinstance(body, dict) else {}
    for field in ("modelId", "file"):
        if not isinstance(fields.get(field), str) or not fields[field]:
            raise InvalidArgument(f"{field} is required", field=field)
    display_name = fields.get("displayName")
    if display_name is not None and (not isinstance(display_name, str) or len(display_name) > 63):
        raise InvalidArgument("displayName must be a text of at most 63 characters", field="displayName")
    return await house.library.create(account, fields["modelId"], fields["file"], display_name)


def _name(account: str, model_id: str) -> str:
    return str(Name.of(model_id, "models", account, "model"))
