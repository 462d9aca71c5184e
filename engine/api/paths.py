"""Paths as the SDKs send them, before routing.

The official SDKs percent-encode `/` inside an id (`.../models/accounts%2Fx%2Fmodels%2Fy`), and ask for everything
below `/inference` when their base URL ends there. Routing must look at the raw path: decoded, an encoded name has
become segments.
"""

from __future__ import annotations

from urllib.parse import unquote

_NAME_SEGMENTS = 4  # accounts/A/COLLECTION/ID


def normalise(raw_path: str) -> str:
    """The decoded path to route on: encoded full names in an id's place become that resource's own path."""
    segments = [unquote(part) for part in raw_path.split("/")]
    if segments[1:3] == ["inference", "v1"] and segments[3:4] == ["accounts"]:
        del segments[1]
    path: list[str] = []
    for segment in segments:
        name, colon, verb = segment.partition(":")
        parts = name.split("/")
        is_name = len(parts) == _NAME_SEGMENTS and parts[0] == "accounts"
        if is_name and path[-3:-2] == ["accounts"] and path[-1:] == [parts[2]]:
            path[-3:] = [*parts[:3], parts[3] + colon + verb]
        else:
            path.append(segment)
    return "/".join(path)
