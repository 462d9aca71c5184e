"""`/v1/accounts/{account}/deployedModels`: load a LoRA adapter onto a deployment, list, change, unload."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from client.addon_types import DeployedModel, DeployedModelPage
from client.errors import InvalidArgument
from client.names import Name
from engine import deployed_rules
from engine.access.rules import LOAD_ADDON, TAKE_DEFAULT, authorise
from engine.api.common import (
    Body,
    Caller,
    HouseDep,
    Listing,
    ReadMask,
    UpdateMask,
    documented_body,
    listed,
    owner_of,
    shown,
)
from engine.house import House
from engine.keys import Principal
from engine.masks import update_paths

router = APIRouter(prefix="/v1/accounts/{account}/deployedModels", tags=["deployed models"])
_ONE = "/{deployed_model_id}"


@router.post("", response_model=DeployedModel, openapi_extra=documented_body("DeployedModelSpec"))
async def create(
    account: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    replace_merged_addon: Annotated[bool, Query(alias="replaceMergedAddon")] = False,
) -> Response:
    """Load an adapter onto a deployment of its base: DEPLOYING, then DEPLOYED, or FAILED with the reason.

    Whose deployment it is decides who may: it is changed by that. With `serverless`, or without `deployment`, it is the
    serverless one of the base, where this engine has adapters there.
    """
    spec = _placed(house, deployed_rules.read(body), account)
    deployed_rules.check_new(spec)
    deployment = Name.of(spec.deployment or "", "deployments", account, "deployment")
    if deployment.account == account:
        keeper = house.fleet.get(str(deployment))
        authorise(caller, LOAD_ADDON, account, owner=await owner_of(house, caller, keeper.name))
    model = house.library.resolve(spec.model or "", account, "model")
    await _check_default(house, caller, account, model, wanted=spec.default)
    made = await house.fleet.deployed.create(account, spec, by=caller.user, replace_merged=replace_merged_addon)
    return shown(made)


@router.get("", response_model=DeployedModelPage)
async def list_deployed_models(account: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """What is deployed on the account's living deployments: their bases, and the adapters beside them."""
    items = house.fleet.deployed.all(account)
    return listed(items, query, DeployedModel, DeployedModelPage, "deployed_models")


@router.get(_ONE, response_model=DeployedModel)
async def get(
    account: str, deployed_model_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = ""
) -> Response:
    """A model on a deployment, with its state there now."""
    return shown(house.fleet.deployed.get(_name(account, deployed_model_id)), read_mask)


@router.patch(_ONE, response_model=DeployedModel, openapi_extra=documented_body("DeployedModelSpec"))
async def update(
    account: str,
    deployed_model_id: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    update_mask: UpdateMask = "",
) -> Response:
    """Change `default`, `public`, `displayName` or `description`; a new default takes the place of the former."""
    changes, name = deployed_rules.read(body), _name(account, deployed_model_id)
    model = house.fleet.deployed.get(name).model or ""
    await _check_default(house, caller, account, model, wanted=changes.default)
    return shown(await house.fleet.deployed.update(name, changes, update_paths(update_mask)))


@router.delete(_ONE)
async def delete(account: str, deployed_model_id: str, house: HouseDep, caller: Caller) -> dict[str, Any]:
    """Unload an adapter: requests under way end with it, new ones do not find it."""
    await house.fleet.deployed.delete(_name(account, deployed_model_id), by=caller.user)
    return {}


def _placed(house: House, spec: DeployedModel, account: str) -> DeployedModel:
    """With the deployment, where it is to be the serverless one."""
    terms = house.fleet.settings.serverless
    if spec.deployment:
        named = str(Name.of(spec.deployment, "deployments", account, "deployment"))
        spec = spec.model_copy(update={"deployment": named})
    if not spec.model or not deployed_rules.is_for_serverless(spec, terms):
        return spec
    model = house.library.get(house.library.resolve(spec.model, account, "model"), "model")
    deployed_rules.check_owner(model, account, "model")
    where = deployed_rules.check_serverless(model, account, terms)
    if spec.deployment and spec.deployment != where:
        raise InvalidArgument(
            f"{model.name} is served serverless on {where} alone", field="deployment", hint="leave it out"
        )
    return spec.model_copy(update={"deployment": where, "serverless": None})


async def _check_default(house: House, caller: Principal, account: str, model: str, *, wanted: bool | None) -> None:
    """Whoever makes another deployed model its model's default takes that from the former one, and so must own it."""
    for record in house.fleet.deployed.of_model(model) if wanted else ():
        if record.default and record.name.startswith(f"accounts/{account}/"):
            authorise(caller, TAKE_DEFAULT, account, owner=await owner_of(house, caller, record.name))


def _name(account: str, deployed_model_id: str) -> str:
    return str(Name.of(deployed_model_id, "deployedModels", account, "deployedModel"))
