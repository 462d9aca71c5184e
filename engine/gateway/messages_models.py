"""What can be asked, as Anthropic's Models API lists it: to clients whose `anthropic-version` header says so. Pure.

    verbs  asked               whether a request is one of this API
           page_of, info_of    the list and one of it, of what `engine.gateway.models` lists
    near   `engine.gateway.messages` answers with them

Source: https://docs.anthropic.com/en/api/models-list, /models
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from client.errors import InvalidArgument
from engine.asgi import Scope

Json = dict[str, Any]
MODELS = "/v1/models"
VERSION_HEADER = "anthropic-version"
LIMIT, LIMIT_MAX = 20, 1_000  # of a page
ACTIVE, DEPRECATED = "active", "deprecated"
_LIVING = {ACTIVE, DEPRECATED}  # what is listed unless a request says which; what is retired is not there


def asked(scope: Scope, path: str) -> bool:
    """`path` is without the prefix. OpenAI's clients, which list the same paths, send no such header."""
    ours = path == MODELS or path.startswith(f"{MODELS}/")
    return ours and any(name == VERSION_HEADER.encode() for name, _ in scope["headers"])


def page_of(listed: Json, query: str) -> Json:
    """A page of the list, behind `after_id` or before `before_id`. InvalidArgument names what is wrong in the query."""
    given = parse_qs(query, keep_blank_values=True)
    wanted = _lifecycles(given)
    infos = [info for info in map(info_of, listed["data"]) if info["lifecycle"] in wanted]
    limit, ids = _limit(given), [info["id"] for info in infos]
    begin, end = 0, len(infos)
    if "after_id" in given:
        begin = _place(ids, given, "after_id") + 1
    if "before_id" in given:
        end = _place(ids, given, "before_id")
    backwards = "before_id" in given and "after_id" not in given
    page = infos[max(begin, end - limit) : end] if backwards else infos[begin:end][:limit]
    return {
        "data": page, "has_more": len(page) < end - begin, "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }  # fmt: skip


def info_of(model: Json) -> Json:
    """One of them. An answer has as many tokens as its context leaves."""
    deprecated = model.get("deprecation_date")
    return {
        "type": "model", "id": model["id"], "display_name": "#".join(map(_last, model["id"].split("#"))),
        "created_at": datetime.fromtimestamp(model["created"], UTC).isoformat().replace("+00:00", "Z"),
        "lifecycle": DEPRECATED if deprecated else ACTIVE,
        "deprecated_at": f"{deprecated}T00:00:00Z" if deprecated else None,
        "max_input_tokens": model["context_length"], "max_tokens": model["context_length"],
    }  # fmt: skip


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _limit(given: dict[str, list[str]]) -> int:
    text = given.get("limit", [str(LIMIT)])[-1]
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
    if not 1 <= limit <= LIMIT_MAX:
        raise InvalidArgument(f"limit: {text[:40]!r} is no number from 1 to {LIMIT_MAX}", field="limit")
    return limit


def _lifecycles(given: dict[str, list[str]]) -> set[str]:
    texts = given.get("lifecycle", []) + given.get("lifecycle[]", [])
    return {one for text in texts for one in text.split(",")} or _LIVING


def _place(ids: list[str], given: dict[str, list[str]], field: str) -> int:
    wanted = given[field][-1]
    if wanted not in ids:
        raise InvalidArgument(f"{field}: {wanted[:80]!r} is not listed", field=field, hint="begin the list anew")
    return ids.index(wanted)
