"""Fields that the engine sets, in requests: let through with what was got, refused as a wish."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import InvalidArgument
from engine import sent_back

NAME = "accounts/local/deployments/chat"
GOT = {
    "name": NAME, "baseModel": "m", "state": "READY", "replicaCount": 2, "region": "US_IOWA_1",
    "placement": {"multiRegion": "GLOBAL"},
}  # fmt: skip


def test_what_was_got_may_be_sent_back_whole() -> None:
    sent_back.check_new(GOT)
    sent_back.check_change(GOT, NAME)


@pytest.mark.parametrize(
    "body", [{}, {"name": NAME}, {"name": "chat"}, {"name": ""}, {"region": None}, {"region": "REGION_UNSPECIFIED"}]
)
def test_what_says_nothing_new_is_no_wish(body: dict[str, Any]) -> None:
    sent_back.check_new(body)
    sent_back.check_change({"description": "x", **body}, NAME)


@pytest.mark.parametrize("placement", [{}, {"placement": {}}, {"placement": None}])
def test_a_region_alone_is_refused_with_the_placement_as_the_remedy(placement: dict[str, Any]) -> None:
    body = {"baseModel": "m", "region": "EU_FRANKFURT_1", **placement}
    for check in (sent_back.check_new, lambda given: sent_back.check_change(given, NAME)):
        with pytest.raises(InvalidArgument, match="region is where") as refused:
            check(body)
        assert (refused.value.field, "placement" in (refused.value.hint or "")) == ("region", True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "accounts/local/deployments/other", "description": "x"}, "name"),
        ({"name": 7}, "name"),
        ({"state": "DELETED"}, "state"),
        ({"name": NAME, "replica_count": 3}, "replica_count"),
        ({"region": "US_IOWA_1", "state": "READY"}, "region"),
    ],
)
def test_a_change_of_nothing_but_what_the_engine_sets_is_refused(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        sent_back.check_change(body, NAME)
    assert refused.value.field == field
