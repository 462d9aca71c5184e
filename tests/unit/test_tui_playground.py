"""The playground as data: an answer grows with its chunks, figures are measured or told, never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.addon_types import DeployedModel
from client.fleet_types import DeploymentStats, DeploymentStatus
from client.types import Deployment
from tui.core import playground
from tui.core.playground import Answer, Choice, Seat

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHAT = "accounts/local/deployments/chat"
BASE, VOICE = "accounts/fireworks/models/base", "accounts/local/models/voice"


def at(ms):
    return NOW + timedelta(milliseconds=ms)


def said(text, finish=None, **more):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more}


LAST = said(
    None, "stop",
    usage={"prompt_tokens": 40, "completion_tokens": 21, "prompt_tokens_details": {"cached_tokens": 32}},
    perf_metrics={
        "server-time-to-first-token": 0.071, "speculation-generated-tokens": 12, "speculation-acceptance": 0.6,
    },
)  # fmt: skip


def status(name=CHAT, state="READY"):
    deployment = Deployment(name=name, state=state, base_model=BASE)
    return DeploymentStatus(deployment=deployment, stats=DeploymentStats(window_s=60))


def seat(**given):
    return Seat(Choice(f"{BASE}#{CHAT}", "chat"), **given)


def test_an_answer_tells_what_was_measured_and_what_the_server_said():
    answer = Answer(NOW).grown(said(""), at(50)).grown(said("Hel"), at(90)).grown(said("lo"), at(290))
    assert (answer.text, answer.ttft_ms) == ("Hello", 90)
    assert playground.figures(answer) == "TTFT 90ms  5.0 tok/s  ~2 tokens"
    whole = answer.grown(said("!"), at(490)).grown(LAST, at(490)).ended()
    assert playground.figures(whole) == (
        "TTFT 90ms (server 71ms)  50.0 tok/s  21 tokens  cached 32 of 40  drafts accepted 12 (60%)"
    )


def test_what_is_not_told_is_not_made_up():
    assert playground.figures(Answer(NOW)) == "TTFT –  – tok/s  ~0 tokens"
    plain = Answer(NOW).grown(said("a"), at(5)).grown(said("b", "length"), at(5)).ended()
    assert playground.figures(plain) == "TTFT 5ms  – tok/s  ~2 tokens  no drafts  ended: length"


@pytest.mark.parametrize(
    "odd", [{}, {"choices": []}, {"choices": None}, {"usage": None}, {"choices": [{"delta": None}]}]
)
def test_odd_chunks_change_nothing(odd):
    answer = Answer(NOW).grown(said("a"), at(5))
    assert answer.grown(odd, at(9)) == answer


def test_reasoning_is_text_too():
    chunk = {"choices": [{"delta": {"reasoning_content": "hm"}}]}
    assert Answer(NOW).grown(chunk, NOW).text == "hm"


@given(st.lists(st.tuples(st.text(min_size=1, max_size=3), st.integers(0, 99)), max_size=20))
def test_the_text_is_all_that_was_said_and_times_never_run_backwards(pieces):
    answer, now = Answer(NOW), 0
    for text, ms in pieces:
        now += ms
        answer = answer.grown(said(text), at(now))
    assert answer.text == "".join(text for text, _ in pieces)
    assert answer.pieces == len(pieces)
    assert answer.ttft_ms is None or 0 <= answer.ttft_ms <= now


def test_a_conversation_goes_on_with_what_was_answered_and_without_what_failed():
    first = seat().begun("Hi", NOW)
    assert first.busy
    answered = first.__class__(first.choice, said=first.said, asked="Hi", answer=Answer(NOW, text="Yes").ended())
    again = answered.begun("And?", NOW)
    assert [one["content"] for one in again.body()["messages"]] == ["Hi", "Yes", "And?"]
    failed = seat(asked="Hi", answer=Answer(NOW, text="half").failed("gone"))
    assert [one["content"] for one in failed.begun("Again", NOW).body()["messages"]] == ["Again"]
    assert failed.lines() == (("user", "Hi"), ("assistant", "half"))


def test_drafts_are_switched_off_for_the_one_side_alone():
    assert "disable_speculation" not in seat(asked="a").body()
    assert seat(asked="a", drafts=False).body()["disable_speculation"] is True
    assert seat(drafts=False).title == "chat, no drafts"


def test_two_sides_on_the_same_replicas_are_asked_in_turn():
    adapter, other = Seat(Choice(f"{VOICE}#{CHAT}", "voice")), Seat(Choice(f"{BASE}#{CHAT}2", "other"))
    assert playground.in_turn([seat(), adapter])
    assert not playground.in_turn([seat(), other])
    assert not playground.in_turn([seat()])


def test_whoever_serves_can_be_asked_and_adapters_where_they_are_loaded():
    fleet = [status(), status(f"{CHAT}-gone", "DELETED"), status(f"{CHAT}-lost", "FAILED")]
    on_chat = {"name": "n", "deployment": CHAT}
    loaded = [
        DeployedModel(model=VOICE, state="DEPLOYED", **on_chat), DeployedModel(model=BASE, state="DEPLOYED", **on_chat),
        DeployedModel(model=f"{VOICE}2", state="DEPLOYING", **on_chat),
        DeployedModel(name="n", model=VOICE, state="DEPLOYED", deployment=f"{CHAT}-gone"),
    ]  # fmt: skip
    found = playground.choices(fleet, loaded)
    assert [one.label for one in found] == ["chat", "voice on chat"]
    assert found[1].model == f"{VOICE}#{CHAT}"
