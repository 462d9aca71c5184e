"""Typed verbs for what serves what: `Client.deployed_models.load(...)`, `Client.shapes.list()`."""

from __future__ import annotations

from typing import Unpack

from client.addon_types import (
    DeployedModel,
    DeployedModelPage,
    DeployedModelSpec,
    DeploymentShape,
    DeploymentShapePage,
    DeploymentShapeVersion,
    DeploymentShapeVersionPage,
)
from client.http import Transport
from client.listing import PAGE_SIZE_MAX, Listed, ListOptions, listed
from client.names import LIBRARY_ACCOUNT, Name, check_id

CHECKING_TIMEOUT_S = 600.0  # the engine reads the whole adapter before it answers


class DeployedModels:
    """LoRA adapters and base models on deployments."""

    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account
        self._path = f"/v1/accounts/{account}/deployedModels"

    async def load(self, model: str, deployment: str, *, replace_merged: bool = False) -> DeployedModel:
        """Load an adapter onto a deployment: DEPLOYING, then DEPLOYED or FAILED."""
        body = {
            "model": str(Name.of(model, "models", self._account, "model")),
            "deployment": str(Name.of(deployment, "deployments", self._account, "deployment")),
        }
        raw = await self._transport.send(
            "POST", self._path, query={"replaceMergedAddon": replace_merged or None}, body=body,
            read_timeout_s=CHECKING_TIMEOUT_S,
        )  # fmt: skip
        return DeployedModel.model_validate(raw)

    async def get(self, name: str) -> DeployedModel:
        return DeployedModel.model_validate(await self._transport.get(self._one(name)))

    async def of_model(self, model: str, deployment: str | None = None) -> list[DeployedModel]:
        """Where a model is deployed, on one deployment or on all."""
        wanted = str(Name.of(model, "models", self._account, "model"))
        where = str(Name.of(deployment, "deployments", self._account, "deployment")) if deployment else None
        return [one for one in await self.list() if one.model == wanted and where in (None, one.deployment)]

    async def list(self, **options: Unpack[ListOptions]) -> Listed[DeployedModel]:
        return await listed(self._transport, self._path, DeployedModelPage, lambda page: page.deployed_models, options)

    async def update(self, name: str, changes: DeployedModelSpec) -> DeployedModel:
        """Only the fields set in `changes` change."""
        body = changes.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return DeployedModel.model_validate(await self._transport.send("PATCH", self._one(name), body=body))

    async def unload(self, name: str) -> None:
        await self._transport.send("DELETE", self._one(name))

    def _one(self, name: str) -> str:
        return f"/v1/{Name.of(name, 'deployedModels', self._account, 'deployedModel')}"


class Shapes:
    """Deployment shapes: those of the library's models, and with `own` those of the account's."""

    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account

    async def versions(
        self, shape: str = "-", *, own: bool = False, **options: Unpack[ListOptions]
    ) -> Listed[DeploymentShapeVersion]:
        """A shape's versions; all shapes' for `-`."""
        every = f"accounts/{self._of(own=own)}/deploymentShapes/-"
        full = every if shape == "-" else Name.of(shape, "deploymentShapes", self._of(own=own), "deploymentShape")
        kind = DeploymentShapeVersionPage
        return await listed(
            self._transport, f"/v1/{full}/versions", kind, lambda page: page.deployment_shape_versions, options
        )

    async def list(
        self, model: str | None = None, *, own: bool = False, **options: Unpack[ListOptions]
    ) -> Listed[DeploymentShape]:
        """All, or those for one base model."""
        path, query = f"/v1/accounts/{self._of(own=own)}/deploymentShapes", {"targetModel": model}
        return await listed(
            self._transport, path, DeploymentShapePage, lambda page: page.deployment_shapes, options, own=query
        )

    async def match(self, base_model: str, *, enable_addons: bool = False) -> Listed[DeploymentShapeVersion]:
        """The versions that a deployment of this base could have."""
        deployment = {"baseModel": base_model, "enableAddons": enable_addons}
        raw = await self._transport.send(
            "POST", f"/v1/accounts/{self._account}/deploymentShapeVersions:match", query={"pageSize": PAGE_SIZE_MAX},
            body={"createDeploymentRequest": {"parent": f"accounts/{self._account}", "deployment": deployment}},
        )  # fmt: skip
        page = DeploymentShapeVersionPage.model_validate(raw)
        found = Listed(page.deployment_shape_versions)
        found.total_size, found.next_page_token = page.total_size, page.next_page_token
        return found

    async def get(self, name: str) -> DeploymentShape:
        full = Name.of(name, "deploymentShapes", LIBRARY_ACCOUNT, "deploymentShape")
        return DeploymentShape.model_validate(await self._transport.get(f"/v1/{full}"))

    async def version(self, name: str) -> DeploymentShapeVersion:
        """One version: `SHAPE/versions/ID`, or its full name."""
        shape, _, version = name.partition("/versions/")
        full = Name.of(shape, "deploymentShapes", LIBRARY_ACCOUNT, "deploymentShape")
        path = f"/v1/{full}/versions/{check_id(version, 'version')}"
        return DeploymentShapeVersion.model_validate(await self._transport.get(path))

    def _of(self, *, own: bool) -> str:
        return self._account if own else LIBRARY_ACCOUNT
