"""Structured output with a real model: answers validate, and no grammar holds or ends the replica."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import psutil
import pytest

from client.errors import InvalidArgument
from engine.replica.grammar import check_gbnf, schema_to_gbnf
from engine.replica.grammar_process import Grammar, GrammarProcesses
from engine.replica.llama import Vocabulary, load_vocabulary, start_backend
from tests.engine.conftest import Launch, Replica, poll_until
from tests.published import SuiteSchema, accepted, suite_schemas
from tests.unit.test_replica_schema import VALIDATORS

# Twice as many readings with every letter: each may end in b or in c.
DOUBLING = 'root ::= s\ns ::= "a" s "b" | "a" s "c" | "a"'
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 60}, "born": {"format": "date", "type": "string"}},
    "required": ["name", "born"],
}
STORY = {"type": "array", "items": {"type": "string", "minLength": 40, "maxLength": 60}, "minItems": 4, "maxItems": 4}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"v": {"type": "integer"}, "sub": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["v"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
    "required": ["sub"],
}
CITIES = {"type": "array", "items": {"enum": ["Paris", "Rome", "Oslo"]}, "minItems": 20, "maxItems": 30}
SCHEMAS = (PERSON, STORY, CITIES)


def body(schema: Any, **fields: Any) -> dict[str, Any]:
    """A chat request for an instance of a schema."""
    message = {"role": "user", "content": f"Answer in JSON that matches this schema: {json.dumps(schema)[:300]}"}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return {"messages": [message], "response_format": wrapped, "temperature": 1.0, "max_tokens": 150} | fields


def depth(tree: dict[str, Any]) -> int:
    return 1 + max(map(depth, tree.get("sub", [])), default=0)


def children(replica: Replica) -> list[psutil.Process]:
    return psutil.Process(replica.process.pid).children()


def gone(processes: list[psutil.Process]) -> bool:
    return not any(child.is_running() and status(child) != psutil.STATUS_ZOMBIE for child in processes)


def status(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.NoSuchProcess:  # it went just now
        return psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def vocabulary(smollm2: Path) -> Vocabulary:
    start_backend()
    return load_vocabulary(str(smollm2))


@pytest.fixture
def processes(smollm2: Path, vocabulary: Vocabulary) -> Iterator[GrammarProcesses]:
    made = GrammarProcesses(str(smollm2), vocabulary.size, vocabulary.end_tokens)
    yield made
    made.close()


class TestProcesses:
    def follow(self, grammar: Grammar, vocabulary: Vocabulary, text: str) -> Grammar:
        for token in vocabulary.tokenize(text, add_special=False, parse_special=False):
            assert grammar.advance(token), (text, token)
        return grammar

    def allowed(self, grammar: Grammar, vocabulary: Vocabulary) -> list[int]:
        masked = grammar.mask(np.zeros(vocabulary.size, np.float32))
        return np.flatnonzero(masked > -1).tolist()

    def test_one_token_and_the_whole_row_say_the_same(
        self, processes: GrammarProcesses, vocabulary: Vocabulary
    ) -> None:
        reader = self.follow(processes.parse(schema_to_gbnf(PERSON)).clone(), vocabulary, '{"name": "Ad')
        allowed = set(self.allowed(reader, vocabulary))
        some = {token: reader.allows(token) for token in range(0, vocabulary.size, 97)}
        assert some == {token: token in allowed for token in some}
        assert set(some.values()) == {True, False}

    def test_bytes_that_are_not_utf8_and_control_tokens_are_not_text(
        self, processes: GrammarProcesses, vocabulary: Vocabulary
    ) -> None:
        single = {vocabulary.piece(token): token for token in range(vocabulary.size)}
        control = next(t for t in vocabulary.special_tokens.values() if t not in vocabulary.end_tokens)
        anything = processes.parse('root ::= [^"]* "!"').clone()
        assert not anything.allows(control)
        assert processes.parse('root ::= [^"]* "!"', visible=frozenset({control})).clone().allows(control)
        never_first = [bytes([byte]) for byte in range(0x80, 0x100) if not 0xC2 <= byte <= 0xF4]
        wrong = [single[byte] for byte in never_first if byte in single]
        assert len(wrong) > 50
        assert not any(anything.allows(token) for token in wrong)
        assert anything.advance(single[b"\xc3"])
        first_bytes = [vocabulary.piece(token)[0] for token in self.allowed(anything, vocabulary)]
        assert first_bytes
        assert all(byte & 0xC0 == 0x80 for byte in first_bytes)

    def test_a_grammar_whose_readings_multiply_costs_only_its_own_request(
        self, processes: GrammarProcesses, vocabulary: Vocabulary
    ) -> None:
        good = self.follow(processes.parse(schema_to_gbnf(PERSON)).clone(), vocabulary, '{"name": "Ada')
        before, pids = self.allowed(good, vocabulary), processes.pids()
        bad = processes.parse(check_gbnf(DOUBLING)).clone()
        token = vocabulary.tokenize("a", add_special=False, parse_special=False)[0]
        with pytest.raises(InvalidArgument, match="too ambiguous"):
            all(bad.advance(token) for _ in range(60))
        assert processes.pids()[0] != pids[0]
        assert self.allowed(good, vocabulary) == before
        self.follow(good, vocabulary, '", "born": "2001-02-03"}')

    def test_a_grammar_slow_from_the_first_look_is_refused_beside_running_ones(
        self, processes: GrammarProcesses, vocabulary: Vocabulary
    ) -> None:
        good = self.follow(processes.parse('root ::= "x"*').clone(), vocabulary, "x")
        stepper = processes.pids()[0]
        with pytest.raises(InvalidArgument):
            processes.parse('root ::= ("a"? "b"?){400} "c"')
        assert good.allows(vocabulary.tokenize("x", add_special=False, parse_special=False)[0])
        assert processes.pids()[0] == stepper

    @pytest.mark.parametrize("text", ["root ::= missing", 'root ::= root "a"', "root ::= (", 'root ::= "a" {5,2}'])
    def test_what_llama_cpp_cannot_read_is_refused(self, processes: GrammarProcesses, text: str) -> None:
        with pytest.raises(InvalidArgument):
            processes.parse(text)
        assert processes.parse('root ::= "a"')


class TestAnswers:
    def _check(self, client: httpx.Client, entries: list[SuiteSchema], max_tokens: int) -> int:
        """How many answers came to an end; each of them validates."""
        finished = 0
        for number, entry in enumerate(entries):
            answer = client.post("/v1/chat/completions", json=body(entry.schema, seed=number, max_tokens=max_tokens))
            assert answer.status_code == 200, (entry, answer.text)
            choice = answer.json()["choices"][0]
            if choice["finish_reason"] == "stop":
                finished += 1
                validator = VALIDATORS[entry.draft]
                value = json.loads(choice["message"]["content"])
                validator(entry.schema, format_checker=validator.FORMAT_CHECKER).validate(value)
        return finished

    def test_answers_that_finished_validate(self, client: httpx.Client) -> None:
        entries = [entry for entry, _ in accepted(suite_schemas()) if isinstance(entry.schema, dict)]
        assert self._check(client, entries[::13], 48) >= 12

    @pytest.mark.soak
    @pytest.mark.timeout(1800)
    def test_answers_to_every_schema_of_the_suite_validate(self, client: httpx.Client) -> None:
        entries = [entry for entry, _ in accepted(suite_schemas()) if isinstance(entry.schema, dict)]
        assert len(entries) >= 300
        assert self._check(client, entries, 120) >= 200

    def test_a_recursive_schema_is_followed(self, client: httpx.Client) -> None:
        example = {"v": 1, "sub": [{"v": 2, "sub": [{"v": 3}]}, {"v": 4}]}
        messages = [{"role": "user", "content": f"Repeat this JSON: {json.dumps(example)}"}]
        trees = []
        for seed in range(5):
            asked = body(TREE, seed=seed, messages=messages, max_tokens=60)
            choice = client.post("/v1/chat/completions", json=asked).json()["choices"][0]
            if choice["finish_reason"] == "stop":
                trees.append(json.loads(choice["message"]["content"]))
        assert len(trees) >= 4
        for tree in trees:
            jsonschema.Draft202012Validator(TREE).validate(tree)
        assert max(map(depth, trees)) > 1


async def stream(client: httpx.AsyncClient, request: dict[str, Any], begun: asyncio.Event | None = None) -> str:
    """The text of a streamed answer; `begun` is set with its first piece."""
    text = ""
    async with client.stream("POST", "/v1/chat/completions", json=request | {"stream": True}) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                assert "error" not in chunk, chunk
                text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
                if text and begun is not None:
                    begun.set()
    return text


class TestDeath:
    async def test_streams_go_on_unchanged_when_the_child_is_killed(self, replica: Replica) -> None:
        requests = [body(schema, seed=number, max_tokens=60) for number, schema in enumerate(SCHEMAS)]
        async with replica.async_client() as client:
            calm = [await stream(client, request) for request in requests]
            for _time in range(5):  # they are short: on a busy machine all may have ended before somebody looks
                started = [asyncio.Event() for _ in requests]
                streams = [
                    asyncio.create_task(stream(client, request, event))
                    for request, event in zip(requests, started, strict=True)
                ]
                for event in started:
                    await event.wait()
                running = children(replica)
                assert running
                for child in running:
                    os.kill(child.pid, signal.SIGKILL)
                under_way = not all(one.done() for one in streams)
                assert await asyncio.gather(*streams) == calm
                if under_way:
                    break
            assert under_way

    def test_a_doubling_grammar_ends_with_an_error_and_the_replica_serves_on(self, client: httpx.Client) -> None:
        asked = {"messages": [{"role": "user", "content": "aaaa"}], "max_tokens": 200, "temperature": 0}
        bad = client.post(
            "/v1/chat/completions", json=asked | {"response_format": {"type": "grammar", "grammar": DOUBLING}}
        )
        assert bad.status_code == 400, bad.text
        assert bad.json()["error"]["param"] == "response_format"
        assert client.post("/v1/chat/completions", json=body(PERSON, max_tokens=5)).status_code == 200

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_no_child_outlives_its_replica(self, launch: Launch, smollm2: Path, number: signal.Signals) -> None:
        replica = launch(smollm2, "--context", "512")
        replica.wait_ready()
        with replica.client() as client:
            assert client.post("/v1/chat/completions", json=body(PERSON, max_tokens=5)).status_code == 200
        family = children(replica)
        assert family
        replica.process.send_signal(number)
        replica.process.wait()
        poll_until(lambda: gone(family))
