"""Reading a replica's stream as it passes: the same whatever the cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.gateway import sse
from engine.gateway.sse import Journal, Sent, StreamReader, usage_of
from engine.telemetry.meter import Usage


def event(body: object) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def chunk(**delta) -> bytes:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None})


ROLE = chunk(role="assistant", content="")
USAGE = event(
    {
        "choices": [],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}},
    }
)
DONE = b"data: [DONE]\n\n"
WHOLE = b": ping\n\n" + ROLE + chunk(content="Grüße \u2028 日本") + chunk(content='"usage"') + USAGE + DONE


def read(*pieces: bytes) -> StreamReader:
    reader = StreamReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


def known(reader: StreamReader) -> tuple[bool, bool, Usage | None]:
    return reader.started, reader.done, reader.usage


@given(st.lists(st.integers(0, len(WHOLE))))
def test_any_cut_of_a_stream_tells_the_same(cuts):
    edges = [0, *sorted(cuts), len(WHOLE)]
    pieces = [WHOLE[a:b] for a, b in itertools.pairwise(edges)]
    assert known(read(*pieces)) == (True, True, Usage(9, 3, 4))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_stream_cut_short_is_never_done(end):
    assert not read(WHOLE[:end]).done


def test_the_first_token_is_seen_with_the_event_that_carries_it_and_not_with_the_role():
    reader = read(b": ping\n\n" + ROLE)
    assert not reader.started
    reader.feed(chunk(content="H")[:-1])
    assert not reader.started
    reader.feed(b"\n")
    assert reader.started


@pytest.mark.parametrize(
    "choice",
    [
        {"text": "x"}, {"delta": {"content": "x"}}, {"delta": {"tool_calls": [{"index": 0}]}},
        {"delta": {"reasoning_content": "x"}}, {"delta": {}, "finish_reason": "stop"},
        {"text": "", "finish_reason": "length"},
    ],
)  # fmt: skip
def test_text_tool_calls_reasoning_and_the_end_of_an_empty_answer_all_count_as_started(choice):
    assert read(event({"choices": [choice]})).started


@pytest.mark.parametrize("choice", [{"text": ""}, {"delta": {"role": "assistant"}}, {"delta": None}, {}])
def test_an_event_without_a_token_does_not_count_as_started(choice):
    assert not read(event({"choices": [choice]})).started


def test_the_usage_of_an_abandoned_stream_is_not_made_up():
    assert read(ROLE, chunk(content="x")).usage is None


@pytest.mark.parametrize(
    "junk",
    [b'data: {"choices": null}\n\n', b'data: {"choices": [5]}\n\n', b'data: {"usage": 5}\n\n',
     b'data: {"error": {"message": "x"}}\n\n', b"\n\n\n\n", b'data: {"usage": {"prompt_tokens": 1e999}}\n\n',
     b'data: {"usage": {"prompt_tokens": "many"}}\n\n', b'data: {"usage": {"prompt_tokens": null}}\n\n',
     b'data: {"usage": {"prompt_tokens_details": []}}\n\n'],
)  # fmt: skip
def test_odd_values_from_a_replica_are_passed_over(junk):
    assert known(read(junk + ROLE + chunk(content="x") + USAGE + DONE)) == (True, True, Usage(9, 3, 4))


GARBAGE = [
    b"data: \n\n", b"data: {\n\n", b"data: 5\n\n", b"data: []\n\n", b"data: \xff\n\n", b"x\n\n",
    b"data: {\ndata: }\n\n", b"data: " + b"[" * 100_000 + b"\n\n", b'data: {"a": ' + b"[" * 100_000 + b"}\n\n",
]  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_event_is_not_passed_on_and_what_was_before_it_is(garbage):
    reader = StreamReader()
    assert reader.feed(ROLE + garbage + chunk(content="x") + DONE) == ROLE
    assert (reader.garbled, reader.done) == (True, False)


@pytest.mark.parametrize("garbage", GARBAGE[:-1], ids=range(len(GARBAGE) - 1))  # after a token few are parsed
def test_of_a_group_with_garbage_nothing_is_passed_on_or_written_into_the_journal(garbage):
    group = chunk(content="x") + garbage + DONE + b":t0,9\n\n"
    reader, journal, passed = journaled(JOURNALED[: ENDS[1]] + group + JOURNALED[ENDS[1] :])
    assert passed == b"".join(events for events, _ in GROUPS[:2])
    assert bytes(journal.text) == b"r1,id,2,f;s0,3;t0,1,2;t0,3;"
    assert (reader.garbled, reader.done) == (True, False)


@pytest.mark.parametrize("journal", [None, Journal()])
def test_what_never_ends_is_held_back_up_to_a_limit_and_looked_through_once(monkeypatch, journal):
    monkeypatch.setattr(sse, "GROUP_BYTES_MAX", 1000)
    for piece in (b"x" * 10, b"data: {}\n\n"):
        reader = StreamReader(journal)
        passed = [reader.feed(piece) for _ in range(200) if not reader.garbled]
        assert reader.garbled == (piece[:1] == b"x" or journal is not None)
        assert b"".join(passed) == (b"" if reader.garbled else piece * 200)


def test_done_may_stand_right_after_the_colon():
    assert read(b"data:[DONE]\n\n").done


def test_an_answer_without_usage_has_used_nothing():
    assert usage_of({}) == usage_of({"usage": None}) == usage_of({"usage": {"prompt_tokens_details": None}}) == Usage()


# With a journal: (client's events, record) of each group.
GROUPS = [
    (ROLE, b"r1,id,2,f;s0,3"),
    (chunk(content="Grüße \u2028 ::") + chunk(content="日本"), b"t0,1,2;t0,3"),
    (chunk(content=": t0,9"), b"t0,4"),
    (USAGE, b"f0,4;u"),
    (DONE, b""),
]
JOURNALED = b"".join(events + b":" + record + b"\n\n" for events, record in GROUPS)
ENDS = list(itertools.accumulate(len(events) + len(record) + 3 for events, record in GROUPS))


def journaled(*pieces: bytes) -> tuple[StreamReader, Journal, bytes]:
    journal = Journal()
    journal.usable = True
    reader = StreamReader(journal)
    return reader, journal, b"".join(reader.feed(piece) for piece in pieces)


@given(st.integers(0, len(JOURNALED)), st.lists(st.integers(0, len(JOURNALED))))
def test_what_is_passed_on_and_what_the_journal_says_are_the_same_whatever_the_cut(end, cuts):
    edges = [0, *sorted(cut for cut in cuts if cut < end), end]
    pieces = [JOURNALED[a:b] for a, b in itertools.pairwise(edges)]
    reader, journal, passed = journaled(*pieces)
    whole = GROUPS[: sum(at <= end for at in ENDS)]
    assert passed == b"".join(events for events, _ in whole)
    assert bytes(journal.text) == b"".join(record + b";" for _, record in whole if record)
    assert (reader.groups, reader.done) == (len(whole), whole == GROUPS)


@pytest.mark.parametrize("at", range(len(JOURNALED) + 1))
def test_a_stream_with_a_journal_is_read_through_a_cut_at_every_byte(at):
    reader, journal, passed = journaled(JOURNALED[:at], JOURNALED[at:])
    assert passed == b"".join(events for events, _ in GROUPS)
    assert bytes(journal.text) == b"r1,id,2,f;s0,3;t0,1,2;t0,3;t0,4;f0,4;u;"
    assert known(reader) == (True, True, Usage(9, 3, 4))


def test_an_error_that_another_replica_can_mend_comes_without_a_record_and_is_not_passed_on():
    reader, _, passed = journaled(JOURNALED[: ENDS[1]], event({"error": {"message": "this replica is shutting down"}}))
    assert passed == b"".join(events for events, _ in GROUPS[:2])
    assert not reader.error


def test_a_journal_that_grows_too_long_is_given_up_and_the_stream_is_not(monkeypatch):
    monkeypatch.setattr(sse, "JOURNAL_MAX_BYTES", 20)
    _, journal, passed = journaled(JOURNALED)
    assert passed == b"".join(events for events, _ in GROUPS)
    assert (journal.usable, bytes(journal.text)) == (False, b"")


@pytest.mark.parametrize("whole", range(len(GROUPS) + 1))
def test_tokens_are_counted_with_the_groups_that_are_passed_on(whole):
    journal, sent = Journal(), Sent()  # not usable: counted all the same
    reader = StreamReader(journal, sent)
    sent.told({b"x-firedeck-prompt-tokens": b"9"}.get)
    end = ENDS[whole - 1] if whole else 0
    reader.feed(JOURNALED[: end + 20] if whole < len(GROUPS) else JOURNALED)
    generated = [0, 0, 3, 4, 4, 4][whole]
    assert sent.used(Usage()) == Usage(9, 3 if whole else 0, generated)


def test_tokens_of_several_choices_and_replicas_are_counted_once_each():
    sent = Sent()
    for record in (b"r1,i,2,f;s0,5;s1,0", b"t0,7,8;t1,9", b"t0,1;f0,5;d3,2"):
        sent.add(record)
    sent.add(b"t1,4,4;f1,3;d1,0;u")  # the next replica goes on: the end tells of the whole choice
    assert sent.used(Usage()) == Usage(0, 5, 8, 4, 2)
    assert sent.used(Usage(20, 6, 8)) == Usage(20, 6, 8, 4, 2), "the replica's own word at the end counts"


def test_without_records_an_event_is_a_token_and_an_error_is_none():
    sent = Sent()
    StreamReader(sent=sent).feed(chunk(content="a") + chunk(content="b") + event({"error": {"message": "x"}}) + DONE)
    assert sent.used(Usage()).generated == 2


@pytest.mark.parametrize("record", [b"", b"f0", b"sx,y", b"f0,x", b"d1", b"dx,1", b"\xff", b"t", b"zz"])
def test_garbage_in_a_record_spoils_no_count(record):
    sent = Sent()
    sent.add(record)
    sent.told({b"x-firedeck-prompt-tokens": b"many", b"x-firedeck-drafts": b"1"}.get)
    sent.add(b"s0,2")
    assert sent.used(Usage()).cached == 2


def test_a_whole_answer_tells_its_drafts_in_a_header():
    sent = Sent()
    sent.told({b"x-firedeck-drafts": b"7,2"}.get)
    assert sent.used(Usage(3, 0, 9)) == Usage(3, 0, 9, 7, 2)
