"""What the replay makes of its outcomes: the front, cost at equal tail, the tables."""

from __future__ import annotations

import pytest

from tests.bench.autoscaling import contest, report
from tests.bench.autoscaling.contest import Entry, Result, Side, capacity, front, matches
from tests.bench.autoscaling.peers import Fixed
from tests.bench.autoscaling.replica_model import MEASURED, Model
from tests.bench.autoscaling.simulator import Outcome


def result(name: str, p99: float, cost: float, side: Side = Side.PEER, *, refused: int = 0, family: str = "") -> Result:
    return Result(Entry(Fixed(1), side, family), Outcome(name, 0.1, p99, cost, 0, refused, 100))


def test_the_front_is_what_nobody_beats():
    results = [result("a", 1, 30), result("b", 2, 20), result("c", 2, 25), result("d", 3, 20), result("e", 1, 30)]
    assert [r.outcome.policy for r in front(results)] == ["a", "b", "e"]
    assert [r.outcome.policy for r in front([result("a", 1, 10, refused=1), result("b", 2, 20)])] == ["a", "b"]


def test_the_oracle_has_no_place_on_the_front_and_takes_none():
    results = [result("a", 1, 30), result("knows all", 0.5, 10, Side.ORACLE)]
    results.append(result("knows all and waits", 0.5, 15, Side.PATIENT))
    assert [r.outcome.policy for r in front(results)] == ["a"]
    assert matches(results)[0].ratio(Side.ORACLE) == pytest.approx(1 / 3)
    assert matches(results)[0].ratio(Side.PATIENT) == pytest.approx(1 / 2)


def test_each_peer_that_no_other_beats_meets_the_cheapest_of_ours_with_as_good_a_tail():
    peers = [
        result("slow", 9, 10),
        result("good", 4, 40),
        result("beaten", 4, 41),
        result("lets few in", 3, 5, refused=1),
    ]
    mine = [result(*it, Side.OURS) for it in (("late", 4.5, 20), ("quick", 3.5, 32), ("dear", 1, 90))]
    found = matches([*peers, *mine, result("refuses", 2, 1, Side.OURS, refused=1)])
    assert [m.peer.policy for m in found] == ["good", "slow"]
    assert [m.ratio(Side.OURS) for m in found] == [pytest.approx(0.8), pytest.approx(2.0)]
    assert [m.ratio(Side.FORESEEN) for m in found] == [None, None]
    [unmatched] = matches([peers[1], result("worse", 5, 1, Side.OURS)])
    assert unmatched.ratio(Side.OURS) is None


def test_between_two_targets_of_one_family_cost_is_in_proportion_to_tail():
    peer = result("peer", 4, 100)
    pair = [("quick", 3, 90), ("late", 5, 50)]
    kin = [result(*it, Side.OURS, family="one") for it in pair]
    strangers = [result(*it, Side.OURS) for it in pair]
    assert matches([peer, *kin])[0].ratio(Side.OURS) == pytest.approx(0.7)
    assert matches([peer, *strangers])[0].ratio(Side.OURS) == pytest.approx(0.9)


def test_what_a_replica_can_do_is_estimated_from_lengths():
    model = Model.of(MEASURED, 30.0)
    assert model.round_s[2] == pytest.approx(2 * 3.75e-3), "two single steps beat one of two"
    assert capacity(model, [(0, 1000, 100)]) == pytest.approx(1 / (0.828 + 100 * 0.01946 / 8))


def test_the_report_says_that_it_is_simulated_and_names_the_verdict(monkeypatch, capsys):
    def few(*given, **more):
        made = [e for e in contest.entries(*given, **more) if "as it comes" in e.policy.name]
        oracles = [next(e for e in contest.entries(*given, **more) if e.side == side) for side in contest.FORESIGHT]
        return [Entry(Fixed(9)), *made, *oracles]

    monkeypatch.setattr(report, "QUICK_S", 400.0)
    monkeypatch.setattr(report, "entries", few)
    report.main(None, None, 5.0, quick=True)
    shown = capsys.readouterr().out
    assert "SIMULATED: conv (generated, seed 1)" in shown
    for expected in (
        "Knative, as it comes",
        "Ray Serve, as it comes",
        "firedeck, as it comes",
        "fixed",
        "Pareto",
        "at equal p99",
        "knows the future",
        "a scale-down window of 600 s",
    ):
        assert expected in shown
