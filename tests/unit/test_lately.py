"""What replicas told in the last seconds: time between tokens, room in the caches, what became of drafts."""

from __future__ import annotations

import pytest

from engine.telemetry.lately import EVERY_S, WINDOW_S, Lately
from engine.telemetry.replica_figures import ReplicaFigures

BOUNDS = [0.01, 0.02, 0.04]


def report(
    tokens: int = 0, slow: int = 0, drafted: int = 0, accepted: int = 0, used: int = 25, **more: object
) -> dict[str, object]:
    """`tokens` came within 10 ms of the one before, `slow` ones within 40; drafts were of two tokens."""
    drafts = {
        "drafts": drafted // 2, "drafted": drafted, "accepted": accepted,
        "drafted_at": [drafted // 2, drafted // 2, 0], "accepted_at": [accepted, 0, 0],
    }  # fmt: skip
    return {
        "counters": {},
        "histograms": {"inter_token_s": {"bounds": BOUNDS, "counts": [tokens, 0, slow, 0], "sum": 0.0}},
        "speculation": {"ngram": drafts},
        "kv_used_tokens": used, "kv_capacity_tokens": 100,
        "step_cost_ms": {"1": 10.0, "4": 12.0}, "verify_cost_ms": {"4": 14.0, "8": 20.0},
        **more,
    }  # fmt: skip


@pytest.fixture
def figures() -> ReplicaFigures:
    return ReplicaFigures()


def seen(figures: ReplicaFigures, *reports: dict[str, object]) -> Lately:
    """After looks at one replica's reports, EVERY_S apart."""
    lately = Lately(figures)
    for number, body in enumerate(reports):
        figures.take("r1", body, from_birth=True)
        lately.look(number * EVERY_S)
    return lately


def test_the_time_between_tokens_is_that_of_the_last_seconds_alone(figures: ReplicaFigures) -> None:
    many = seen(figures, report(1000, 0), report(1000, 0), report(1000, 0), report(1000, 100))
    assert many.series()["inter_token_p50_ms"] == pytest.approx(30)  # linear in the bucket from 20 to 40 ms
    assert many.series()["inter_token_p95_ms"] == pytest.approx(39)


def test_while_no_token_is_made_there_is_no_time_between_them(figures: ReplicaFigures) -> None:
    still = seen(figures, *[report(1000, 3)] * int(2 + WINDOW_S / EVERY_S))
    assert still.series()["inter_token_p50_ms"] is None
    assert still.series()["draft_acceptance"] is None


def test_acceptance_is_of_the_last_seconds_and_the_picture_has_all_that_was_counted(figures: ReplicaFigures) -> None:
    lately = seen(figures, report(drafted=100, accepted=10), report(drafted=140, accepted=40))
    assert lately.series()["draft_acceptance"] == pytest.approx(30 / 40)
    told = lately.speculation
    assert told is not None
    assert (told.drafts, told.drafted, told.accepted) == (70, 140, 40)
    assert (told.drafted_at, told.accepted_at) == ([70, 70], [40])


def test_what_drafts_cost_is_the_mean_of_what_living_replicas_measured(figures: ReplicaFigures) -> None:
    figures.take(
        "r2", report(step_cost_ms={"1": 20.0}, verify_cost_ms={"4": 24.0}, draft_token_ms=3.0), from_birth=True
    )
    told = seen(figures, report()).speculation
    assert told is not None
    assert (told.step_ms, told.verify_ms, told.draft_token_ms) == (15.0, {4: 19.0}, 3.0)


def test_costs_that_cannot_be_read_are_left_out(figures: ReplicaFigures) -> None:
    figures.take("r2", report(step_cost_ms=[1], verify_cost_ms="much"), from_birth=True)
    told = seen(figures, report()).speculation
    assert told is not None
    assert (told.step_ms, told.verify_ms) == (10.0, {4: 14.0, 8: 20.0})


def test_the_caches_of_all_living_replicas_count_together(figures: ReplicaFigures) -> None:
    figures.take("r2", report(used=75), from_birth=True)
    lately = seen(figures, report(used=25))
    assert lately.series()["kv_share"] == 0.5
    figures.gone("r2")
    assert lately.series()["kv_share"] == 0.25


def test_of_replicas_that_tell_nothing_of_it_nothing_is_known(figures: ReplicaFigures) -> None:
    simulated = seen(figures, *[{"counters": {"generated_tokens_total": 5}, "kv_capacity_tokens": 100}] * 3)
    assert set(simulated.series().values()) == {None}
    assert simulated.speculation is None


def test_between_two_looks_nothing_is_added_up(figures: ReplicaFigures) -> None:
    lately = seen(figures, report(drafted=100, accepted=10))
    figures.take("r1", report(drafted=200, accepted=20), from_birth=True)
    lately.look(EVERY_S - 0.1)
    assert lately.speculation is not None
    assert lately.speculation.drafted == 100
