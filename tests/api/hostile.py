"""Hostile requests over the inference routes, made from tables: fields x bad values x routes.

A case is a route, a body as bytes, the status (a set of them where two are right) and the field that the answer names,
None where it names none. Bodies are written as JSON by hand where JSON has no such value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.conftest import SHARED

CHAT, COMPLETIONS = "/inference/v1/chat/completions", "/inference/v1/completions"
EMBEDDINGS, RERANK = "/inference/v1/embeddings", "/inference/v1/rerank"
MESSAGES_API, COUNT = "/inference/v1/messages", "/inference/v1/messages/count_tokens"
MODEL = f"accounts/local/deployments/{SHARED}"
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1},
    COMPLETIONS: {"model": MODEL, "prompt": "Hi", "max_tokens": 1},
    EMBEDDINGS: {"model": MODEL, "input": "Hi"},
    RERANK: {"model": MODEL, "query": "Hi", "documents": ["Ho"]},
    MESSAGES_API: {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1},
    COUNT: {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]},
}
GENERATE = (CHAT, COMPLETIONS)
ANTHROPIC = (MESSAGES_API, COUNT)  # whose errors have another envelope, and name no field apart
ANY = ""  # whatever field is named


@dataclass(frozen=True)
class Case:
    route: str
    body: bytes
    status: frozenset[int]
    field: str | None
    name: str


def case(route: str, name: str, body: bytes, status: int | set[int] = 400, field: str | None = None) -> Case:
    return Case(route, body, frozenset({status} if isinstance(status, int) else status), field, f"{route} {name}")


def with_field(route: str, field: str, raw: str) -> bytes:
    """A good body with one field more, or again (the last one counts), as JSON text."""
    return f"{json.dumps(GOOD[route])[:-1]}, {json.dumps(field)}: {raw}}}".encode()


BIG = str(2**31)
RANGES = {  # field: lowest, highest, whole
    "temperature": ("0", "2", False), "top_p": ("0", "1", False), "min_p": ("0", "1", False),
    "typical_p": ("0", "1", False), "repetition_penalty": ("0", "2", False), "presence_penalty": ("-2", "2", False),
    "frequency_penalty": ("-2", "2", False), "mirostat_target": ("0", "100", False), "mirostat_lr": ("0", "1", False),
    "top_k": ("0", "100", True), "n": ("1", "128", True), "max_tokens": ("0", None, True),
    "echo_last": ("0", None, True), "best_of": ("1", "128", True),
    "seed": (str(-(2**63)), str(2**63 - 1), True), "prompt_cache_max_len": ("0", None, True),
}  # fmt: skip
NO_NUMBERS = ['"1"', "true", "[1]", "{}", '{"a": [null]}']
NO_JSON = ["NaN", "-Infinity", "01", "+1", ".5", "0x1"]


def numbers() -> Iterator[Case]:
    for route in GENERATE:
        for field, (low, high, whole) in RANGES.items():
            out = [f"{low}.5" if whole else "1e400", str(int(low) - 1)] + ([str(int(high) + 1)] if high else [])
            for raw in [*NO_NUMBERS, *out]:
                yield case(route, f"{field}={raw}", with_field(route, field, raw), 400, ANY)
            for raw in [low, "-0"] if low == "0" else [low]:
                yield case(route, f"{field}={raw}", with_field(route, field, raw), 200)
        for raw in NO_JSON:
            yield case(route, f"temperature={raw}", with_field(route, "temperature", raw))


SWITCHES = (
    "stream", "echo", "ignore_eos", "raw_output", "perf_metrics_in_response", "return_token_ids", "safe_tokenization",
    "disable_speculation",
)  # fmt: skip
TEXTS = ("user", "prompt_cache_key", "prompt_cache_isolation_key")
WORDS = ("context_length_exceeded_behavior", "service_tier", "response_format", "stream_options", "metadata", "lora")


def types() -> Iterator[Case]:
    """Values of the wrong type."""
    for route in GENERATE:
        for field in SWITCHES:
            for raw in ('"true"', "1", "[]", "{}"):
                yield case(route, f"{field}={raw}", with_field(route, field, raw), 400, field)
        for field in TEXTS:
            for raw in ("1", "true", "[]", "{}", '"\\ud800"'):
                yield case(route, f"{field}={raw}", with_field(route, field, raw), 400, field)
        for field in WORDS:
            for raw in ('"none such"', "5", "true"):
                yield case(route, f"{field}={raw}", with_field(route, field, raw), 400, field)


GRAMMARS = {
    "nonsense": "nonsense", "open": "root ::= (", "missing": "root ::= missing", "left": "root ::= root",
    "llguidance": "%llguidance {}", "deep": "root ::= " + "(" * 60_000, "long": "root ::= " + '"a" ' * 20_000,
    "pairs": "root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000, "repeats": 'root ::= "a"{1,100000}',
    "three": 'root ::= "a"{1,2,3}', "digits": 'root ::= "a"{' + "1" * 5000 + "}", "optional": "root ::= " + ".?" * 2000,
    "nul": 'root ::= "\0"', "empty": "", "class": "root ::= [", "reversed": "root ::= [z-a]+ (",
}  # fmt: skip
DEEP: dict[str, Any] = {"type": "object"}
for _ in range(80):
    DEEP = {"type": "object", "properties": {"x": DEEP}}
SCHEMAS: dict[str, Any] = {
    "deep": DEEP, "pattern": {"type": "string", "pattern": "(((((a*)*)*)*)*"}, "empty oneOf": {"oneOf": []},
    "remote": {"$ref": "http://169.254.169.254/latest/meta-data"}, "file": {"$ref": "file:///etc/passwd"},
    "nowhere": {"$ref": "#/nowhere"}, "itself": {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "long": {"type": "string", "maxLength": 10**9}, "wide": {"properties": {str(i): {} for i in range(1001)}},
    "type": {"type": "nonsense"}, "type list": {"type": [[]]}, "enum": {"enum": []}, "list": [], "number": 5,
    "negative": {"type": "string", "minLength": -1}, "crossed": {"type": "array", "minItems": 5, "maxItems": 2},
}  # fmt: skip


def formats() -> Iterator[Case]:
    """Grammars and schemas."""
    for route in GENERATE:
        for name, grammar in GRAMMARS.items():
            raw = json.dumps({"type": "grammar", "grammar": grammar})
            yield case(route, f"grammar {name}", with_field(route, "response_format", raw), 400, ANY)
        for name, schema in SCHEMAS.items():
            raw = json.dumps({"type": "json_schema", "json_schema": {"schema": schema}})
            yield case(route, f"schema {name}", with_field(route, "response_format", raw), 400, ANY)


URLS = (
    "http://example.org/a.png", "file:///etc/passwd", "http://169.254.169.254/", "http://127.0.0.1/",
    "http://2130706433/", "http://[::ffff:127.0.0.1]/", "data:image/png;base64,AAAA", "", "gopher://x/",
)  # fmt: skip
MESSAGES: dict[str, Any] = {
    "none": [], "text": "hi", "numbers": [1], "null": [None], "many": [1] * 500_000, "no role": [{"content": "x"}],
    "role": [{"role": "root", "content": "x"}], "no content": [{"role": "user"}],
    "null content": [{"role": "user", "content": None}], "long": [{"role": "user", "content": "word " * 1_000_000}],
    "orphan": [{"role": "tool", "content": "x", "tool_call_id": "c"}], "half": [{"role": "user", "content": "\ud800"}],
    "calls": [{"role": "assistant", "tool_calls": [{"id": "c"}]}], "parts": [{"role": "user", "content": [5]}],
    "audio": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
} | {
    f"image {url}": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}] for url in URLS
}  # fmt: skip
PROMPTS: dict[str, Any] = {
    "empty": "", "none": [], "empty list": [[]], "null": None, "object": {"a": 1}, "mixture": [1, "a"], "below": [-1],
    "beyond": [10**9], "far": [2**40], "switch": [True], "million": [5] * 1_000_000, "long": "x" * 8_000_000,
    "half": "\ud800", "many": ["x"] * 129, "nested": [[[1]]], "number": 5,
}  # fmt: skip
OTHERS: dict[str, Any] = {
    "stop": [["a"] * 5, [str(i) for i in range(10_000)], [""], 5, {"a": 1}, ["x" * 10_000], [None]],
    "logit_bias": [
        {"99999999": 1}, {"-1": 1}, {"x": 1}, {"1": 101}, {"1": "1"}, {str(i): 1 for i in range(100_000)}, [1], "1"
    ],
    "tools": [
        {}, [1], [{"type": "function"}], [{"type": "function", "function": {"name": "a b"}}], [{"type": "shell"}],
        [{"type": "function", "function": {"name": "a", "parameters": {"type": "string"}}}],
    ],
    "tool_choice": ["required", {"type": "function"}, 5, {"type": "function", "function": {"name": "nope"}}],
    "logprobs": [6, -1, "1", [1]], "top_logprobs": [21, -1, 2, "1"], "prediction": [5, {"type": "other"}, [1]],
    "prompt_truncate_len": [0, -1, "1", 1.5, True],
    "images": [["data:"]], "speculation": [[-1], [2**40], {}], "max_completion_tokens": [5, -1, "5"],
}  # fmt: skip


def contents() -> Iterator[Case]:
    for name, messages in MESSAGES.items():
        yield case(CHAT, f"messages {name}", with_field(CHAT, "messages", json.dumps(messages)), 400, ANY)
    for name, prompt in PROMPTS.items():
        yield case(COMPLETIONS, f"prompt {name}", with_field(COMPLETIONS, "prompt", json.dumps(prompt)), 400, ANY)
    for route in GENERATE:
        for field, values in OTHERS.items():
            for place, value in enumerate(values):
                raw = json.dumps(value)
                yield case(route, f"{field} {place}", with_field(route, field, raw), 400, ANY)


DEEP_INPUT: Any = {}
for _ in range(200):
    DEEP_INPUT = {"a": [DEEP_INPUT]}
TURNS: dict[str, Any] = {
    "none": [], "text": "hi", "numbers": [1], "many": [1] * 500_000, "no role": [{"content": "x"}],
    "system": [{"role": "system", "content": "x"}], "assistant": [{"role": "assistant", "content": "x"}],
    "no content": [{"role": "user"}], "half": [{"role": "user", "content": "\ud800"}],
    "half in a block": [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}],
    "no type": [{"role": "user", "content": [{"text": "x"}]}],
    "no text": [{"role": "user", "content": [{"type": "text"}]}],
    "image": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}}]}],
    "document": [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "http://[::1]/"}}]}],
    "result of nothing": [{"role": "user", "content": [{"type": "tool_result"}]}],
    "result with an image": [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}]}
    ],
    "a long id": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x" * 10_000, "content": "x"}]}],
    "a call without name": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}, {"role": "user", "content": "x"}
    ],
    "a call of no object": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "a", "input": [1]}]},
        {"role": "user", "content": "x"},
    ],
}  # fmt: skip
ASIDES: dict[str, Any] = {  # of a message
    "system": [5, {}, [1], [{"type": "image"}], [{"type": "text", "text": 5}]],
    "tools": [
        5, [1], [{}], [{"name": "a b"}], [{"name": "a"}] * 2, [{"type": "bash_20250124", "name": "bash"}],
        [{"name": "a", "input_schema": {"type": "string"}}], [{"name": "a", "input_schema": 5}],
        [{"name": str(n)} for n in range(10_000)],
    ],
    "tool_choice": [5, {}, {"type": "any"}, {"type": "tool"}, {"type": "tool", "name": "nope"}, {"type": "root"}],
    "thinking": [5, {}, {"type": "enabled", "budget_tokens": 1}, {"type": "enabled", "budget_tokens": "1"}],
}  # fmt: skip
LIMITS: dict[str, Any] = {  # of a message that is answered
    "max_tokens": [0, -1, 1.5, "1", None, 10**12], "temperature": [-1, 1.5, "1"], "top_p": [2], "top_k": [101, 1.5],
    "stop_sequences": [5, [""], ["a"] * 5, [str(i) for i in range(10_000)], [5]], "stream": [1, "true"],
    "metadata": [5, {"user_id": 5}], "output_config": [5, {"format": {}}, {"format": {"type": "json_schema"}}],
}  # fmt: skip


def turns() -> Iterator[Case]:
    """Anthropic's messages, and the counting of their tokens."""
    for route in ANTHROPIC:
        for name, given in TURNS.items():
            yield case(route, f"turns {name}", with_field(route, "messages", json.dumps(given)))
        for field, values in (ASIDES | (LIMITS if route == MESSAGES_API else {})).items():
            for place, value in enumerate(values):
                yield case(route, f"{field} {place}", with_field(route, field, json.dumps(value)))
        called = {"type": "tool_use", "id": "t", "name": "a", "input": DEEP_INPUT}
        deep = [{"role": "assistant", "content": [called]}, {"role": "user", "content": "x"}]
        yield case(route, "a deep call", with_field(route, "messages", json.dumps(deep)), {200, 400})
        yield case(route, "a block of thought", with_field(route, "thinking", '{"type": "adaptive"}'), 200)


FULL = "accounts/fireworks/models/smollm2-135m-instruct"
MODELS = (
    "../../etc/passwd", "accounts/local/deployments/../deployments/shared", "%2e%2e%2f", f"{MODEL}#{MODEL}#{MODEL}",
    f"{FULL}#accounts/else/deployments/{SHARED}", f"accounts/else/deployments/{SHARED}", "a" * 64, "a" * 10_000,
    MODEL.replace("a", "а"), MODEL + "\0", MODEL + " ", " " + MODEL, MODEL.upper(), "accounts/local/deployments/",
    "#", "##", "'; DROP TABLE deployments; --", "{{7*7}}", "${jndi:ldap://x}", "\ud800", "nope",
)  # fmt: skip


def models() -> Iterator[Case]:
    """Model strings: what is not there, and what is another's, are told alike."""
    for route in GOOD:
        for place, model in enumerate(MODELS):
            raw = json.dumps(model)
            no_text = model == "\ud800" and route in ANTHROPIC
            body = with_field(route, "model", raw)
            yield case(route, f"model {place} {model[:40]!r}", body, 400 if no_text else 404, "model")
        for raw in ("5", "null", "[]", '""', "true"):
            yield case(route, f"model {raw}", with_field(route, "model", raw), 400, "model")


PLAIN = json.dumps(GOOD[COMPLETIONS]).encode()
BODIES = {
    "empty": b"", "open": b"{", "list": b"[]", "null": b"null", "text": b'"x"', "number": b"5",
    "utf-16 mark": b"\xff\xfe",
    "utf-16": PLAIN.decode().encode("utf-16"), "utf-32": PLAIN.decode().encode("utf-32"),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN, "not utf-8": PLAIN[:-1] + b', "user": "\xff"}', "two": PLAIN + PLAIN,
    "a surrogate in utf-8": PLAIN[:-1] + b', "user": "\xed\xa0\x80"}', "a NUL after it": PLAIN + b"\0",
    "a NUL within": PLAIN[:-1] + b', "user": "a\0b"}', "single quotes": b"{'model': 'x'}", "a comment": b"/**/" + PLAIN,
    "deep": b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "deeper": b"[" * 100_000, "a comma": PLAIN[:-1] + b",}",
    "a million lists": b'{"a": [' + b"[]," * 1_000_000 + b"[]]}", "long number": b'{"a": ' + b"9" * 5000 + b"}",
    "half a million keys": b"{" + b",".join(b'"%d":1' % n for n in range(500_000)) + b"}", "crlf": b"\r\n\r\n",
}  # fmt: skip


def bodies() -> Iterator[Case]:
    """What is no JSON object, or too much of one; and a body that is too large."""
    for route in GOOD:
        for name, body in BODIES.items():
            yield case(route, f"body {name}", body)
        yield case(route, "9 MB", b'{"a": "' + b"x" * (9 << 20) + b'"}', 413)


FOREIGN: tuple[dict[str, Any], ...] = (
    {"id_slot": 99, "n_discard": -5, "slot_id": -1, "samplers": ["x"], "n_keep": -9, "cache_prompt": "no"},
    {"chat_template": "{{ 1/0 }}", "chat_template_kwargs": {"messages": []}, "grammar_lazy": True, "grammar": "("},
    {"__proto__": {"x": 1}, "constructor": {}, "n_predict": 1e300, "__class__": "x", "model_config": 1},
    {"temperature": 2, "top_p": 0, "top_k": 0, "typical_p": 0, "repetition_penalty": 0, "min_p": 1},
    {"user": "${x} {{7*7}} <|im_end|> \0 \u202e", "metadata": {"\0": "\0"}, "prompt_cache_key": "\U0001f600" * 100},
    {"logit_bias": {"0": -100, "2": 100}}, {"seed": -1}, {"stop": ["\0", "\u2028"]},
)  # fmt: skip


def harmless() -> Iterator[Case]:
    """What looks like an attack and is passed over, or is legal."""
    for route in GENERATE:
        for place, fields in enumerate(FOREIGN):
            yield case(route, f"foreign {place}", json.dumps(GOOD[route] | fields).encode(), 200)
        yield case(route, "a key twice", with_field(route, "max_tokens", "2"), 200)
        deep = "[" * 500 + "]" * 500
        yield case(route, "deep and unknown", with_field(route, "unknown", deep), 200)
        commas = json.dumps("[{,:" * 400_000)
        yield case(route, "text full of brackets", with_field(route, "unknown", commas), 200)


GROUPS = {
    group.__name__: list(group()) for group in (numbers, types, formats, contents, turns, models, bodies, harmless)
}  # fmt: skip
