"""Versions of an operator's shapes as they were published, which never change, whatever their files say later.

A version is published by the first engine that reads it, and counts once that is on disk. What is compared is what
deployments are held to: its base model and the settings that it pins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from client.addon_types import DeploymentShape, DeploymentShapeVersion
from client.errors import InvalidArgument
from engine.store.store import Store

_BOOK_KEPT = {"name", "display_name", "description", "preset_type", "create_time", "update_time", "model_type"}
_HELD_TO = set(DeploymentShape.model_fields) - _BOOK_KEPT - {"parameter_count"}
Versions = Mapping[Path, tuple[DeploymentShapeVersion, ...]]


class PublishedShapes:
    """Of one data folder, for ever: a version that was taken out of its file and is put back is still the same."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def settle(self, found: Versions) -> tuple[list[DeploymentShapeVersion], list[InvalidArgument]]:
        """The versions of these files as they were published, new ones published now; and the refusal of each that was
        changed. One that was changed and is no longer known as it was is left out.

        Raises Unavailable where new ones cannot be written down."""
        known = {row["name"]: row for row in await self._store.fetch("published_shapes")}
        kept, refused, fresh = [], [], []
        for file, version in ((file, version) for file, versions in found.items() for version in versions):
            row, digest = known.get(version.name), _digest(version)
            if row is None:
                fresh.append({"name": version.name, "digest": digest, "doc": version.model_dump_json(by_alias=True)})
            elif row["digest"] != digest:
                former = _read(row["doc"])
                refused.append(_changed(file, version.name, is_kept=former is not None))
                kept += [former] if former else []
                continue
            kept.append(version)
        if fresh:
            await self._store.transact([("publish_shape", row) for row in fresh])
        return kept, refused


def _digest(version: DeploymentShapeVersion) -> str:
    """Of what is set: a setting that firedeck learns later changes none."""
    held_to = version.snapshot.model_dump(mode="json", include=_HELD_TO, exclude_none=True)
    return hashlib.sha256(json.dumps(held_to, sort_keys=True).encode()).hexdigest()


def _read(doc: str) -> DeploymentShapeVersion | None:
    """None for what another firedeck wrote, with fields that this one has not."""
    try:
        return DeploymentShapeVersion.model_validate_json(doc)
    except ValidationError:
        return None


def _changed(file: Path, name: str, *, is_kept: bool) -> InvalidArgument:
    what = "it keeps its former settings" if is_kept else "and what it was is no longer known, so it is left out"
    return InvalidArgument(
        f"{file}: {name} was changed after it was published; {what}", field="shapes",
        hint="put it back as it was, and give changed settings a version of their own",
    )  # fmt: skip
