"""What one replica writes down of a stream is what the next one needs to go on with it, and nothing else is taken."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.errors import FailedPrecondition, InvalidArgument
from engine.replica import journal
from engine.replica.detokenize import TextStream
from engine.replica.fields import CompletionRequest
from engine.replica.job import Delta, Started, Token
from engine.replica.journal import Origin, Recorder, Told
from engine.replica.sampling import Sampler, SamplingOptions
from tests.unit.replica_fakes import SIZE, FakeContext, finish, job, new_scheduler, reference, serving

ORIGIN = Origin(-5, "cmpl-1", 7, "ab")


def _tokens(*identifiers: int) -> list[Token]:
    return [Token(identifier, 0) for identifier in identifiers]


def test_a_journal_reads_as_what_was_told() -> None:
    recorder = Recorder(ORIGIN)
    recorder.opened(0, 12)
    recorder.said(0, _tokens(3, 4))
    first = recorder.record()
    recorder.opened(2, 0)
    recorder.said(0, _tokens(5))
    recorder.said(2, _tokens(9))
    recorder.ended(2, 1)
    recorder.drafted(3, 4)
    recorder.usage()
    records = first, recorder.record()
    assert all(record.startswith(b":") and record.endswith(b"\n\n") for record in records)
    past = journal.read(b";".join(record[1:-2] for record in records) + b";")
    assert past.origin == ORIGIN
    assert past.choices == {0: Told(12, [[3, 4], [5]]), 2: Told(0, [[9]], 1)}
    assert past.choices[0].tokens == [3, 4, 5]
    assert past.usage_told
    assert recorder.record() == b":\n\n"
    assert Recorder(None).record() == b":\n\n"


@pytest.mark.parametrize(
    "text",
    [b"", b";", b"s0,1", b"r1,id,2", b"r1,id,2,f;t0,1", b"r1,id,2,f;s0", b"r1,id,2,f;x0", b"r1,id,2,f;s0,1;t0,a",
     b"r1,id,2,f;s0,1,2", b"rx,id,2,f", b"\xff"],
)  # fmt: skip
def test_what_no_replica_has_written_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgument):
        journal.read(text)


@pytest.mark.parametrize("given", ["", "-1", "1.5", "x", "٣", str(journal.MAX_BYTES + 1), "9" * 40])
def test_a_length_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(InvalidArgument):
        journal.length({journal.HEADER: given})


def test_without_the_header_no_journal_is_written() -> None:
    assert journal.length({}) is None
    assert journal.length({journal.HEADER: "0"}) == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, True), ({"stream": False}, False), ({"mirostat_target": 3}, False), ({"raw_output": True}, True),
     ({"raw_output": True, "logprobs": 1}, False), ({"logprobs": 1}, True)],
)  # fmt: skip
def test_only_what_follows_from_the_tokens_is_gone_on_with(fields: dict[str, Any], expected: bool) -> None:
    request = CompletionRequest.model_validate({"prompt": "x", "stream": True, **fields})
    assert journal.resumable(request) is expected


def test_a_stream_goes_on_only_where_prompts_and_adapters_are_the_same() -> None:
    jobs = [job([1, 2, 3])]
    past = journal.read(f"r1,id,2,{journal.fingerprint(jobs)};s0,0;t0,5".encode())
    journal.check(past, jobs, SIZE)
    with pytest.raises(FailedPrecondition):
        journal.check(past, [job([1, 2, 4])], SIZE)
    with pytest.raises(InvalidArgument):
        journal.check(past, jobs, 5)


class Bytes:
    """A vocabulary of bytes."""

    def piece(self, token: int, *, special: bool = False) -> bytes:
        return bytes([token])


@given(st.text("ab日é ", max_size=12), st.lists(st.text("ab日", min_size=1, max_size=4), max_size=3), st.data())
def test_text_goes_on_across_the_seam_at_any_byte(text: str, stops: list[str], data: st.DataObject) -> None:
    """Halves of characters and of stop strings: what was told and what follows are the text of one stream."""
    tokens = list(text.encode())
    whole, told, rest = TextStream(stops), [], TextStream(stops)
    for token in tokens:
        told.append(whole.push(bytes([token])))
        if whole.stopped:
            return  # its end is told with this token, and nobody goes on
    at = data.draw(st.integers(0, len(tokens)))
    edges = sorted({0, at, *data.draw(st.lists(st.integers(0, at), max_size=4))})
    steps = [tokens[a:b] for a, b in itertools.pairwise(edges)]
    one: Any = job([1])
    one.stops = tuple(stops)
    vocabulary: Any = Bytes()
    started, *deltas = journal.events(3, Told(4, steps), one, vocabulary)
    assert started == Started(3, 4)
    texts = [delta.text for delta in deltas if isinstance(delta, Delta)]
    assert "".join(texts) == "".join(told[:at])
    for token in tokens[:at]:
        rest.push(bytes([token]))
    after = [rest.push(bytes([token])) for token in tokens[at:]]
    assert "".join([*texts, *after, rest.finish()]) == "".join([*told, whole.finish()])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.integers(1, 15), st.data()), max_size=6)
)
def test_a_sequence_goes_on_after_any_token_as_if_it_had_never_stopped(requests: list[Any]) -> None:
    """Also where the prompt was computed in wide calls: what follows it was not, and is not."""
    context = FakeContext()
    jobs, expected = [], []
    for prompt, count, data in requests:
        answer = reference(prompt, count)
        said = data.draw(st.integers(0, count))
        one = job(prompt, count)
        one.resume(answer[:said])
        jobs.append(one)
        expected.append(answer[said:])
    scheduler = new_scheduler(context)
    with serving(scheduler):
        ends: list[Any] = finish(scheduler, jobs)
    assert [one.sink.tokens for one in jobs] == expected
    assert [end.generated_tokens for end in ends] == [count for _, count, _ in requests]
    assert all(sum(isinstance(event, Started) for event in one.sink.events) == 1 for one in jobs)
    counters = scheduler.meters.counters
    assert counters.prompt_tokens_total == 0  # counted where they were read first
    assert counters.generated_tokens_total == sum(len(rest) for rest in expected)


@given(st.integers(0, 2**63 - 1), st.integers(0, 70), st.integers(0, 3))
def test_draws_and_penalties_go_on_where_they_were(seed: int, said: int, choice: int) -> None:
    options = SamplingOptions(
        temperature=1.3, seed=seed, choice=choice, presence_penalty=0.7, frequency_penalty=0.2, repetition_penalty=1.2
    )
    row = np.linspace(0, 1, 32, dtype=np.float32)
    unbroken, drawn = Sampler(options, prompt=[1, 2]), []
    for _ in range(said + 8):
        drawn.append(unbroken.choose(row).token)
        unbroken.accept(drawn[-1])
    resumed, rest = Sampler(options, prompt=[1, 2]), []
    for token in drawn[:said]:
        resumed.accept(token)
    for _ in range(8):
        rest.append(resumed.choose(row).token)
        resumed.accept(rest[-1])
    assert rest == drawn[said:]
