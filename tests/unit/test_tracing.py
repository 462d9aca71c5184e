"""What is noted of a request, the spans that are made of it, and what they say in words."""

from __future__ import annotations

import itertools
import re
import time
import timeit
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, Unauthenticated, Unavailable
from engine.clock import FakeClock
from engine.control.route import Candidate, Choice, choose
from engine.gateway.traced import traced
from engine.telemetry import tracing
from engine.telemetry.deaths import Deaths
from engine.telemetry.explain import explain, span
from engine.telemetry.spans import CLIENT, SERVER, Span, spans_of
from engine.telemetry.trace import GIVEN_UP, Attempt, Judgement, Trace
from engine.telemetry.traces import Traces

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MODEL, CHAT = "accounts/fireworks/models/m", "accounts/local/deployments/chat"
ONLY = Choice("r1", 0, 4, 1, 1, 1)


class Walk:
    """One request on a clock that stands still between the steps."""

    def __init__(self, traceparent: str = "", route: str = "/v1/chat/completions") -> None:
        self.clock = FakeClock()
        self.trace = tracing.begin(self.clock, "POST", route, traceparent)
        self._token = tracing.carry(self.trace)

    def pass_ms(self, ms: float) -> None:
        self.clock.advance(ms / 1000)

    def admit(self, **more) -> None:
        self.pass_ms(1)
        tracing.known("local", "ada", "k1")
        tracing.asks(CHAT, MODEL, None, **({"stream": True, "synthetic": False} | more))
        tracing.admitted()

    def place(self, wait_ms: float = 0, choice: Choice | None = ONLY, ahead: int = 0, ready: int = 1) -> None:
        tracing.waits(ahead, ready)
        self.pass_ms(wait_ms)
        tracing.placed(choice, at_once=not wait_ms)

    def end(self, status: int, ttft_s: float | None = None, tokens=(0, 0, 0)) -> Trace:
        tracing.came_of(status, ttft_s, tokens)
        return self.over()

    def over(self) -> Trace:
        tracing.stop_carrying(self._token)
        tracing.end(self.trace)
        return self.trace


def streamed() -> Trace:
    """2 ms in the replica's queue, 30 ms of prefill, 100 ms of decode."""
    walk = Walk()
    walk.admit()
    walk.place(wait_ms=500, ahead=2, ready=0)
    tracing.sends()
    walk.pass_ms(40)
    timing = b"tokenizer_queue;dur=1, tokenizer;dur=3.5, queue;dur=2, prefill;dur=30"
    tracing.reported(200, [(b"server-timing", timing), (b"content-type", b"text/event-stream")])
    walk.pass_ms(100)
    return walk.end(200, 0.541, (37, 32, 20))


def named(spans: list[Span]) -> dict[str, Span]:
    return {one.name: one for one in spans}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (PARENT, True), (PARENT[:-2] + "00", False), (f" {PARENT}\t", True), ("cc" + PARENT[2:] + "-what.else", True),
        ("cc" + PARENT[2:], True),
    ],
)  # fmt: skip
def test_a_valid_traceparent_is_taken_over_and_its_sampling_with_it(given: str, found: bool) -> None:
    trace = Walk(given).over()
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (PARENT[3:35], PARENT[36:52], found)
    assert trace.span_id != trace.parent_id


@pytest.mark.parametrize(
    "given",
    [
        "", "00", PARENT.upper(), "ff" + PARENT[2:], PARENT + "-more", PARENT[:-1], PARENT.replace("4bf92f", "4bf92g"),
        "00-" + "0" * 32 + PARENT[35:], PARENT[:36] + "0" * 16 + "-01", PARENT + "0", "x" * 55, f"{PARENT},{PARENT}",
    ],
)  # fmt: skip
def test_any_other_begins_a_trace_of_its_own(given: str) -> None:
    trace = Walk(given).over()
    assert trace.parent_id == ""
    assert trace.sampled
    assert re.fullmatch("[0-9a-f]{32}", trace.trace_id)
    assert PARENT[3:35] != trace.trace_id


@given(st.text() | st.from_regex(r"[0-9a-f-]{53,57}"))
def test_no_header_is_an_error_and_no_id_is_ever_zero(given: str) -> None:
    trace = Walk(given).over()
    assert int(trace.trace_id, 16)
    assert int(trace.span_id, 16)
    assert not trace.parent_id or int(trace.parent_id, 16)


@given(st.integers(0, 2**64 - 1), st.integers(1, 200))
def test_ids_of_spans_are_valid_and_differ(root: int, attempts: int) -> None:
    trace = Walk().over()
    trace.span_id = f"{root or 1:016x}"
    ids = [trace.child_id(n) for n in range(1, 8 * attempts)]
    assert len({trace.span_id, *ids}) == len(ids) + 1
    assert all(re.fullmatch("[0-9a-f]{16}", one) and int(one, 16) for one in ids)


def test_a_streamed_request_is_a_tree_of_spans_that_lie_within_each_other() -> None:
    trace = streamed()
    spans = spans_of(trace)
    assert [one.name for one in spans] == [
        f"chat {MODEL}", "admit", "queue", "route", "replica r1", "tokenize", "queue", "prefill", "decode",
    ]  # fmt: skip
    by_id = {one.span_id: one for one in spans}
    assert len(by_id) == len(spans)
    for one in spans[1:]:
        parent = by_id[one.parent_id]
        assert one.end is not None
        assert parent.end is not None
        assert parent.start - 1e-6 <= one.start <= one.end <= parent.end + 1e-6, one.name
    lasted = {one.name: round((one.end - one.start) * 1000, 2) for one in spans[4:] if one.end}
    assert lasted == {"replica r1": 140, "tokenize": 4.5, "queue": 2, "prefill": 30, "decode": 100}
    assert [by_id[one.parent_id].name for one in spans[5:]] == ["replica r1"] * 4
    assert (spans[0].kind, spans[4].kind) == (SERVER, CLIENT)


def test_attributes_have_the_names_of_the_conventions() -> None:
    whole, *_, route, replica = spans_of(streamed())[:5]
    told = whole.attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == MODEL
    assert told["http.response.status_code"] == 200
    assert "error.type" not in told
    used = {
        "gen_ai.usage.input_tokens": 37,
        "gen_ai.usage.cache_read.input_tokens": 32,
        "gen_ai.usage.output_tokens": 20,
    }
    assert used.items() <= told.items()
    assert used.items() <= replica.attributes.items()
    assert route.attributes["firedeck.route.reason"] == "the only replica that took requests"
    assert [event.name for event in whole.events] == ["firedeck.first_token"]


def test_the_replica_is_handed_the_id_of_the_span_that_is_its_parent() -> None:
    walk = Walk(PARENT)
    walk.admit()
    walk.place()
    handed = tracing.sends()["traceparent"]
    trace = walk.end(200)
    found = next(one for one in spans_of(trace) if one.name == "replica r1")
    assert handed == f"00-{PARENT[3:35]}-{found.span_id}-01"
    assert tracing.parsed(handed) == (trace.trace_id, found.span_id, True)


def test_a_whole_answer_is_laid_out_backwards_from_its_status_line() -> None:
    walk = Walk()
    walk.admit(stream=False)
    walk.place()
    tracing.sends()
    walk.pass_ms(200)
    told = {"prefill-queue-duration": "0.010", "prefill-duration": "0.050", "generation-duration": "0.120"}
    tracing.reported(200, [(f"fireworks-{name}".encode(), value.encode()) for name, value in told.items()])
    tracing.drafted(30, 10)
    trace = walk.end(200, 0.06, (10, 0, 40))
    prefill, decode = named(spans_of(trace))["prefill"], named(spans_of(trace))["decode"]
    assert prefill.end == decode.start == pytest.approx(trace.began_wall_s + 0.081)
    assert decode.end == pytest.approx(trace.began_wall_s + 0.201)
    replica = named(spans_of(trace))["replica r1"].attributes
    assert (replica["firedeck.speculation.accepted"], replica["firedeck.speculation.drafted"]) == (30, 40)
    assert "Speculation: 30 of 40 drafted tokens were accepted." in explain(trace)


@pytest.mark.parametrize(
    "nonsense", [b"prefill", b"prefill;dur=x, =;dur=1", b"prefill;dur=-4", b";;,,\xff", b"prefill;dur=nan"]
)
def test_what_a_replica_says_wrongly_spoils_nothing(nonsense: bytes) -> None:
    walk = Walk()
    walk.admit()
    walk.place()
    tracing.sends()
    tracing.reported(200, [(b"server-timing", nonsense), (b"fireworks-prefill-duration", b"soon")])
    walk.pass_ms(5)
    trace = walk.end(200)
    assert trace.attempts[0].numbers == {}
    assert [one.name for one in spans_of(trace)][-2:] == ["prefill", "decode"], "as seen from the gateway"


@pytest.mark.parametrize(("accepted", "rejected"), [(0, 0), (-1, 4), (4, -1), (10**9, 0)])
def test_where_nothing_was_drafted_or_nonsense_is_said_of_it_nothing_is_told(accepted: int, rejected: int) -> None:
    walk = Walk()
    tracing.drafted(9, 11)  # nobody was asked yet
    walk.admit()
    walk.place()
    tracing.drafted(accepted, rejected)
    trace = walk.end(200, None, (10, 0, 40))
    assert not any("speculation" in name for one in spans_of(trace) for name in one.attributes)
    assert not any("Speculation" in line for line in explain(trace))


def test_a_replica_that_is_lost_and_the_try_after_it_are_told_with_how_it_died() -> None:
    walk = Walk()
    walk.admit()
    walk.place(choice=Choice("r1", 1, 2, 2, 2, 2))
    tracing.sends()
    walk.pass_ms(300)
    tracing.lost(reached=True)
    walk.pass_ms(80)
    walk.place(choice=Choice("r2", 0, 2, 1, 1, 1))
    tracing.sends()
    walk.pass_ms(10)
    tracing.reported(200, [])
    trace = walk.end(200, 0.39, (5, 0, 2))
    deaths = Deaths()
    deaths.tell("r1", "ggml: ... | CUDA error: out of memory | canary")
    spans = spans_of(trace, deaths.kind)
    lost = named(spans)["replica r1"]
    assert [one.name for one in lost.events] == [
        "firedeck.replica.lost", "firedeck.replica.out_of_memory", "firedeck.retry"
    ]  # fmt: skip
    assert lost.error
    assert not named(spans)["replica r2"].error
    assert not spans[0].error, "the client saw nothing of it"
    told = explain(trace, deaths.kind)
    assert "That replica was lost after 300 ms, while it had the request: its process died for want of memory." in told
    assert any(line.startswith("Try 2: it got a place at once") for line in told)
    assert "canary" not in repr((spans, told))
    deaths.tell("r1", "it left no message")
    assert deaths.kind("r1") == "died"
    assert deaths.kind("r2") is None


def test_it_says_what_was_waited_for() -> None:
    told = " ".join(explain(streamed()))
    assert "It waited 500 ms for a place behind 2 others: no replica took requests then." in told
    assert "Replica r1 was taken: the only replica that took requests." in told
    assert (
        "Its 37 prompt tokens, 32 of them cached, took 30 ms to be read, after 2 ms in the replica's own queue." in told
    )
    assert "20 tokens were generated in 100 ms (200 a second)." in told
    assert told.endswith("It was answered with 200 after 641 ms.")


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        (Choice("a", 0, 4, 1, 1, 1), "the only replica that took requests"),
        (Choice("a", 0, 4, 3, 1, 1), "the only one of 3 replicas with room"),
        (Choice("a", 0, 4, 3, 2, 1), "the only one with room that had not failed this very request"),
        (Choice("a", 1, 1, 3, 3, 3), "the least loaded for its size of 3 replicas (1 request on 1 slot)"),
        (Choice("a", 2, 4, 3, 2, 2), "the least loaded for its size of 3 replicas (2 requests on 4 slots)"),
        (Choice("a", 2, 4, 3, 3, 3, "affinity"), "the home of its session among 3 replicas (2 requests on 4 slots)"),
        (
            Choice("a", 0, 4, 3, 3, 3, "prefix", 1024, 1500),
            "the one that had read the first 1,024 of its 1,500 characters (0 requests on 4 slots)",
        ),
        (
            Choice("a", 0, 4, 3, 3, 3, elsewhere="home"),
            "the least loaded for its size of 3 replicas (0 requests on 4 slots), for the home of its session had too"
            " much to do",
        ),
        (
            Choice("a", 0, 4, 3, 3, 3, elsewhere="prefix"),
            "the least loaded for its size of 3 replicas (0 requests on 4 slots), for one that had read more of its"
            " prompt had too much to do",
        ),
        (
            Choice("a", 0, 4, 1, 1, 1, "only", ejected=1),
            "the only replica that took requests; 1 replica that failed other requests got none",
        ),
    ],
)
def test_why_a_replica_was_taken(taken: Choice, why: str) -> None:
    assert taken.why == why


def test_who_got_no_place_and_who_left_are_told_as_such() -> None:
    walk = Walk()
    walk.admit()
    walk.place(wait_ms=2000, choice=None, ready=2)
    tracing.refused(Unavailable("no replica had a place within 2s"))
    told = explain(walk.over())
    assert "It waited 2.00 s for a place and got none: all 2 replicas that took requests were full." in told
    assert told[-1] == "It ended with 503 UNAVAILABLE after 2.00 s: no replica had a place within 2s."
    walk = Walk()
    walk.admit()
    walk.place()
    tracing.sends()
    walk.pass_ms(70)
    left = walk.over()
    assert (left.status, left.attempts[0].outcome) == (499, GIVEN_UP)
    end = "The client left after 71 ms, before its answer was whole"
    assert explain(left)[-1] == f"{end}, and no token was sent or charged."
    left.generated_tokens = 3
    assert explain(left)[-1] == f"{end}; 3 tokens were sent and charged."
    assert spans_of(left)[0].events[-1].name == "firedeck.client_gone"


def test_who_is_refused_when_it_is_known_what_for_was_never_admitted() -> None:
    walk = Walk()
    tracing.known("local", "ada", "k1")
    tracing.asks(CHAT, MODEL, "accounts/local/models/lora", stream=False, synthetic=True)
    walk.pass_ms(2)
    tracing.refused(ResourceExhausted("too many tokens"))
    trace = walk.over()
    assert [one.name for one in spans_of(trace)] == [f"chat {MODEL}", "admit"]
    assert spans_of(trace)[1].attributes == {"error.type": "RESOURCE_EXHAUSTED"}
    assert explain(trace) == [
        f"POST /v1/chat/completions, of {CHAT} (model {MODEL}) with the adapter accounts/local/models/lora,"
        " by ada (key k1); synthetic traffic.",
        "It was refused with 429 RESOURCE_EXHAUSTED after 2 ms: too many tokens.",
    ]


def test_a_router_and_the_response_cache_have_spans_of_their_own_where_they_were_asked() -> None:
    walk = Walk()
    since = tracing.now()
    walk.pass_ms(2)
    tracing.routed("accounts/local/routers/r", "to chat, by weight", since)
    walk.admit()
    since = tracing.now()
    walk.pass_ms(4)
    tracing.looked_up(7.25, since)
    spans = spans_of(walk.end(200))
    [whole, admit, routed, looked] = spans
    assert [one.name for one in spans] == [f"chat {MODEL}", "admit", "router r", "response cache"]
    assert (routed.parent_id, looked.parent_id) == (admit.span_id, whole.span_id)
    assert [round(1000 * ((one.end or 0) - one.start)) for one in spans] == [7, 3, 2, 4]
    assert routed.attributes == {
        "firedeck.router": "accounts/local/routers/r", "firedeck.router.reason": "to chat, by weight"
    }  # fmt: skip
    assert looked.attributes == {"firedeck.response_cache": "hit", "firedeck.response_cache.age": 7.25}
    assert len({one.span_id for one in spans}) == 4


def test_one_under_way_has_open_spans() -> None:
    walk = Walk()
    walk.admit()
    tracing.waits(3, 1)
    walk.pass_ms(1500)
    spans = spans_of(walk.trace)
    assert [(one.name, one.end is None) for one in spans] == [
        (f"chat {MODEL}", True),
        ("admit", False),
        ("queue", True),
    ]
    told = explain(walk.trace)
    assert "It waits 1.50 s for a place behind 3 others: the one replica that took requests was full." in told
    assert told[-1] == "It is still under way, 1.50 s after it came."
    walk.over()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Unauthenticated("no API key was given"), "no API key was given"),
        (ResourceExhausted("account 'local' has used its 5 requests"), "account '...' has used its 5 requests"),
        (FailedPrecondition("this very request ended 2 replicas"), "this very request ended 2 replicas"),
        (InvalidArgument("tools.0: canary is wrong", field="canary"), ""),
    ],
)
def test_only_words_of_our_own_about_a_refusal_are_kept(error, why: str) -> None:
    walk = Walk()
    tracing.refused(error)
    trace = walk.over()
    assert (trace.status, trace.why) == (error.status, why)
    assert "canary" not in repr((trace, spans_of(trace), explain(trace)))


def test_a_refusal_names_what_the_trace_names_anyway_and_nothing_else() -> None:
    walk = Walk()
    tracing.known("local", "ada", "k1")
    tracing.asks(CHAT, MODEL, None, stream=False, synthetic=False)
    names = f"account 'local', deployment {CHAT!r}, or {CHAT.rpartition('/')[2]!r}"
    tracing.refused(ResourceExhausted(f"{names}, is not 'canary', 'ada' or ''"))
    trace = walk.over()
    assert trace.why == f"{names}, is not '...', '...' or '...'"


def test_a_record_has_no_field_that_could_hold_what_a_client_wrote() -> None:
    """Whoever adds one has to think of it: texts here are ids and names of ours, or made of numbers."""
    ours = {
        "request_id", "trace_id", "span_id", "parent_id", "method", "route", "account", "user", "key_id", "deployment",
        "model", "adapter", "router", "routed", "error", "why", "outcome", "cache", "guard", "phase", "verdict",
    }  # fmt: skip
    texts = {
        one.name for kind in (Trace, Attempt, Judgement) for one in fields(kind) if one.type in ("str", "str | None")
    }
    assert texts == ours


def test_nobody_is_disturbed_where_nothing_is_traced() -> None:
    tracing.waits(0, 1)
    tracing.placed(ONLY)
    tracing.lost(reached=True)
    tracing.came_of(200, None, (0, 0, 0))
    assert tracing.sends() == {}
    assert re.fullmatch("[0-9a-f]{16}", tracing.request_id())


@given(st.floats(0, 1e6))
def test_durations_are_short(seconds: float) -> None:
    assert len(span(seconds)) <= 11


def test_a_request_with_every_note_has_its_nine_spans_and_what_it_costs_is_printed() -> None:
    """As the gateway has it: the context manager around it, every note in between, and the store."""
    traces = Traces()
    scope = {"method": "POST", "path": "/v1/chat/completions", "headers": [(b"host", b"h")] * 8}
    timing = (b"server-timing", b"tokenizer;dur=1, queue;dur=2, prefill;dur=30")
    headers = [(b"content-type", b"text/event-stream"), timing] * 2

    def request() -> None:
        with traced(traces, scope):
            tracing.known("local", "ada", "k1")
            tracing.asks(CHAT, MODEL, None, stream=True, synthetic=False)
            tracing.admitted()
            tracing.waits(0, 1)
            tracing.placed(choose([Candidate("r1", 0, 4)]))
            tracing.sends()
            tracing.reported(200, headers)
            tracing.came_of(200, 0.1, (37, 32, 20))

    each = min(timeit.repeat(request, number=500, repeat=10, timer=time.process_time)) / 500
    [trace] = itertools.islice(traces.newest("local"), 1)
    made = min(timeit.repeat(lambda: spans_of(trace), number=200, repeat=5, timer=time.process_time)) / 200
    print(f"a traced request: {each * 1e6:.1f} us; its {len(spans_of(trace))} spans, if looked at: {made * 1e6:.1f} us")
    assert len(spans_of(trace)) == 9
