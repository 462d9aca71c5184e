"""`/v1/accounts/{account}/deployments`: create, list, get, update, scale, delete, undelete."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from client import durations
from client.errors import InvalidArgument
from client.types import Deployment, DeploymentMetrics, DeploymentPage
from engine import declare, sent_back
from engine.api.common import (
    Body,
    Caller,
    HouseDep,
    Listing,
    NoBody,
    ReadMask,
    UpdateMask,
    ValidateOnly,
    deployment_name,
    documented_body,
    listed,
    object_body,
    shown,
)
from engine.masks import update_paths
from engine.shapes import WriteOptions

router = APIRouter(prefix="/v1/accounts/{account}/deployments", tags=["deployments"])
_ONE = "/{deployment_id}"
METRICS_RANGE_MAX_S = 86_400


@router.post("", response_model=Deployment, openapi_extra=documented_body("DeploymentSpec"))
async def create(
    account: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    deployment_id: Annotated[str | None, Query(alias="deploymentId")] = None,
    validate_only: Annotated[bool, Query(alias="validateOnly")] = False,
    dry_run: Annotated[bool, Query(alias="dryRun", description="the former name of validateOnly")] = False,
    disable_auto_deploy: Annotated[bool, Query(alias="disableAutoDeploy")] = False,
    disable_speculative_decoding: Annotated[bool, Query(alias="disableSpeculativeDecoding")] = False,
    skip_shape_validation: Annotated[bool, Query(alias="skipShapeValidation")] = False,
    skip_image_tag_validation: Annotated[bool, Query(alias="skipImageTagValidation")] = False,
    accept_shapeless_risk: Annotated[bool, Query(alias="acceptShapelessRisk")] = False,
) -> Response:
    """A new deployment (CREATING); with `validateOnly` what it would be, nothing being made.

    `disableSpeculativeDecoding` makes `draftTokenCount` 0: neither draft model nor n-grams. With `disableAutoDeploy`
    the base model gets no deployed model, so that its bare name does not lead here by default.
    """
    spec = declare.read(body)
    sent_back.check_new(body)
    if disable_speculative_decoding:
        spec.draft_token_count = 0
    options = WriteOptions(
        auto_deploy=not disable_auto_deploy, check_shape=not skip_shape_validation,
        check_image=not skip_image_tag_validation, shapeless=accept_shapeless_risk,
    )  # fmt: skip
    create_it = partial(house.fleet.create, account, spec, deployment_id, by=caller.user, options=options)
    planned = await create_it(validate_only=True)
    async with house.access.quotas.deciding:
        house.access.quotas.admit_deployment(planned)
        return shown(planned if validate_only or dry_run else await create_it())


@router.get("", response_model=DeploymentPage)
async def list_deployments(
    account: str,
    house: HouseDep,
    caller: Caller,
    query: Listing,
    show_deleted: Annotated[bool, Query(alias="showDeleted")] = False,
) -> Response:
    """The account's deployments, soft-deleted ones only with `showDeleted`."""
    items = [k.deployment for k in house.fleet.keepers(account) if show_deleted or not k.deleted]
    return listed(items, query, Deployment, DeploymentPage, "deployments", order="createTime")


@router.get(_ONE + ":metrics", response_model=DeploymentMetrics)
async def metrics(
    account: str,
    deployment_id: str,
    house: HouseDep,
    caller: Caller,
    time_range: Annotated[str, Query(alias="timeRange", description="e.g. 10m, at most 24h")] = "10m",
) -> Response:
    """The mean of each series of the deployment's history over `timeRange`; what was not observed is left out."""
    keeper = house.fleet.get(deployment_name(account, deployment_id))
    seconds = durations.parse(time_range, "timeRange").total_seconds()
    if not 1 <= seconds <= METRICS_RANGE_MAX_S:
        raise InvalidArgument(f"timeRange {time_range[:40]} is not within 1s and 24h", field="timeRange")
    series = keeper.recorder.read(keeper.name, int(seconds)).series
    observed = {name: [value for value in values if value is not None] for name, values in series.items()}
    means = {name: sum(values) / len(values) for name, values in observed.items() if values}
    return shown(DeploymentMetrics(metrics=means))


@router.get(_ONE, response_model=Deployment)
async def get(account: str, deployment_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """A deployment, a soft-deleted one too."""
    return shown(house.fleet.get(deployment_name(account, deployment_id)).deployment, read_mask)


@router.patch(_ONE + ":scale", openapi_extra=documented_body("ScaleBody"))
async def scale(
    account: str, deployment_id: str, body: Body, house: HouseDep, caller: Caller, validate_only: ValidateOnly = False
) -> dict[str, Any]:
    """`{"replicaCount": n}`: want n replicas now, within min and max. `validateOnly` (ours) only checks."""
    name, count = deployment_name(account, deployment_id), _replica_count(body)
    deployment = house.fleet.get(name).deployment
    if count > (deployment.desired_replica_count or 0):
        house.access.quotas.admit_growth(deployment)
    if validate_only:
        house.fleet.check_scale(name, count)
    else:
        await house.fleet.scale(name, count, by=caller.user)
    return {}


@router.patch(_ONE, response_model=Deployment, openapi_extra=documented_body("DeploymentSpec"))
async def update(
    account: str,
    deployment_id: str,
    body: Body,
    house: HouseDep,
    caller: Caller,
    update_mask: UpdateMask = "",
    validate_only: Annotated[bool, Query(alias="validateOnly")] = False,
    skip_shape_validation: Annotated[bool, Query(alias="skipShapeValidation")] = False,
    skip_image_tag_validation: Annotated[bool, Query(alias="skipImageTagValidation")] = False,
) -> Response:
    """Only the fields of `updateMask` change; without a mask, only those that the body has.

    With `validateOnly` (ours) what it would be, nothing being changed: UPDATING where its replicas would be replaced.
    """
    name = deployment_name(account, deployment_id)
    mask = update_paths(update_mask)
    options = WriteOptions(check_shape=not skip_shape_validation, check_image=not skip_image_tag_validation)
    changes = declare.read(body)
    if mask is None:
        sent_back.check_change(body, name)
    update_it = partial(house.fleet.update, name, changes, mask, by=caller.user, options=options)
    planned = await update_it(validate_only=True)
    async with house.access.quotas.deciding:
        house.access.quotas.admit_deployment(planned)
        return shown(planned if validate_only else await update_it())


@router.delete(_ONE)
async def delete(
    account: str,
    deployment_id: str,
    house: HouseDep,
    caller: Caller,
    hard: bool = False,
    ignore_checks: Annotated[bool, Query(alias="ignoreChecks")] = False,
    validate_only: Annotated[bool, Query(alias="validateOnly")] = False,
) -> dict[str, Any]:
    """Soft unless `hard`; refused while in use unless `ignoreChecks`. `validateOnly` (ours) only checks."""
    name = deployment_name(account, deployment_id)
    if validate_only:
        house.fleet.check_delete(name, hard=hard, ignore_checks=ignore_checks)
    else:
        await house.fleet.delete(name, by=caller.user, hard=hard, ignore_checks=ignore_checks)
    return {}


@router.post(_ONE + ":undelete", response_model=Deployment, openapi_extra=documented_body("NoBody"))
async def undelete(account: str, deployment_id: str, body: NoBody, house: HouseDep, caller: Caller) -> Response:
    """Bring a soft-deleted deployment back, with what was deployed on it."""
    name = deployment_name(account, deployment_id)
    async with house.access.quotas.deciding:
        house.access.quotas.admit_deployment(house.fleet.get(name).deployment)
        return shown(await house.fleet.undelete(name, by=caller.user))


def _replica_count(body: Any) -> int:
    """What is not said is not zero: a forgotten field would stop what serves. The official SDKs say their zeros."""
    count = object_body(body, "replicaCount").get("replicaCount")
    if count is None:
        raise InvalidArgument(
            "replicaCount is missing", field="replicaCount", hint='say how many: {"replicaCount": 0} stops all of them'
        )
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise InvalidArgument("replicaCount must be a whole number of 0 or more", field="replicaCount")
    return count
