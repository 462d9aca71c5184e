"""The service's descriptors, out of the package that carries them: `fireworks-ai` 0.19, as a wheel or installed.

None of its code runs: the modules that protoc has generated are read as text, and the one literal in each that is a
serialized file descriptor is taken out. What those files import of google's own comes from `googleapis-common-protos`.
"""

from __future__ import annotations

import ast
import importlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from client.errors import InvalidArgument

SERVICE = "gateway.Gateway"
FOLDER = "fireworks/control_plane/generated/protos_grpcio/"
MAX_MODULE_BYTES = 4 << 20
MAX_MODULES = 1000
_MODULE = re.compile(re.escape(FOLDER) + r"[a-z0-9_/]{1,100}_pb2\.py")
_GOOGLES = re.compile(r"google/[a-z0-9_/]{1,100}\.proto")
_UNUSABLE = (
    OSError, zipfile.BadZipFile, SyntaxError, RecursionError, ValueError, KeyError, TypeError, ImportError, DecodeError,
)  # fmt: skip
_REMEDY = "give the wheel: pip download --no-deps fireworks-ai==0.19.20"


def load(source: Path) -> ServiceDescriptor:
    """The service `gateway.Gateway` of the wheel, or of the folder that the package is installed in (site-packages).

    InvalidArgument, with the remedy, where it is not there or cannot be put together.
    """
    try:
        found = dict(_serialized(source))
        pool = DescriptorPool()
        for name in found:
            _add(pool, name, found, set())
        service: ServiceDescriptor = pool.FindServiceByName(SERVICE)
    except _UNUSABLE as error:
        raise InvalidArgument(
            f"{source} holds no descriptors of {SERVICE}: {str(error)[:200]}", field="grpc-descriptors", hint=_REMEDY
        ) from None
    return service


def _serialized(source: Path) -> Iterator[tuple[str, bytes]]:
    """Each file descriptor by the name of its file, as it is imported by."""
    for text in _modules(source):
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr == "AddSerializedFile" and node.args:
                raw = ast.literal_eval(node.args[0])
                yield descriptor_pb2.FileDescriptorProto.FromString(raw).name, raw


def _modules(source: Path) -> Iterator[str]:
    if source.is_dir():
        paths = sorted((source / FOLDER).rglob("*_pb2.py"))[:MAX_MODULES]
        yield from (path.read_text("utf-8") for path in paths if path.stat().st_size <= MAX_MODULE_BYTES)
        return
    with zipfile.ZipFile(source) as wheel:
        for entry in wheel.infolist()[: 10 * MAX_MODULES]:
            if _MODULE.fullmatch(entry.filename) and entry.file_size <= MAX_MODULE_BYTES:
                yield wheel.read(entry).decode("utf-8")


def _add(pool: DescriptorPool, name: str, found: Mapping[str, bytes], above: set[str]) -> None:
    """A file with what it imports, each once."""
    # A pool with a `descriptor_db` of its own would do it, but overflows its stack, and so ends the process, where
    # files import each other (protobuf 7.36).
    if name in above:
        raise ValueError(f"{name} imports itself")
    try:
        pool.FindFileByName(name)
    except KeyError:
        raw = found.get(name) or _googles(name)
        for imported in descriptor_pb2.FileDescriptorProto.FromString(raw).dependency:
            _add(pool, imported, found, above | {name})
        pool.AddSerializedFile(raw)


def _googles(name: str) -> bytes:
    if not _GOOGLES.fullmatch(name):
        raise KeyError(f"{name} is imported, and not there")
    module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    raw: bytes = module.DESCRIPTOR.serialized_pb
    return raw
