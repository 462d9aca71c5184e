"""Deployment shapes of an operator, as files (`firedeck serve --shapes FILE.toml`); the library's are `engine.presets`.

    [[shape]]
    id = "support"
    base_model = "accounts/local/models/ours"   # the shape belongs to the model's account, and all who may see that one
    display_name = "Support chat"
    description = "Twelve sequences, and what customers say in the prompt drafts."
    preset_type = "CHAT"

    [[shape.version]]                           # the oldest first; what it does not set stays open
    id = "v1"
    max_context_length = 4096
    max_batch_size = 12
    ngram_speculation_length = 3
    draft_token_count = 8

A version may set `accelerator_type`, `accelerator_count`, `precision`, `max_context_length`, `max_batch_size`,
`long_prompt`, `draft_model`, `draft_token_count`, `ngram_speculation_length`, `enable_addons`,
`num_lora_device_cached` and `enable_session_affinity`, and say when it was made (`create_time`; else: when the file).

The files are read again when they change. A version is never changed: one that was there before keeps its settings, and
the log says so. A file that cannot be read then leaves all shapes as they were.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client.addon_types import DeploymentShape, DeploymentShapeVersion
from client.enums import STRICT
from client.errors import FiredeckError, InvalidArgument
from client.names import Name, check_id
from engine import shapes
from engine.access import bodies
from engine.clock import Clock
from engine.presets import library_versions

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
Versions = tuple[DeploymentShapeVersion, ...]
_OF_SHAPE = ("base_model", "display_name", "description", "preset_type")
_BOOK_KEPT = {"name", *_OF_SHAPE, "create_time", "update_time", "model_type", "parameter_count"}
_SETTINGS = frozenset(DeploymentShape.model_fields) - _BOOK_KEPT


class ShapeFiles:
    """The shapes that there are: those of `sources`, then the library's."""

    def __init__(self, sources: Sequence[Path], clock: Clock) -> None:
        """Raises InvalidArgument for a file that cannot be read."""
        self._sources, self._clock = tuple(sources), clock
        self._stamps, self._looked_at = _stamps(self._sources), clock.monotonic()
        self._versions = read(self._sources)

    def versions(self) -> Versions:
        now, stamps = self._clock.monotonic(), self._stamps
        if self._sources and now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at, self._stamps = now, _stamps(self._sources)
        if self._stamps != stamps:
            self._read_again()
        return self._versions

    def _read_again(self) -> None:
        try:
            found = read(self._sources)
        except FiredeckError as error:
            log.warning("the former shapes stay: %s", error.text)
            return
        former = {version.name: version for version in self._versions}
        self._versions = tuple(_unchanged(version, former.get(version.name)) for version in found)
        log.info("the shapes were read again: there are %d versions", len(found))


def read(sources: Iterable[Path]) -> Versions:
    """The versions of these files, then the library's. InvalidArgument names what is wrong."""
    found: dict[str, DeploymentShapeVersion] = {}
    taken = {version.snapshot.name for version in library_versions()}
    for file in sources:
        versions = _read_file(file)
        names = {version.snapshot.name for version in versions}
        if twice := sorted(names & taken):
            raise _wrong(file, f"there is a shape {twice[0]} already", "give it another id")
        taken |= names
        found |= {version.name: version for version in versions}
    return (*found.values(), *library_versions())


def _read_file(file: Path) -> Versions:
    try:
        made = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return parse(file.read_text("utf-8"), made)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(file, f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except InvalidArgument as error:
        raise _wrong(file, error.message, error.hint) from None


def parse(text: str, made: datetime) -> Versions:
    """The versions of a file in TOML; `made`: when, where they do not say it. InvalidArgument names what is wrong."""
    top = tomllib.loads(text)
    _known("the file", top, {"shape"})
    found: dict[str, DeploymentShapeVersion] = {}
    for table in _tables("the file", top, "shape"):
        for version in _versions_of(table, made):
            if version.name in found:
                raise InvalidArgument(f"{version.name} is there twice")
            found[version.name] = version
            shapes.check_alone(version)
    return tuple(found.values())


def _versions_of(table: dict[str, Any], made: datetime) -> Versions:
    shape_id = check_id(str(table.get("id", "")), "id of a shape")
    _known(shape_id, table, {"id", "version", *_OF_SHAPE})
    model = Name.parse(str(table.get("base_model", "")), f"base_model of {shape_id}")
    name = str(Name(model.account, "deploymentShapes", shape_id))
    common = {key: table[key] for key in _OF_SHAPE if key in table} | {"name": name}
    tables = _tables(shape_id, table, "version")
    if not tables:
        raise InvalidArgument(f"{shape_id} has no [[shape.version]]")
    first = tables[0].get("create_time", made)
    return tuple(_version(name, common | {"create_time": first}, one, made) for one in tables)


def _version(name: str, common: dict[str, Any], table: dict[str, Any], made: datetime) -> DeploymentShapeVersion:
    full = f"{name}/versions/{check_id(str(table.get('id', '')), f'id of a version of {name}')}"
    _known(full, table, {"id", "create_time", *_SETTINGS})
    settings = {key: value for key, value in table.items() if key in _SETTINGS}
    created = table.get("create_time", made)
    try:
        snapshot = bodies.read({**common, **settings, "update_time": created}, DeploymentShape, STRICT)
        return DeploymentShapeVersion(name=full, create_time=created, snapshot=snapshot, public=True)
    except InvalidArgument as error:
        raise InvalidArgument(f"{full}: {error.message}") from None


def _tables(where: str, table: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InvalidArgument(f"{where}: write each {key} as a table of its own, [[{key}]]")
    return found


def _known(where: str, table: dict[str, Any], names: set[str] | frozenset[str]) -> None:
    if unknown := sorted(table.keys() - names):
        raise InvalidArgument(f"{where} has no {unknown[0]!r}; it may have {', '.join(sorted(names))}")


def _unchanged(version: DeploymentShapeVersion, former: DeploymentShapeVersion | None) -> DeploymentShapeVersion:
    """`version`, or what it was where somebody has changed its settings."""
    if former is None or all(getattr(version.snapshot, f) == getattr(former.snapshot, f) for f in _SETTINGS):
        return version
    log.warning("%s keeps its former settings: give changed ones another version", version.name)
    return former


def _stamps(sources: Iterable[Path]) -> list[tuple[int, int] | None]:
    return [_stamp(file) for file in sources]


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _wrong(file: Path, what: str, hint: str | None = None) -> InvalidArgument:
    return InvalidArgument(
        f"{file}: {what}", field="shapes", hint=hint or "`firedeck docs wire` has the form of a file of shapes"
    )
