"""One request as a row, and explained: sentences that wrap, spans over the time of the whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.trace_types import RequestSummary, RequestTrace, SpanEvent, TraceSpan
from tui.core import request_page, units

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def one(**given):
    known = {"request_id": "r1", "start_time": NOW, "duration_s": 2.0, "status": 200}
    return RequestSummary(**{**known, **given})


def span(name, offset_ms, lasted_ms, parent="", **given):
    return TraceSpan(
        name=name, span_id=name, parent_span_id=parent, kind="SERVER", start_time=NOW, offset_ms=offset_ms,
        duration_ms=lasted_ms, **given,
    )  # fmt: skip


def cells(row):
    return {column.key: column.cell(row) for column in request_page.REQUESTS.columns}


@pytest.mark.parametrize(
    ("status", "text"), [(200, "● 200"), (404, "▲ 404"), (503, "✖ 503"), (499, "◌ left"), (None, "◐ open")]
)
def test_a_status_has_a_sign_and_a_word(status, text):
    assert request_page.look(status).text == text


def test_what_is_not_known_of_a_request_is_not_zero():
    (row,) = request_page.rows([one(status=None)])
    assert {cells(row)[key] for key in ("ttft", "in", "cached", "out", "replica")} == {units.UNKNOWN}
    assert cells(request_page.rows([one(ttft_s=0.25, cached_tokens=0)])[0])["cached"] == "0"


def test_spans_stand_below_their_parents_over_the_time_of_the_whole():
    trace = RequestTrace(
        request=one(),
        spans=[
            span("server", 0, 2000), span("replica", 500, 1000, "server", error="it died"),
            span("decode", 1500, None, "replica", events=[SpanEvent(name="firedeck.first_token", time=NOW)]),
        ],
    )  # fmt: skip
    (whole, _), (middle, failed), (last, _) = request_page.spans(trace, 100)
    assert abs(whole.count("█") - middle.count("█") * 2) <= 1
    assert "✖ it died" in middle
    assert failed
    assert last.startswith("    decode")
    assert " open " in last
    assert last.endswith("first token")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_sentences_wrap_and_a_trace_without_any_says_so(width):
    long = RequestTrace(request=one(), explanation=["It waited for a replica, which took its time. " * 5])
    assert all(units.width(line) <= width for line in request_page.sentences(long, width))
    assert "nothing" in request_page.sentences(RequestTrace(request=one()), width)[0]


def test_facts_have_the_age_by_the_engines_clock():
    facts = dict(request_page.facts(RequestTrace(request=one()), NOW + timedelta(seconds=30)))
    assert (facts["ago"], facts["took"]) == ("30s", "2.0s")
