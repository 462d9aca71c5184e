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

The files are read again when they change. A version never changes once an engine on this data folder has read it
(`engine.published_shapes`): one whose file says something else keeps its settings, and the log says so. A file that
cannot be read then leaves all shapes as they were.
"""

from __future__ import annotations

import asyncio
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
from engine.published_shapes import PublishedShapes

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
Versions = tuple[DeploymentShapeVersion, ...]
_OF_SHAPE = ("base_model", "display_name", "description", "preset_type")
_BOOK_KEPT = {"name", *_OF_SHAPE, "create_time", "update_time", "model_type", "parameter_count"}
_SETTINGS = frozenset(DeploymentShape.model_fields) - _BOOK_KEPT


class ShapeFiles:
    """The shapes that there are: those of `sources`, then the library's. Call `open()` first."""

    def __init__(self, sources: Sequence[Path], clock: Clock, published: PublishedShapes) -> None:
        self._sources, self._clock, self._published = tuple(sources), clock, published
        self._stamps: list[tuple[int, int] | None] = []
        self._looked_at = clock.monotonic()
        self._looking = asyncio.Lock()
        self.versions: Versions = library_versions()  # as they were seen last

    async def open(self) -> None:
        """Raises InvalidArgument for a file that cannot be read."""
        self._stamps = await asyncio.to_thread(_stamps, self._sources)
        await self._read()

    async def look(self) -> None:
        """Make `versions` those of the files as they are now; what cannot be had stays as it was."""
        async with self._looking:
            now = self._clock.monotonic()
            if not self._sources or now - self._looked_at < LOOK_EVERY_S:
                return
            self._looked_at, stamps = now, await asyncio.to_thread(_stamps, self._sources)
            if stamps == self._stamps:
                return
            try:
                await self._read()
            except InvalidArgument as error:
                log.warning("the former shapes stay: %s", error.text)
            except FiredeckError as error:
                log.warning("the former shapes stay for now: %s", error.text)
                return  # to be tried again
            self._stamps = stamps

    async def _read(self) -> None:
        found = await asyncio.to_thread(read, self._sources)
        kept, refused = await self._published.settle(found)
        for one in refused:
            log.error("%s", one.text)
        self.versions = (*kept, *library_versions())
        log.info("the shapes were read: there are %d versions", len(self.versions))


def read(sources: Iterable[Path]) -> dict[Path, Versions]:
    """The versions of these files. InvalidArgument names what is wrong."""
    found: dict[Path, Versions] = {}
    taken = {version.snapshot.name for version in library_versions()}
    for file in sources:
        versions = _read_file(file)
        names = {version.snapshot.name for version in versions}
        if twice := sorted(names & taken):
            raise _wrong(file, f"there is a shape {twice[0]} already", "give it another id")
        taken |= names
        found[file] = versions
    return found


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
