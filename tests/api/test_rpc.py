"""The gRPC listener, over real channels: calls become requests to the engine's own routes, by annotation alone.

The descriptors are small ones of this file's own, packed as the official package packs its; that package's own are
tried by test_llm_class.py.
"""

from __future__ import annotations

import re
import socket
import subprocess
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="gRPC is an extra: pip install 'firedeck[grpc]'")

from google.api import annotations_pb2  # noqa: E402
from google.protobuf import descriptor_pb2, message_factory  # noqa: E402
from google.protobuf.descriptor import ServiceDescriptor  # noqa: E402
from google.protobuf.message import Message  # noqa: E402

from client.errors import InvalidArgument  # noqa: E402
from engine.rpc import bindings, descriptors, listener  # noqa: E402
from tests.house import served  # noqa: E402
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, environment, firedeck  # noqa: E402

STRING, INT32, BOOL, MESSAGE, ENUM = 9, 5, 8, 11, 14
MESSAGES: dict[str, list[tuple[Any, ...]]] = {
    "Policy": [("scale_up_window", MESSAGE, ".google.protobuf.Duration")],
    "Deployment": [
        ("name", STRING), ("base_model", STRING), ("display_name", STRING), ("max_replica_count", INT32),
        ("autoscaling_policy", MESSAGE, ".gateway.Policy"), ("create_time", MESSAGE, ".google.protobuf.Timestamp"),
        ("enable_addons", BOOL), ("state", ENUM, ".gateway.State"), ("desired_replica_count", INT32),
    ],
    "GetRequest": [("name", STRING), ("read_mask", MESSAGE, ".google.protobuf.FieldMask")],
    "ListRequest": [("parent", STRING), ("page_size", INT32), ("filter", STRING), ("show_deleted", BOOL)],
    "ListResponse": [("deployments", MESSAGE, ".gateway.Deployment", "repeated"), ("total_size", INT32)],
    "CreateRequest": [("parent", STRING), ("deployment", MESSAGE, ".gateway.Deployment"), ("deployment_id", STRING)],
    "UpdateRequest": [
        ("deployment", MESSAGE, ".gateway.Deployment"), ("update_mask", MESSAGE, ".google.protobuf.FieldMask"),
    ],
    "ScaleRequest": [("name", STRING), ("replica_count", INT32)],
    "LoraModels": [("models", STRING, None, "repeated")],
    "Dataset": [("name", STRING), ("display_name", STRING)],
    "DatasetRequest": [("parent", STRING), ("dataset", MESSAGE, ".gateway.Dataset"), ("dataset_id", STRING)],
    "DatasetsResponse": [("datasets", MESSAGE, ".gateway.Dataset", "repeated"), ("total_size", INT32)],
}  # fmt: skip
ONE = "/v1/{name=accounts/*/deployments/*}"
METHODS: dict[str, tuple[str, str, dict[str, str]]] = {
    "GetDeployment": ("GetRequest", "Deployment", {"get": ONE}),
    "ListDeployments": ("ListRequest", "ListResponse", {"get": "/v1/{parent=accounts/*}/deployments"}),
    "CreateDeployment": (
        "CreateRequest", "Deployment", {"post": "/v1/{parent=accounts/*}/deployments", "body": "deployment"},
    ),
    "UpdateDeployment": (
        "UpdateRequest", "Deployment",
        {"patch": "/v1/{deployment.name=accounts/*/deployments/*}", "body": "deployment"},
    ),
    "ScaleDeployment": ("ScaleRequest", "ListResponse", {"patch": ONE + ":scale", "body": "*"}),
    "DeleteDeployment": ("GetRequest", "ListResponse", {"delete": ONE}),
    "ListServerlessLoraModels": ("ListRequest", "LoraModels", {}),
    "GetBalance": ("GetRequest", "LoraModels", {}),
    "GetCluster": ("GetRequest", "LoraModels", {"get": "/v1/{name=accounts/*/clusters/*}"}),
    "ListDatasets": ("ListRequest", "DatasetsResponse", {"get": "/v1/{parent=accounts/*}/datasets"}),
    "GetDataset": ("GetRequest", "Dataset", {"get": "/v1/{name=accounts/*/datasets/*}"}),
    "CreateDataset": ("DatasetRequest", "Dataset", {"post": "/v1/{parent=accounts/*}/datasets", "body": "*"}),
}  # fmt: skip


def described() -> bytes:
    """A serialized file descriptor of the service."""
    file = descriptor_pb2.FileDescriptorProto(name="gateway/gateway.proto", package="gateway", syntax="proto3")
    file.dependency.extend(
        f"google/{name}.proto"
        for name in ("api/annotations", "protobuf/duration", "protobuf/timestamp", "protobuf/field_mask")
    )
    state = file.enum_type.add(name="State")
    for number, name in enumerate(("STATE_UNSPECIFIED", "CREATING", "READY")):
        state.value.add(name=name, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, *more) in enumerate(fields, 1):
            label = 3 if more[1:] == ["repeated"] else 1
            message.field.add(name=field, number=number, type=kind, type_name=more[0] if more else None, label=label)
    service = file.service.add(name="Gateway")
    for name, (asked, answered, rule) in METHODS.items():
        method = service.method.add(name=name, input_type=f".gateway.{asked}", output_type=f".gateway.{answered}")
        for key, value in rule.items():
            setattr(method.options.Extensions[annotations_pb2.http], key, value)
    return file.SerializeToString()


def packed(at: Path, raw: bytes) -> Path:
    """A wheel with a module as protoc writes it; its other lines are never run."""
    text = f"raise SystemExit\nDESCRIPTOR = _descriptor_pool.Default().AddSerializedFile({raw!r})\n"
    with zipfile.ZipFile(at, "w") as wheel:
        wheel.writestr(descriptors.FOLDER + "gateway/gateway_pb2.py", text)
    return at


@dataclass
class Calls:
    """A channel to the listener, and the messages of its service."""

    channel: Any
    service: ServiceDescriptor
    key: str

    def make(self, kind: str, /, **fields: Any) -> Message:
        return message_factory.GetMessageClass(self.service.file.message_types_by_name[kind])(**fields)

    async def call(self, method: str, /, key: str | None = None, **fields: Any) -> Any:
        found = self.service.methods_by_name[method]
        stub = self.channel.unary_unary(
            f"/gateway.Gateway/{method}",
            request_serializer=message_factory.GetMessageClass(found.input_type).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
        )
        metadata = (("x-api-key", self.key if key is None else key),)
        return await stub(self.make(found.input_type.name, **fields), metadata=metadata, timeout=PATIENCE_S)

    async def refused(self, method: str, /, **fields: Any) -> tuple[Any, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, **fields)
        return caught.value.code(), caught.value.details() or ""


@pytest.fixture
async def calls(tmp_path: Path) -> AsyncIterator[Calls]:
    wheel = packed(tmp_path / "a.whl", described())
    async with (
        served(tmp_path / "data") as (url, home),
        listener.listening("127.0.0.1", 0, wheel, url, ["accounts/fireworks/models/m"]) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Calls(channel, descriptors.load(wheel), home.admin_key)


async def test_a_deployments_life_by_calls_alone(calls: Calls) -> None:
    policy = {"scale_up_window": {"seconds": 1}}
    wanted = {"base_model": SMOLLM2, "display_name": "Mine", "autoscaling_policy": policy, "enable_addons": True}
    made = await calls.call("CreateDeployment", parent="accounts/local", deployment_id="d", deployment=wanted)
    name = "accounts/local/deployments/d"
    assert (made.name, made.autoscaling_policy.scale_up_window.seconds, made.enable_addons) == (name, 1, True)
    assert made.create_time.seconds > 0
    listed = await calls.call("ListDeployments", parent="accounts/local", filter='display_name="Mine"', page_size=5)
    assert [one.name for one in listed.deployments] == [name]
    assert not (await calls.call("ListDeployments", parent="accounts/local", filter='display_name="x"')).deployments
    changed = await calls.call(
        "UpdateDeployment",
        deployment={"name": name, "base_model": SMOLLM2, "display_name": "Ours", "max_replica_count": 7},
        update_mask={"paths": ["display_name"]},
    )
    assert (changed.display_name, changed.max_replica_count) == ("Ours", made.max_replica_count)
    masked = await calls.call("GetDeployment", name=name, read_mask={"paths": ["display_name"]})
    assert (masked.display_name, masked.base_model) == ("Ours", "")
    await calls.call("ScaleDeployment", name=name, replica_count=1)
    assert (await calls.call("GetDeployment", name=name)).desired_replica_count == 1
    await calls.call("DeleteDeployment", name=name)
    assert [one.name for one in (await calls.call("ListDeployments", parent="accounts/local")).deployments] == []
    shown = await calls.call("ListDeployments", parent="accounts/local", show_deleted=True)
    assert [one.name for one in shown.deployments] == [name]


async def test_a_served_engine_takes_calls_beside_requests_and_ends_cleanly(tmp_path: Path) -> None:
    wheel = packed(tmp_path / "a.whl", described())
    running = EngineProcess(tmp_path / "data", ("--grpc-port", "0", "--grpc-descriptors", str(wheel))).start()
    try:
        told = re.search(r"gRPC calls are taken on 127.0.0.1 port (\d+)", running.log.read_text())
        assert told, running.log.read_text()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{told[1]}") as channel:
            calls = Calls(channel, descriptors.load(wheel), running.key)
            listed = await calls.call("ListDeployments", parent="accounts/local")
            assert (list(listed.deployments), listed.total_size) == ([], 0)
    finally:
        assert running.stop() == 0


def test_a_port_that_is_taken_ends_the_start_with_the_remedy(tmp_path: Path) -> None:
    wheel = packed(tmp_path / "a.whl", described())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--grpc-port", port)
        done = subprocess.run(
            firedeck(*words, "--grpc-descriptors", str(wheel)), env=environment(), capture_output=True, text=True,
            timeout=PATIENCE_S,
        )  # fmt: skip
    assert (done.returncode, "choose another --grpc-port" in done.stderr) == (1, True), done.stderr


async def test_errors_keep_their_code_and_their_words(calls: Calls) -> None:
    code = grpc.StatusCode
    missing = await calls.refused("GetDeployment", name="accounts/local/deployments/none")
    assert missing[0] is code.NOT_FOUND
    wrong = await calls.refused("CreateDeployment", parent="accounts/local", deployment={"base_model": "x/y/z"})
    assert (wrong[0], "baseModel" in wrong[1]) == (code.INVALID_ARGUMENT, True)
    assert (await calls.refused("GetDeployment", key="wrong", name="accounts/local/deployments/d"))[0] in (
        code.UNAUTHENTICATED, code.PERMISSION_DENIED,
    )  # fmt: skip
    for name in ("accounts/local", "accounts/local/models/x", "../../healthz", "accounts/a/deployments/b/c", ""):
        told = await calls.refused("GetDeployment", name=name)
        assert (told[0], "accounts/*/deployments/*" in told[1]) == (code.INVALID_ARGUMENT, True)
    odd = await calls.refused("GetDeployment", name="accounts/local/deployments/a?b=c#d %2F")
    assert odd[0] in (code.INVALID_ARGUMENT, code.NOT_FOUND)


async def test_what_has_no_route_is_unimplemented_or_answered_by_the_listener_itself(calls: Calls) -> None:
    for method, name in (("GetBalance", "accounts/local"), ("GetCluster", "accounts/local/clusters/c")):
        assert (await calls.refused(method, name=name))[0] is grpc.StatusCode.UNIMPLEMENTED
    assert list((await calls.call("ListServerlessLoraModels")).models) == ["accounts/fireworks/models/m"]


async def test_of_what_is_not_offered_there_is_none_and_none_is_made(calls: Calls) -> None:
    listed = await calls.call("ListDatasets", parent="accounts/local", filter="state = READY")
    assert (list(listed.datasets), listed.total_size) == ([], 0)
    missing = await calls.refused("GetDataset", name="accounts/local/datasets/d")
    assert (missing[0], "'d' does not exist" in missing[1]) == (grpc.StatusCode.NOT_FOUND, True)
    wanted: dict[str, Any] = {"parent": "accounts/local", "dataset_id": "d", "dataset": {"display_name": "Mine"}}
    told = await calls.refused("CreateDataset", **wanted)
    assert (told[0], "not available on this engine" in told[1]) == (grpc.StatusCode.UNIMPLEMENTED, True)
    assert (await calls.refused("CreateDataset", key="wrong", **wanted))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_an_engine_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    wheel = packed(tmp_path / "a.whl", described())
    async with (
        listener.listening("127.0.0.1", 0, wheel, "http://127.0.0.1:9") as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        calls = Calls(channel, descriptors.load(wheel), "k")
        assert (await calls.refused("GetDeployment", name="accounts/a/deployments/b"))[0] is grpc.StatusCode.UNAVAILABLE


def test_a_binding_says_where_every_field_goes(tmp_path: Path) -> None:
    service = descriptors.load(packed(tmp_path / "a.whl", described()))

    def asked(method: str, **fields: Any) -> bindings.Request:
        found = service.methods_by_name[method]
        bound = bindings.binding_of(found)
        assert bound is not None
        return bound.request(message_factory.GetMessageClass(found.input_type)(**fields))

    listed = asked("ListDeployments", parent="accounts/a", filter="x = 'y'", show_deleted=True, page_size=3)
    assert (listed.verb, listed.path, listed.body) == ("GET", "/v1/accounts/a/deployments", None)
    assert listed.query == (("pageSize", "3"), ("filter", "x = 'y'"), ("showDeleted", "true"))
    changed = asked(
        "UpdateDeployment", deployment={"name": "accounts/a/deployments/d", "enable_addons": True},
        update_mask={"paths": ["enable_addons", "autoscaling_policy.scale_up_window"]},
    )  # fmt: skip
    assert (changed.verb, changed.path) == ("PATCH", "/v1/accounts/a/deployments/d")
    assert changed.query == (("updateMask", "enableAddons,autoscalingPolicy.scaleUpWindow"),)
    assert changed.body == {"name": "accounts/a/deployments/d", "enableAddons": True}
    scaled = asked("ScaleDeployment", name="accounts/a/deployments/d", replica_count=2)
    assert (scaled.path, scaled.query, scaled.body) == ("/v1/accounts/a/deployments/d:scale", (), {"replicaCount": 2})
    assert asked("ScaleDeployment", name="accounts/a/deployments/d").body == {"replicaCount": 0}  # all there is of 0
    assert bindings.binding_of(service.methods_by_name["GetBalance"]) is None
    odd = asked("GetDeployment", name="accounts/a/deployments/x?y#z ü")
    assert odd.path == "/v1/accounts/a/deployments/x%3Fy%23z%20%C3%BC"


@pytest.mark.parametrize("raw", [b"", b"\xff\xff\xff", b"nothing", b"\n\x05a.txt\x1a\x05a.txt"])
def test_a_package_without_usable_descriptors_is_refused_with_the_remedy(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        descriptors.load(packed(tmp_path / "a.whl", raw))
    assert "pip download" in (caught.value.hint or "")


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no wheel")
    for source in (tmp_path, tmp_path / "text", tmp_path / "none"):
        with pytest.raises(InvalidArgument, match="holds no descriptors"):
            descriptors.load(source)
