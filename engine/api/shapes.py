"""`/v1/accounts/{account}/deploymentShapes` and their versions: what is known to work for a model. Read only."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from client.addon_types import DeploymentShape, DeploymentShapePage, DeploymentShapeVersion, DeploymentShapeVersionPage
from client.errors import InvalidArgument, NotFound
from client.names import Name, check_id
from client.types import Deployment
from engine import declare, shapes
from engine.api.common import Body, Caller, HouseDep, Listing, ReadMask, documented_body, listed, object_body, shown
from engine.deployed_rules import check_owner

router = APIRouter(prefix="/v1/accounts/{account}", tags=["deployment shapes"])
_SHAPES = "/deploymentShapes"
_CREATE_REQUEST = (
    "parent", "deployment", "deploymentId", "disableAutoDeploy", "disableSpeculativeDecoding", "validateOnly",
    "skipShapeValidation", "skipImageTagValidation", "acceptShapelessRisk",
)  # fmt: skip
ANY = "-"  # in a shape's place: the versions of all shapes (https://google.aip.dev/159)


@router.get(_SHAPES, response_model=DeploymentShapePage)
async def list_shapes(
    account: str,
    house: HouseDep,
    caller: Caller,
    query: Listing,
    target_model: Annotated[str, Query(alias="targetModel", description="only shapes for this base model")] = "",
) -> Response:
    """The shapes of the account's models: of `fireworks` the library's, of others those that the operator has."""
    model = str(Name.of(target_model, "models", account, "targetModel")) if target_model else ""
    every = shapes.shapes(await house.fleet.plans.shape_versions(model or None))
    items = [s for s in every if s.name.startswith(_prefix(account)) and model in ("", s.base_model)]
    return listed(items, query, DeploymentShape, DeploymentShapePage, "deployment_shapes", order="createTime")


@router.get(_SHAPES + "/{shape_id}", response_model=DeploymentShape)
async def get_shape(account: str, shape_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = "") -> Response:
    """A shape as its latest validated version has it; where there is none, as its latest has it."""
    name = str(Name.of(shape_id, "deploymentShapes", account, "deploymentShape"))
    for shape in shapes.shapes(await house.fleet.plans.shape_versions()):
        if shape.name == name:
            return shown(shape, read_mask)
    raise _unknown(name)


@router.get(_SHAPES + "/{shape_id}/versions", response_model=DeploymentShapeVersionPage)
async def list_versions(account: str, shape_id: str, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """The versions of a shape, or of all shapes of the account for the id `-`."""
    items = [v for v in await house.fleet.plans.shape_versions() if v.name.startswith(_prefix(account))]
    if shape_id != ANY:
        name = str(Name.of(shape_id, "deploymentShapes", account, "deploymentShape"))
        items = [v for v in items if v.snapshot.name == name]
        if not items:
            raise _unknown(name)
    return _versions(items, query)


@router.get(_SHAPES + "/{shape_id}/versions/{version_id}", response_model=DeploymentShapeVersion)
async def get_version(
    account: str, shape_id: str, version_id: str, house: HouseDep, caller: Caller, read_mask: ReadMask = ""
) -> Response:
    """One version of a shape, with the shape as it stood then."""
    shape = Name.of(shape_id, "deploymentShapes", account, "deploymentShape")
    name = f"{shape}/versions/{check_id(version_id, 'version')}"
    for version in await house.fleet.plans.shape_versions():
        if version.name == name:
            return shown(version, read_mask)
    raise _unknown(name)


@router.post(
    "/deploymentShapeVersions:match",
    response_model=DeploymentShapeVersionPage,
    openapi_extra=documented_body("MatchBody"),
)
async def match(account: str, body: Body, house: HouseDep, caller: Caller, query: Listing) -> Response:
    """The versions that a deployment of this base model could take: `{"createDeploymentRequest": {"deployment":
    {"baseModel", "enableAddons"?}}}`. A LoRA adapter stands for its base; a deployment's other fields decide nothing.
    """
    deployment = _wanted(body)
    model = deployment.base_model
    if not model:
        raise InvalidArgument("baseModel is required", field="createDeploymentRequest.deployment.baseModel")
    name = house.library.resolve(model, account, "createDeploymentRequest.deployment.baseModel")
    found = house.library.get(name, "createDeploymentRequest.deployment.baseModel")
    check_owner(found, caller.account, "createDeploymentRequest.deployment.baseModel")
    name = found.peft_details.base_model if found.peft_details else name
    fitting = [
        v for v in await house.fleet.plans.shape_versions(name) if v.latest_validated and v.snapshot.base_model == name
    ]
    return _versions([v for v in fitting if not deployment.enable_addons or v.snapshot.enable_addons], query)


def _wanted(body: Any) -> Deployment:
    request = object_body(body, at := "createDeploymentRequest")
    asked = object_body(request.get(at), *_CREATE_REQUEST, at=at)
    if not isinstance(asked.get("deployment"), dict):
        raise InvalidArgument(f"{at}.deployment is required", field=at)
    return declare.read(asked["deployment"])


def _versions(items: list[DeploymentShapeVersion], query: Listing) -> Response:
    kind, pages = DeploymentShapeVersion, DeploymentShapeVersionPage
    return listed(items, query, kind, pages, "deployment_shape_versions", order="createTime")


def _prefix(account: str) -> str:
    return f"accounts/{account}/deploymentShapes/"


def _unknown(name: str) -> NotFound:
    return NotFound(f"{name!r} does not exist", field="name", hint="`firedeck deployment-shape list` shows all")
