"""The list of models in the pages of Anthropic's Models API."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import InvalidArgument
from engine.gateway.messages_models import LIMIT, asked, info_of, page_of


def listed(count: int, **fields: object) -> dict[str, object]:
    every = [{"id": f"accounts/a/models/m{n}", "created": n, "context_length": 512, **fields} for n in range(count)]
    return {"object": "list", "data": every}


def ids(page: dict[str, object]) -> list[str]:
    return [one["id"] for one in page["data"]]


def page(found: dict[str, object], **query: object) -> dict[str, object]:
    return page_of(found, urlencode(query))


@given(st.integers(0, 50), st.integers(1, 60))
def test_pages_in_either_direction_have_each_model_once_and_say_when_they_end(count, limit):
    found, every = listed(count), ids(listed(count))
    for field, end in (("after_id", "last_id"), ("before_id", "first_id")):
        seen, query = [], {}
        while True:
            one = page(found, limit=limit, **query)
            assert len(ids(one)) <= limit
            seen = [*seen, *ids(one)] if field == "after_id" else [*ids(one), *seen]
            if field == "before_id" and not query:  # the first page of all begins at the beginning
                seen, query = every[-1:], {field: every[-1]} if every else {}
                if not every:
                    break
                continue
            if not one["has_more"]:
                break
            assert ids(one)
            query = {field: one[end]}
        assert seen == every


def test_a_page_has_twenty_unless_the_request_says_otherwise():
    assert len(ids(page(listed(50)))) == LIMIT
    both = page(listed(50), after_id="accounts/a/models/m3", before_id="accounts/a/models/m6")
    assert (ids(both), both["has_more"]) == (["accounts/a/models/m4", "accounts/a/models/m5"], False)
    assert page(listed(0)) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_one_is_told_in_the_words_of_that_api():
    model = {"id": "accounts/a/models/m#accounts/a/deployments/d", "created": 0, "context_length": None}
    told = info_of(model)
    assert (told["display_name"], told["created_at"], told["lifecycle"]) == ("m#d", "1970-01-01T00:00:00Z", "active")
    gone = info_of(model | {"deprecation_date": "2030-05-01"})
    assert (gone["lifecycle"], gone["deprecated_at"]) == ("deprecated", "2030-05-01T00:00:00Z")


@pytest.mark.parametrize(
    ("wanted", "count"), [("active", 0), ("deprecated", 2), ("retired", 0), ("retired,deprecated", 2)]
)
def test_the_lifecycle_may_be_asked_for(wanted, count):
    found = listed(2, deprecation_date="2030-05-01")
    assert len(ids(page(found, lifecycle=wanted))) == count
    assert len(ids(page_of(found, urlencode({"lifecycle[]": wanted})))) == count


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=", "limit=-1", "limit=%D9%A1", "after_id=no", "before_id="]
)
def test_what_is_wrong_in_the_query_is_named(query):
    with pytest.raises(InvalidArgument) as caught:
        page_of(listed(3), query)
    assert caught.value.field == query.partition("=")[0]


@pytest.mark.parametrize(
    ("path", "headers", "is_so"),
    [
        ("/v1/models", [(b"anthropic-version", b"2023-06-01")], True),
        ("/v1/models/m", [(b"anthropic-version", b"2023-06-01")], True),
        ("/v1/models", [(b"authorization", b"x")], False),
        ("/v1/messages", [(b"anthropic-version", b"2023-06-01")], False),
    ],
)
def test_the_header_says_whose_client_asks(path, headers, is_so):
    assert asked({"type": "http", "headers": headers}, path) is is_so
