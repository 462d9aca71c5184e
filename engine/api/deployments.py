"""`/v1/accounts/{account}/deployments`: create, list, get, update, scale, delete, undelete."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from client.errors import InvalidArgument
from client.types import Deployment, DeploymentPage
from engine import declare
from engine.api.common import Body, Caller, HouseDep, Listing, deployment_name, documented_body, mask_of
from engine.api.listing import page

router = APIRouter(prefix="/v1/accounts/{account}/deployments", tags=["deployments"])
_ONE = "/{deployment_id}"
_SHOW: dict[str, Any] = {
    "response_model": Deployment, "response_model_exclude_none": True, "response_model_by_alias": True,
}  # fmt: skip


@router.post("", openapi_extra=documented_body("DeploymentSpec"), **_SHOW)
async def create(
    account: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    deployment_id: Annotated[str | None, Query(alias="deploymentId")] = None,
    validate_only: Annotated[bool, Query(alias="validateOnly")] = False,
    disable_speculative_decoding: Annotated[bool, Query(alias="disableSpeculativeDecoding")] = False,
) -> Deployment:
    """A new deployment (CREATING); with `validateOnly` what it would be, nothing being made.

    `disableSpeculativeDecoding` makes `draftTokenCount` 0: neither draft model nor n-grams.
    """
    caller.may(account, write=True)
    spec = declare.read(body)
    if disable_speculative_decoding:
        spec.draft_token_count = 0
    planned = await house.fleet.create(account, spec, deployment_id, by=caller.user, validate_only=True)
    house.access.quotas.admit_deployment(planned)
    if validate_only:
        return planned
    return await house.fleet.create(account, spec, deployment_id, by=caller.user)


@router.get("", response_model_exclude_none=True, response_model_by_alias=True)
async def list_deployments(
    account: str,
    house: HouseDep,
    caller: Caller,
    query: Listing,
    show_deleted: Annotated[bool, Query(alias="showDeleted")] = False,
) -> DeploymentPage:
    """The account's deployments, soft-deleted ones only with `showDeleted`."""
    caller.may(account, write=False)
    items = [k.deployment for k in house.fleet.keepers(account) if show_deleted or not k.deleted]
    found, token, total = page(items, **asdict(query), default_order="createTime")
    return DeploymentPage(deployments=found, next_page_token=token, total_size=total)


@router.get(_ONE, **_SHOW)
async def get(account: str, deployment_id: str, house: HouseDep, caller: Caller) -> Deployment:
    caller.may(account, write=False)
    return house.fleet.get(deployment_name(account, deployment_id)).deployment


@router.patch(_ONE + ":scale", openapi_extra=documented_body("ScaleBody"))
async def scale(account: str, deployment_id: str, body: Body, house: HouseDep, caller: Caller) -> dict[str, Any]:
    """`{"replicaCount": n}`: want n replicas now, within min and max."""
    caller.may(account, write=True)
    name = deployment_name(account, deployment_id)
    await house.fleet.scale(name, _replica_count(body), by=caller.user)
    return {}


@router.patch(_ONE, openapi_extra=documented_body("DeploymentSpec"), **_SHOW)
async def update(
    account: str,
    deployment_id: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    update_mask: Annotated[str, Query(alias="updateMask")] = "",
    validate_only: Annotated[bool, Query(alias="validateOnly")] = False,
) -> Deployment:
    """Only the fields of `updateMask` change; without a mask, only those that the body has."""
    caller.may(account, write=True)
    name = deployment_name(account, deployment_id)
    mask = mask_of(update_mask)
    planned = await house.fleet.update(name, declare.read(body), mask, by=caller.user, validate_only=True)
    house.access.quotas.admit_deployment(planned)
    if validate_only:
        return planned
    return await house.fleet.update(name, declare.read(body), mask, by=caller.user)


@router.delete(_ONE)
async def delete(
    account: str,
    deployment_id: str,
    house: HouseDep,
    caller: Caller,
    hard: bool = False,
    ignore_checks: Annotated[bool, Query(alias="ignoreChecks")] = False,
) -> dict[str, Any]:
    """Soft unless `hard`; refused while in use unless `ignoreChecks`."""
    caller.may(account, write=True)
    name = deployment_name(account, deployment_id)
    await house.fleet.delete(name, by=caller.user, hard=hard, ignore_checks=ignore_checks)
    return {}


@router.post(_ONE + ":undelete", **_SHOW)
async def undelete(account: str, deployment_id: str, house: HouseDep, caller: Caller) -> Deployment:
    caller.may(account, write=True)
    name = deployment_name(account, deployment_id)
    house.access.quotas.admit_deployment(house.fleet.get(name).deployment)
    return await house.fleet.undelete(name, by=caller.user)


def _replica_count(body: Any) -> int:
    count = body.get("replicaCount", body.get("replica_count", 0)) if isinstance(body, dict) else None
    unknown = sorted(body.keys() - {"replicaCount", "replica_count"}) if isinstance(body, dict) else []
    if unknown:
        raise InvalidArgument(f"unknown field {unknown[0]!r}", field=unknown[0])
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise InvalidArgument("replicaCount must be a whole number of 0 or more", field="replicaCount")
    return count
