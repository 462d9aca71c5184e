"""What routing may know of a request: hashes of its prompt's text, its length, and a digest of its session. Pure.

    in     the parsed body and the headers, as the client sent them: refusing is the replica's business
    out    `engine.control.route.Prompt`; no word of the text is kept
    near   `engine.gateway.routes` asks once for each request, `engine.control.request_text` reads, `prefix` hashes

Caches serve no one of another adapter or isolation key: these are part of each hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

from engine.control import request_text
from engine.control.prefix import BLOCK_CHARACTERS, BLOCK_TOKENS, Links, links_of
from engine.control.route import Prompt

ISOLATION_HEADER, ISOLATION_FIELD = "x-prompt-cache-isolation-key", "prompt_cache_isolation_key"
# In this order: the field that Fireworks' SDK calls the preferred one, the one it puts behind it, then the headers
# (https://docs.fireworks.ai/guides/prompt-caching, and for their order /guides/rollout-inference).
SESSION_FIELDS = ("prompt_cache_key", "user")
SESSION_HEADERS = ("x-multi-turn-session-id", "x-session-affinity")


def prompt_of(
    fields: Mapping[str, Any], headers: Mapping[str, str], addon: str | None, *, sessions: bool = True
) -> Prompt:
    """`addon`: the adapter it is answered with. `sessions`: whether the deployment keeps a session on one replica."""
    named = session_of(fields, headers) if sessions else None
    session = "" if named is None else hashlib.blake2b(named.encode(errors="replace"), digest_size=16).hexdigest()
    try:
        links, characters = _read(fields, (addon, isolation_of(fields, headers)))
    except (TypeError, ValueError, RecursionError):  # no prompt that any replica would take
        return Prompt(session=session)
    return Prompt(() if fields.get("prompt_cache_max_len") == 0 else links, characters, session)


def session_of(fields: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
    """What the client names its session by, in its own words; None for a request that stands alone."""
    given = (*(fields.get(name) for name in SESSION_FIELDS), *(headers.get(name) for name in SESSION_HEADERS))
    return next((one for one in given if isinstance(one, str) and one), None)


def isolation_of(fields: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that keep caches apart, as replicas tell them apart: one in the header is the same as in the body. What
    is no text is for the replica to refuse."""
    keys = (headers.get(ISOLATION_HEADER), fields.get(ISOLATION_FIELD))
    return tuple(dict.fromkeys(key for key in keys if isinstance(key, str) and key))


def isolated(headers: Mapping[str, str], account: str) -> dict[str, str]:
    """The headers of a request to what accounts share: its account is, or begins, the key in the header. How soon an
    answer begins then tells nobody what another account has asked."""
    given = headers.get(ISOLATION_HEADER)
    return {**headers, ISOLATION_HEADER: f"{account}/{given}" if given else account}


def _read(fields: Mapping[str, Any], scope: Hashable) -> tuple[Links, int]:
    """Links and length in characters."""
    form, content, characters = request_text.opening(fields)
    return links_of(content, (form, scope), BLOCK_TOKENS if form == "tokens" else BLOCK_CHARACTERS), characters
