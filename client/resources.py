"""Typed verbs of the control plane: `Client.deployments.create(...)` and friends.

Ids may be bare (`chat`, in the client's account) or full names (`accounts/local/deployments/chat`).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from client import durations, files
from client.config import Context
from client.files import Progress
from client.http import Transport
from client.inference import Inference
from client.listing import Listed, ListOptions, listed
from client.model_types import DownloadEndpoint, Model, ModelPage, ModelSpec, UploadEndpoint, UploadValidation
from client.names import Name
from client.types import Deployment, DeploymentMetrics, DeploymentPage, DeploymentSpec
from client.wire import Wire

if TYPE_CHECKING:
    from client.access_resources import Accounts, ApiKeys, AuditLogs, Quotas, Secrets, Users
    from client.addon_resources import DeployedModels, Shapes
    from client.fleet_resources import Fleet
    from client.guard_resources import Guards
    from client.inference_resources import Chat, Completions, Embeddings, Messages
    from client.router_resources import Routers
    from client.trace_resources import Requests
    from client.usage_resources import UsageReports
    from client.waiting import Waits

HASHING_TIMEOUT_S = 3600.0  # a file of hundreds of gigabytes takes minutes


def _account(client: Client) -> tuple[object, ...]:
    return client.transport, client.context.account


def _inference(client: Client) -> tuple[object, ...]:
    return (client.inference,)


def _from(place: str, of: Callable[[Client], tuple[object, ...]] = _account) -> Any:
    """The resource at `module:name`, made `of` these. It is imported when it is asked for first: nobody who opens the
    dashboard or types a command asks for more than two or three."""
    return cached_property(lambda client: pkgutil.resolve_name(place)(*of(client)))


class Client:
    """An engine, seen with one key. Use as `async with Client(context) as fleet:`."""

    fleet: Fleet = _from("client.fleet_resources:Fleet")
    accounts: Accounts = _from("client.access_resources:Accounts")
    users: Users = _from("client.access_resources:Users")
    api_keys: ApiKeys = _from("client.access_resources:ApiKeys")
    secrets: Secrets = _from("client.access_resources:Secrets")
    quotas: Quotas = _from("client.access_resources:Quotas")
    audit_logs: AuditLogs = _from("client.access_resources:AuditLogs")
    deployed_models: DeployedModels = _from("client.addon_resources:DeployedModels")
    shapes: Shapes = _from("client.addon_resources:Shapes")
    guards: Guards = _from("client.guard_resources:Guards")
    usage: UsageReports = _from("client.usage_resources:UsageReports")
    requests: Requests = _from("client.trace_resources:Requests")
    routers: Routers = _from("client.router_resources:Routers")
    chat: Chat = _from("client.inference_resources:Chat", _inference)
    completions: Completions = _from("client.inference_resources:Completions", _inference)
    embeddings: Embeddings = _from("client.inference_resources:Embeddings", _inference)
    messages: Messages = _from("client.inference_resources:Messages", _inference)
    wait: Waits = _from("client.waiting:Waits", lambda client: (client,))

    def __init__(self, context: Context, transport: Transport | None = None) -> None:
        self.context = context
        self.transport = transport or Transport(
            context.base_url, context.api_key, key_note=context.key_note, absent_note=context.absent_note
        )
        self.deployments = Deployments(self.transport, context.account)
        self.models = Models(self.transport, context.account)
        self.inference = Inference(self.transport)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.close()


class _Resource:
    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account


class Deployments(_Resource):
    def _path(self, deployment: str, verb: str = "") -> str:
        name = Name.of(deployment, "deployments", self._account, "deployment")
        return f"/v1/{name}{verb}"

    async def create(
        self, spec: DeploymentSpec, deployment_id: str | None = None, *, validate_only: bool = False,
        skip_shape_validation: bool = False, accept_shapeless_risk: bool = False, disable_auto_deploy: bool = False,
        disable_speculative_decoding: bool = False,
    ) -> Deployment:  # fmt: skip
        """The new deployment (CREATING); with `validate_only` what it would be, nothing being made."""
        query = {
            "deploymentId": deployment_id, "validateOnly": validate_only or None,
            "skipShapeValidation": skip_shape_validation or None, "acceptShapelessRisk": accept_shapeless_risk or None,
            "disableAutoDeploy": disable_auto_deploy or None,
            "disableSpeculativeDecoding": disable_speculative_decoding or None,
        }  # fmt: skip
        path = f"/v1/accounts/{self._account}/deployments"
        return Deployment.model_validate(await self._transport.send("POST", path, query=query, body=_spec_body(spec)))

    async def get(self, deployment: str) -> Deployment:
        return Deployment.model_validate(await self._transport.get(self._path(deployment)))

    async def list(self, *, show_deleted: bool = False, **options: Unpack[ListOptions]) -> Listed[Deployment]:
        path, own = f"/v1/accounts/{self._account}/deployments", {"showDeleted": show_deleted or None}
        return await listed(self._transport, path, DeploymentPage, lambda page: page.deployments, options, own=own)

    async def update(
        self, deployment: str, changes: DeploymentSpec, *, validate_only: bool = False,
        skip_shape_validation: bool = False,
    ) -> Deployment:  # fmt: skip
        """Only the fields set in `changes` change."""
        query = {"validateOnly": validate_only or None, "skipShapeValidation": skip_shape_validation or None}
        body = _spec_body(changes)
        return Deployment.model_validate(
            await self._transport.send("PATCH", self._path(deployment), query=query, body=body)
        )

    async def scale(self, deployment: str, replica_count: int) -> None:
        """Ask for just this many replicas now; autoscaling goes on from there, within min and max."""
        await self._transport.send("PATCH", self._path(deployment, ":scale"), body={"replicaCount": replica_count})

    async def delete(
        self, deployment: str, *, hard: bool = False, ignore_checks: bool = False, validate_only: bool = False
    ) -> None:
        """`validate_only`: raises what the delete would, and deletes nothing."""
        query = {"hard": hard or None, "ignoreChecks": ignore_checks or None, "validateOnly": validate_only or None}
        await self._transport.send("DELETE", self._path(deployment), query=query)

    async def undelete(self, deployment: str) -> Deployment:
        raw = await self._transport.send("POST", self._path(deployment, ":undelete"), body={})
        return Deployment.model_validate(raw)

    async def metrics(self, deployment: str, time_range: timedelta | None = None) -> DeploymentMetrics:
        """Means over the last `time_range`, ten minutes unless given."""
        query = {"timeRange": durations.to_proto(time_range) if time_range else None}
        return DeploymentMetrics.model_validate(await self._transport.get(self._path(deployment, ":metrics"), query))


class Models(_Resource):
    async def create(self, model_id: str, spec: ModelSpec | None = None) -> Model:
        """A model whose files are to come (UPLOADING): `upload_endpoint`, a PUT for each, `validate_upload`."""
        body = {"modelId": model_id, "model": {} if spec is None else _spec_body(spec)}
        return Model.model_validate(await self._transport.send("POST", self._collection(), body=body))

    async def get(self, model: str) -> Model:
        return Model.model_validate(await self._transport.get(self._one(model)))

    async def update(self, model: str, changes: ModelSpec) -> Model:
        """Only the fields set in `changes` change."""
        return Model.model_validate(await self._transport.send("PATCH", self._one(model), body=_spec_body(changes)))

    async def list(self, account: str | None = None, **options: Unpack[ListOptions]) -> Listed[Model]:
        path = self._collection(account)
        return await listed(self._transport, path, ModelPage, lambda page: page.models, options)

    async def create_from_file(
        self, model_id: str, file: str, display_name: str | None = None, base_model: str | None = None,
        described: ModelSpec | None = None,
    ) -> Model:  # fmt: skip
        """Register a GGUF file that lies on the engine's machine (firedeck's own verb): it is read whole. A LoRA
        adapter's needs the model that it was trained on. `described`: what the file does not say."""
        body: dict[str, Any] = {"modelId": model_id, "file": file, "displayName": display_name, "baseModel": base_model}
        if described is not None and described.model_fields_set:
            body["model"] = _spec_body(described)
        path = f"/firedeck{self._collection()}"
        raw = await self._transport.send("POST", path, body=body, read_timeout_s=HASHING_TIMEOUT_S)
        return Model.model_validate(raw)

    async def prepare(self, model: str, precision: str) -> None:
        """Ask for the model in another precision, or in all of them with `AUTO`: `get` shows what came of it."""
        await self._transport.send("POST", self._one(model, ":prepare"), body={"precision": precision})

    async def validate_config(self, config_json: str, tokenizer_config_json: str = "") -> None:
        """Raises with the reason where a model whose config.json this is cannot be uploaded."""
        body = {"configJson": config_json, "tokenizerConfigJson": tokenizer_config_json}
        await self._transport.send("POST", "/v1/validateModelConfig", body=body)

    async def upload_endpoint(self, model: str, sizes: Mapping[str, int]) -> UploadEndpoint:
        """Where each file of these many bytes is to be PUT; the model must be UPLOADING."""
        body = {"filenameToSize": {name: str(size) for name, size in sizes.items()}}
        raw = await self._transport.send("POST", self._one(model, ":getUploadEndpoint"), body=body)
        return UploadEndpoint.model_validate(raw)

    async def validate_upload(self, model: str, *, config_only: bool = False) -> UploadValidation:
        """What was uploaded is checked, and the model READY; `config_only` checks alone."""
        raw = await self._transport.send(
            "GET", self._one(model, ":validateUpload"), query={"configOnly": config_only or None},
            read_timeout_s=HASHING_TIMEOUT_S,
        )  # fmt: skip
        return UploadValidation.model_validate(raw)

    async def download_endpoint(self, model: str) -> DownloadEndpoint:
        """Where each file of the model is to be had."""
        return DownloadEndpoint.model_validate(await self._transport.get(self._one(model, ":getDownloadEndpoint")))

    async def upload(self, model: str, folder: Path, progress: Progress = files.unwatched) -> UploadValidation:
        """A model that is UPLOADING gets the files of a folder, or the one file that `folder` is, and is validated."""
        found = files.within(folder)
        urls = await self.upload_endpoint(model, {one.name: files.size_of(one) for one in found})
        for one in found:
            await files.put(self._transport, urls.filename_to_signed_urls[one.name], one, progress)
        return await self.validate_upload(model)

    async def download(self, model: str, folder: Path, progress: Progress = files.unwatched) -> Sequence[Path]:
        """The model's files, in a folder that is there; one that was interrupted is gone on with."""
        urls = (await self.download_endpoint(model)).filename_to_signed_urls
        there = {folder / Path(name).name: url for name, url in urls.items()}
        for file, url in there.items():
            await files.get(self._transport, url, file, progress)
        return tuple(there)

    async def delete(self, model: str) -> None:
        await self._transport.send("DELETE", self._one(model))

    def _collection(self, account: str | None = None) -> str:
        return f"/v1/accounts/{account or self._account}/models"

    def _one(self, model: str, verb: str = "") -> str:
        return f"/v1/{Name.of(model, 'models', self._account, 'model')}{verb}"


def _spec_body(spec: Wire) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
