"""The simulated fleet's file and its virtual nodes: what is written holds, at every instant, by one seed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from client.errors import FailedPrecondition, InvalidArgument
from engine.placement import fit
from engine.placement.port import Need, Stockout
from engine.placement.simulated import world
from engine.placement.simulated.cloud import Cloud

ONE = '[[node]]\nname = "a"\nregion = "US_IOWA_1"\naccelerator_type = "NVIDIA_H100_80GB"\naccelerators = 2\n'
NEED = Need(accelerators=1, model_bytes=1 << 30)
FLEET = Path(__file__).parents[1] / "placement" / "fleet.toml"


def cloud(text: str) -> Cloud:
    return Cloud(world.parse(text))


def test_the_example_file_is_read_whole():
    found = world.read(FLEET)
    assert [node.name for node in found.nodes][:3] == ["iowa-h100-1", "iowa-h100-2", "frankfurt-h100"]
    assert len(found.nodes) == 6
    assert found.nodes[0].accelerator_bytes == 80 * 10**9
    assert found.latency_of("NVIDIA_L4_24GB").tokens_per_second == 25
    assert found.latency_of("NVIDIA_H100_80GB").tokens_per_second == 60
    assert {model.id for model in found.models} == {"simulated-70b", "simulated-8b"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1 to"), ("nodes = 3\n" + ONE, "unknown key 'nodes'"), (ONE + "color = 'red'", "unknown key 'color'"),
        (ONE + ONE, "each once"), (ONE + "memory = 'much'", "not a size"), (ONE + "threads = 'x'", "not a number"),
        (ONE.replace("US_IOWA_1", "MARS_1"), "region"), (ONE.replace("H100", "H1"), "accelerator_type"),
        ("[[node]]\ncount = 2\n", "name"), (ONE + "[[stockout]]\nfrom = '1h'\nuntil = '5m'", "until"),
        (ONE + "[[outage]]\nfrom = '1h'", "until"), (ONE + "[latency]\ntokens_per_second = 0", "more than 0"),
        (ONE + "[[model]]\nid = 'X'", "id"), (ONE + "[latency.NVIDIA_L4_24GB]\nspeed = 3", "speed"), ("[[", "TOML"),
        ("start_delay = 'soon'\n" + ONE, "duration"), ("node = 3", "[[node]]"), ("latency = 3\n" + ONE, "no table"),
        ("start_delay = '-3s'\n" + ONE, "no time goes backwards"),
        ("[[node]]\nname = 'A b/c'", "letters, digits"), ("[[node]]\nname = 'a'\naccelerators = 3", "say of which"),
        (ONE + "[[stockout]]\nuntil = '1h'\nnode = 'nope'", "[[stockout]] of node = 'nope' concerns no node"),
        (ONE + "[[outage]]\nuntil = '1h'\nregion = 'AP_TOKYO_2'", "[[outage]] of region = 'AP_TOKYO_2'"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named(text, said):
    with pytest.raises(InvalidArgument) as refused:
        world.parse(text)
    assert said in refused.value.text


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidArgument, match=r"no\.toml cannot be read"):
        world.read(tmp_path / "no.toml")


def test_a_node_without_a_replica_is_as_it_was_before_it_and_nothing_is_changed():
    sky = cloud(ONE)
    [before] = sky.nodes(0.0)
    sky.place("r", NEED, 0.0)
    [with_it] = sky.nodes(0.0)
    assert sky.would_be(before.name, ["r", "another"], [], 0.0) == before
    assert sky.would_be(before.name, ["r"], [NEED], 0.0) == with_it
    assert sky.would_be("elsewhere", [], [], 0.0) is None
    assert sky.nodes(0.0) == [with_it] != [before]


def test_a_replica_goes_to_no_node_that_is_kept_for_others():
    sky = cloud(ONE)
    [node] = sky.nodes(0.0)
    with pytest.raises(Stockout, match=fit.KEPT):
        sky.place("r", NEED, 0.0, [node.name])
    assert sky.nodes(0.0) == [node]


def test_a_replica_is_ready_after_its_delay_and_keeps_its_place_until_it_is_released():
    sky = cloud("start_delay = '20s'\nstart_spread = 0.5\n" + ONE)
    spot = sky.place("r", NEED, 100.0)
    assert 110 <= spot.ready_at <= 130
    assert spot.ends_at == math.inf
    assert not sky.ready("r", spot.ready_at - 0.01)
    assert sky.ready("r", spot.ready_at)
    sky.place("s", NEED, 100.0)
    with pytest.raises(Stockout, match="accelerators: 1 wanted, 0 free"):
        sky.place("t", NEED, 100.0)
    sky.release("r")
    sky.release("r")
    assert not sky.living("r", 100.0)
    sky.place("t", NEED, 100.0)


def test_a_stockout_places_nothing_and_takes_nothing_and_comes_back_as_often_as_is_written():
    sky = cloud(ONE + "[[stockout]]\nfrom = '10m'\nuntil = '25m'\nevery = '2h'\nregion = 'US_IOWA_1'")
    sky.place("r", NEED, 0.0)
    for hour in (0, 2, 48):
        with pytest.raises(Stockout, match="out of stock"):
            sky.place("s", NEED, hour * 3600 + 600)
        assert sky.living("r", hour * 3600 + 600)
        sky.place("s", NEED, hour * 3600 + 1500)
        sky.release("s")


def test_an_outage_ends_what_runs_there_and_what_is_placed_before_the_next_one():
    sky = cloud(ONE + "[[outage]]\nfrom = '20m'\nuntil = '25m'\nevery = '1h'\nnode = 'a'")
    assert sky.place("r", NEED, 0.0).ends_at == 1200
    assert not sky.living("r", 1200)
    with pytest.raises(Stockout, match="out of service"):
        sky.place("s", NEED, 1300)
    assert sky.place("s", NEED, 1500).ends_at == 3600 + 1200


def test_what_concerns_other_nodes_leaves_this_one_alone():
    other = ONE.replace('"a"', '"b"').replace("US_IOWA_1", "EU_PARIS_1")
    closed = "[[stockout]]\nuntil = '1h'\nregion = 'EU_PARIS_1'\n[[outage]]\nuntil = '1h'\nnode = 'b'"
    sky = cloud(ONE + other + closed)
    assert sky.place("r", NEED, 0.0).node == "a"


def test_preemptions_come_at_the_rate_that_is_written_and_the_same_seed_draws_the_same():
    many = "seed = 5\n" + ONE.replace(
        "accelerators = 2", "accelerators = 1000\nthreads = 4096\npreemptions_per_day = 2"
    )
    lives = []
    for _ in range(2):
        sky = cloud(many)
        lives.append([sky.place(f"r{n}", NEED, 0.0).ends_at for n in range(1000)])
    assert lives[0] == lives[1]
    assert 0.9 < sum(lives[0]) / 1000 / 43_200 < 1.1


def test_what_no_node_could_ever_hold_is_no_stockout():
    with pytest.raises(FailedPrecondition):
        cloud(ONE).place("r", Need(accelerators=3), 0.0)
