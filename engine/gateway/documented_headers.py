"""The headers of the inference API, for its OpenAPI document: those that a client may send, and those of answers.

Names and meaning of `fireworks-*` and `x-ratelimit-*` are Fireworks' (https://docs.fireworks.ai/api-reference), those
of `x-firedeck-*` ours.
"""

from __future__ import annotations

from typing import Any

from engine.gateway.exchange import MOST_TOKENS_HEADER

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "string", "pattern": "^[0-9]+$"}
_SECONDS: Json = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}
_SHARE = _SECONDS


def _told(what: str, schema: Json) -> Json:
    return {"description": what, "schema": schema}


SENT: dict[str, tuple[str, Json]] = {
    "x-request-timeout": ("Seconds after which nobody waits for the answer", {"type": "number", "exclusiveMinimum": 0}),
    "x-prompt-cache-isolation-key": ("Prompts are shared in caches by requests of the same key alone", _TEXT),
    "x-multi-turn-session-id": ("Which conversation this is: it stays with one replica", _TEXT),
    "x-session-affinity": ("As x-multi-turn-session-id", _TEXT),
    "cache-control": ("no-store or no-cache: not to be answered from a response cache", _TEXT),
    "traceparent": ("W3C Trace Context: the request's spans belong to this trace", _TEXT),
    "x-firedeck-synthetic": ("With any value: it is counted and shown as synthetic traffic", _TEXT),
}  # fmt: skip

ALWAYS: Json = {
    "x-request-id": _told("What `firedeck explain` asks for", _TEXT),
    "sunset": _told(
        "Only of a model with a deprecationDate: when it leaves serverless, or is not deployed anew (RFC 8594)",
        _TEXT,
    ),
    "x-firedeck-simulated": _told("Only of an engine whose fleet is simulated", {"const": "true"}),
}

_KINDS = {
    "requests": "requests", "tokens-prompt": "tokens of prompts",
    "tokens-cache-adjusted-prompt": "tokens of prompts, without those that came from a cache",
    "tokens-generated": "generated tokens",
}  # fmt: skip
LIMITS: Json = {
    f"x-ratelimit-{word}-{kind}": _told(f"{what} {of}; only where such a limit is set", _COUNT)
    for word, what in (("limit", "In a minute at most so many"), ("remaining", "Left of them for this minute:"))
    for kind, of in _KINDS.items()
} | {
    "x-ratelimit-over-limit": _told(
        "Whether a limit of the account or the key refused this request; only where any is set", {"enum": ["yes", "no"]}
    ),
    MOST_TOKENS_HEADER: _told("What an answer may have; only where a limit leaves less than was asked for", _COUNT),
}  # fmt: skip

RETRY: Json = {
    "retry-after": _told("Seconds until the same request may be let in; absent where waiting does not help", _COUNT),
    "retry-after-ms": _told("The same in milliseconds", _COUNT),
}
SHOULD_RETRY: Json = {"x-should-retry": _told("For SDKs that look for it", {"enum": ["true", "false"]})}

CACHE: Json = {
    "x-firedeck-response-cache": _told(
        "Whether the deployment's response cache had the answer; absent where it was not asked",
        {"enum": ["hit", "miss"]},
    )
}
AGE: Json = {"age": _told("Of a hit: seconds since the answer was computed", _COUNT)}
STREAM: Json = {"cache-control": _told("Of a stream", {"const": "no-cache"})}

POOLED: Json = {
    "fireworks-prompt-tokens": _told("Tokens of the prompt.", _COUNT),
    "fireworks-server-processing-time": _told("Seconds for the whole answer, at what gave it.", _SECONDS),
}
_GENERATED = {
    "cached-prompt-tokens": ("Those of the prompt's tokens that came from a cache; of a hit of the response cache, all",
                             _COUNT),
    "server-time-to-first-token": ("Seconds until the first token", _SECONDS),
    "tokenizer-queue-duration": ("Seconds until the request was read", _SECONDS),
    "tokenizer-duration": ("Seconds that reading it took", _SECONDS),
    "prefill-queue-duration": ("Seconds until the prompt's turn came", _SECONDS),
    "prefill-duration": ("Seconds for the prompt", _SECONDS),
    "generation-duration": ("Seconds for all tokens but the first", _SECONDS),
    "num-concurrent-requests": ("Requests at the replica when this one came", _COUNT),
    "deployment": ("The deployment that answered, in full: behind a router, the one that was chosen", _TEXT),
    "backend-host": ("The replica that answered", _TEXT),
    "speculation-prompt-tokens": ("Tokens of the predicted output; only with a prediction", _COUNT),
    "speculation-prompt-matched-tokens": ("Those of them that were accepted; only with a prediction", _COUNT),
    "speculation-generated-tokens": ("Drafted tokens that were accepted; only where any were drafted", _COUNT),
    "speculation-acceptance": ("Their share of all that were drafted, 0 to 1; only where any were drafted", _SHARE),
}  # fmt: skip
GENERATED: Json = POOLED | {
    f"fireworks-{name}": _told(f"{what}. A stream has it in its last chunk, with perf_metrics_in_response.", schema)
    for name, (what, schema) in _GENERATED.items()
}
