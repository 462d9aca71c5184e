"""Traces on their way to a collector: where to, in what form, in batches, and what becomes of them when it is away."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from client.errors import InvalidArgument
from engine.clock import FakeClock
from engine.telemetry import exporter as exporter_room
from engine.telemetry.exporter import BACKOFF_MAX_S, BATCH_MAX, DROPPED, EVERY_S, EXPORTED, FAILURES, REJECTED, Exporter
from engine.telemetry.otlp import Target, body_of, rejected_of, target_of
from engine.telemetry.spans import spans_of
from engine.telemetry.trace import Trace
from tests.collector import collecting, decoded, values
from tests.unit.test_tracing import MODEL, PARENT, Walk, streamed

PATIENCE_S = 60.0
HOST = "http://127.0.0.1:4318"


@pytest.mark.parametrize(
    ("endpoint", "environment", "url"),
    [
        (HOST, {}, f"{HOST}/v1/traces"), (f"{HOST}/", {}, f"{HOST}/v1/traces"),
        (f"{HOST}/below", {}, f"{HOST}/below/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": HOST}, f"{HOST}/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{HOST}/as-it-is"},
         f"{HOST}/as-it-is"),
        (HOST, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, f"{HOST}/v1/traces"),
    ],
)  # fmt: skip
def test_where_to_is_said_by_the_option_or_by_the_variables_of_the_specification(endpoint, environment, url) -> None:
    found = target_of(endpoint, environment)
    assert found is not None
    assert found.url == url


@pytest.mark.parametrize(
    "environment",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, {"ENDPOINT": HOST, "TRACES_ENDPOINT": HOST},
     {"OTEL_EXPORTER_OTLP_ENDPOINT": HOST, "OTEL_SDK_DISABLED": "true"},
     {"OTEL_EXPORTER_OTLP_ENDPOINT": HOST, "OTEL_TRACES_EXPORTER": "none"}],
)  # fmt: skip
def test_nothing_goes_anywhere_unless_it_is_asked_for(environment: dict[str, str]) -> None:
    assert target_of(None, environment) is None


@pytest.mark.parametrize("wrong", ["collector:4318", "grpc://a", "http://", "http://a:x", "4318", "http://[::1"])
def test_an_address_that_is_none_is_refused_with_the_remedy(wrong: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        target_of(wrong, {})
    assert "as http://127.0.0.1:4318" in caught.value.text


def test_another_protocol_is_refused_and_headers_are_taken_and_never_shown() -> None:
    with pytest.raises(InvalidArgument, match="not over gRPC"):
        target_of(HOST, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    told = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20c2VjcmV0, x-team = a", "OTEL_SERVICE_NAME": "mine"}
    found = target_of("http://user:secret@collector:4318", told)
    assert found is not None
    assert found.headers == {"authorization": "Basic c2VjcmV0", "x-team": "a"}
    assert (found.service, found.shown) == ("mine", "http://collector:4318")
    assert "c2VjcmV0" not in repr(found)
    assert "secret" not in repr(found)
    with pytest.raises(InvalidArgument):
        target_of(HOST, {"OTEL_EXPORTER_OTLP_HEADERS": "a=x%0d%0ab: y"})


def lost_and_failed() -> Trace:
    walk = Walk(PARENT)
    walk.admit()
    walk.place()
    return walk.end(502)


def test_the_body_is_what_the_protocol_defines() -> None:
    traces = [streamed(), lost_and_failed()]
    body, count = body_of(traces, {"service.name": "firedeck", "firedeck.simulated": True})
    [whole] = decoded(body)
    assert values(whole.resource.attributes) == {"service.name": "firedeck", "firedeck.simulated": True}
    found = list(whole.scope_spans[0].spans)
    made = [span for trace in traces for span in spans_of(trace)]
    assert len(found) == len(made) == count
    for sent, span in zip(found, made, strict=True):
        assert (sent.name, sent.span_id.hex(), sent.parent_span_id.hex()) == (span.name, span.span_id, span.parent_id)
        assert (len(sent.trace_id), len(sent.span_id), sent.kind) == (16, 8, span.kind)
        assert values(sent.attributes) == pytest.approx(span.attributes)
        assert [event.name for event in sent.events] == [event.name for event in span.events]
        assert sent.end_time_unix_nano >= sent.start_time_unix_nano > 0
        assert (sent.status.code == 2) == bool(span.error)
    assert found[0].flags == 0x101
    parent = found[[span.name for span in found].index(f"chat {MODEL}", 1)]
    assert (parent.trace_id.hex(), parent.parent_span_id.hex(), parent.flags) == (PARENT[3:35], PARENT[36:52], 0x301)


@pytest.mark.parametrize(
    ("answer", "count"),
    [(b"{}", 0), (b"", 0), (b"[]", 0), (b'{"partialSuccess":{"rejectedSpans":"7"}}', 7),
     (b'{"partialSuccess":{"rejectedSpans":3}}', 3), (b'{"partialSuccess":{}}', 0)],
)  # fmt: skip
def test_what_a_collector_did_not_take_is_counted(answer: bytes, count: int) -> None:
    assert rejected_of(answer) == count


class Sums:
    """The counters, since this was made."""

    def __init__(self) -> None:
        self._at = self._now()

    @staticmethod
    def _now() -> dict[str, float]:
        reasons = {reason: DROPPED.labels(reason) for reason in ("queue_full", "refused", "engine_ended")}
        all_of = {"exported": EXPORTED, "failures": FAILURES, "rejected": REJECTED, **reasons}
        return {name: counter._value.get() for name, counter in all_of.items()}

    def since(self) -> dict[str, float]:
        return {name: value - self._at[name] for name, value in self._now().items() if value != self._at[name]}


@asynccontextmanager
async def exporting(url: str, **more: Any) -> AsyncIterator[tuple[Exporter, FakeClock]]:
    clock = FakeClock()
    made = Exporter(Target(f"{url}/v1/traces", **more), {"service.version": "1"}, clock)
    made.start()
    try:
        yield made, clock
    finally:
        await made.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def pass_until(clock: FakeClock, condition: Callable[[], object], step_s: float = EVERY_S) -> float:
    """Turn the clock on until something holds; the seconds of it that this took at most."""
    passed_s = 0.0
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            clock.advance(step_s)
            passed_s += step_s
            await asyncio.sleep(0.02)
    return passed_s


async def test_what_is_over_arrives_with_the_headers_in_one_batch_after_a_while() -> None:
    sums = Sums()
    async with collecting() as collector, exporting(collector.url, headers={"x-team": "a"}) as (exporter, clock):
        for _ in range(3):
            exporter.offer(streamed())
        await pass_until(clock, lambda: collector.bodies)
        assert len(collector.bodies) == 1
        assert collector.headers["x-team"] == "a"
        assert collector.headers["content-type"] == "application/json"
        assert len([one for one in collector.spans() if not one.parent_span_id]) == 3
        await until(lambda: sums.since() == {"exported": 3})


async def test_a_full_batch_goes_at_once_and_no_batch_is_larger() -> None:
    async with collecting() as collector, exporting(collector.url) as (exporter, _):
        for _ in range(2 * BATCH_MAX):
            exporter.offer(streamed())
        await until(lambda: len(collector.bodies) == 2)
        for body in collector.bodies:
            spans = json.loads(body)["resourceSpans"][0]["scopeSpans"][0]["spans"]
            assert len([one for one in spans if "parentSpanId" not in one]) == BATCH_MAX


async def test_what_a_client_wants_not_to_be_recorded_is_not_sent() -> None:
    async with collecting() as collector, exporting(collector.url) as (exporter, clock):
        exporter.offer(Walk(PARENT[:-2] + "00").end(200))
        exporter.offer(streamed())
        await pass_until(clock, lambda: collector.bodies)
        assert PARENT[3:35].encode() not in b"".join(collector.bodies)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_collector_that_cannot_take_it_now_gets_it_later_and_ever_more_seldom(status: int, caplog) -> None:
    sums = Sums()
    async with collecting() as collector, exporting(collector.url) as (exporter, clock):
        collector.status = status
        exporter.offer(streamed())
        with caplog.at_level(logging.WARNING):
            await pass_until(clock, lambda: collector.asked >= 4, 1.0)
        assert len(caplog.records) == 1, "told once, not at each try"
        collector.status = 200
        await pass_until(clock, lambda: collector.bodies, BACKOFF_MAX_S)
        assert len(collector.bodies) == 1
        await until(lambda: "exported" in sums.since())
    assert sums.since()["exported"] == 1
    assert sums.since()["failures"] >= 4
    assert "queue_full" not in sums.since()


async def test_it_waits_as_long_as_the_collector_says() -> None:
    async with collecting() as collector, exporting(collector.url) as (exporter, clock):
        collector.status, collector.after = 503, "120"
        exporter.offer(streamed())
        await pass_until(clock, lambda: collector.asked)
        collector.status = 200
        assert await pass_until(clock, lambda: collector.bodies, 1.0) >= 100


def test_waits_grow_and_end_at_a_minute() -> None:
    waits = Exporter(Target(HOST), {}, FakeClock())
    found = [waits._failed("HTTP 503") for _ in range(9)]
    assert found == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits._failed("HTTP 503", "3600") == exporter_room.RETRY_AFTER_MAX_S
    assert waits._failed("HTTP 503", "Fri, 31 Dec 1999 23:59:59 GMT") == 60


async def test_what_can_never_be_right_is_dropped_and_counted_and_the_next_goes_on() -> None:
    sums = Sums()
    async with collecting() as collector, exporting(collector.url) as (exporter, clock):
        collector.status = 400
        exporter.offer(streamed())
        await pass_until(clock, lambda: "refused" in sums.since())
        collector.status, collector.answer = 200, b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"x"}}'
        exporter.offer(streamed())
        await pass_until(clock, lambda: "rejected" in sums.since())
    assert sums.since() == {"refused": 1, "failures": 1, "exported": 1, "rejected": 2}


async def test_a_collector_that_is_not_there_stops_nothing_and_what_waits_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(exporter_room, "QUEUE_MAX", 100)
    monkeypatch.setattr(exporter_room, "LAST_S", 0.2)
    sums = Sums()
    async with collecting() as gone:
        url = gone.url
    async with exporting(url) as (exporter, clock):
        exporter.offer(streamed())
        await pass_until(clock, lambda: sums.since().get("failures"))
        for _ in range(250):
            exporter.offer(streamed())
        assert len(exporter._waiting) == 100
        assert sums.since()["queue_full"] == 150
    assert sums.since()["engine_ended"] == 101, "none is lost without being counted"


async def test_the_engines_end_sends_what_waits() -> None:
    sums = Sums()
    async with collecting() as collector:
        async with exporting(collector.url) as (exporter, _):
            for _ in range(BATCH_MAX - 1):
                exporter.offer(streamed())
        assert len(collector.bodies) == 1
    assert sums.since() == {"exported": BATCH_MAX - 1}


async def test_a_collector_that_answers_nothing_holds_up_the_end_for_a_moment_only(monkeypatch) -> None:
    monkeypatch.setattr(exporter_room, "LAST_S", 0.2)
    sums = Sums()
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with exporting(f"http://127.0.0.1:{port}") as (exporter, _):
        exporter.offer(streamed())
    assert sums.since() == {"engine_ended": 1}
    silent.close()
