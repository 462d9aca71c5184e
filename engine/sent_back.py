"""What a request may say of the fields that the engine sets. Pure.

Clients send back what they got, so such fields are let through beside others and mean nothing (google.aip.dev/203).
Refused is what can only be a wish: nobody may believe to have chosen where prompts are computed, or to have stopped or
renamed a deployment, when nothing came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.errors import InvalidArgument
from client.types import OUTPUT_ONLY
from engine.wire_paths import snake

_NOWHERE = (None, "", "REGION_UNSPECIFIED")


def check_new(body: Mapping[str, Any]) -> None:
    """InvalidArgument for a `region` without the `placement` that stands beside it wherever a deployment is shown."""
    if body.get("region") not in _NOWHERE and not body.get("placement"):
        raise InvalidArgument(
            "region is where the engine's replicas run: it does not place them", field="region",
            hint='to choose where they may run say "placement": {"region": "..."}; firectl and firedeck: --region',
        )  # fmt: skip


def check_change(body: Mapping[str, Any], name: str) -> None:
    """InvalidArgument for another `name` than the path's, and for a change of nothing but what the engine sets."""
    named = body.get("name")
    if named not in (None, "", name, name.rpartition("/")[2]):
        raise InvalidArgument(
            f"name {str(named)[:120]!r} is not the deployment of the path, {name}", field="name",
            hint="a name cannot be changed: leave it out, or ask for the other deployment's path",
        )  # fmt: skip
    given = [field for field in body if field != "name"]
    if given and all(snake(field) in OUTPUT_ONLY for field in given):
        raise InvalidArgument(
            f"{given[0][:80]} cannot be changed: the engine sets it", field=given[0][:80],
            hint="name fields that can be set; the count of replicas is changed by :scale, a deletion is a DELETE",
        )  # fmt: skip
    check_new(body)
