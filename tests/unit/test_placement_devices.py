"""Which GPUs a replica gets: the least used, never one twice, and only those that the engine may use."""

from __future__ import annotations

import random

import pytest

from engine.placement.devices import assign
from engine.placement.gpus import allowed

GPUS = ("GPU-a", "GPU-b", "GPU-c", "GPU-d")


def test_the_free_ones_go_first_and_in_their_order() -> None:
    assert assign(1, GPUS, []) == ("GPU-a",)
    assert assign(1, GPUS, [("GPU-a",)]) == ("GPU-b",)
    assert assign(2, GPUS, [("GPU-a",), ("GPU-c",)]) == ("GPU-b", "GPU-d")
    assert assign(2, GPUS, [("GPU-a", "GPU-b"), ("GPU-d",)]) == ("GPU-a", "GPU-c")


def test_one_that_is_released_is_free_again() -> None:
    assert assign(1, GPUS[:2], [("GPU-b",)]) == ("GPU-a",)


def test_where_all_are_used_the_least_used_are_shared() -> None:
    assert assign(1, GPUS[:2], [("GPU-a",), ("GPU-b",), ("GPU-a",)]) == ("GPU-b",)


@pytest.mark.parametrize("wanted", [4, 5, 100])
def test_nobody_gets_more_than_there_are(wanted) -> None:
    assert assign(wanted, GPUS, [("GPU-a",)]) == GPUS


def test_replicas_elsewhere_and_without_gpus_do_not_count() -> None:
    assert assign(1, GPUS, [("GPU-x",), ("",), ()]) == ("GPU-a",)


def test_no_gpu_has_two_more_users_than_another_however_replicas_come_and_go() -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    for _ in range(200):
        gpus = GPUS[: dice.randint(1, 4)]
        wanted, held = dice.randint(1, len(gpus)), []
        for _ in range(dice.randint(1, 12)):
            held.append(assign(wanted, gpus, held))
            assert len(set(held[-1])) == wanted, seed
            users = [sum(gpu in one for one in held) for gpu in gpus]
            assert max(users) - min(users) <= 1, (seed, held)


@pytest.mark.parametrize(
    ("visible", "usable"),
    [
        (None, ["GPU-aa", "GPU-ab"]),
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        (" GPU-ab , GPU-aa ", ["GPU-ab", "GPU-aa"]),
        ("GPU-ab", ["GPU-ab"]),
        ("MIG-7", ["MIG-7"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", ["0"]),
        ("0,7,1", ["0"]),
        ("0,GPU-x,1", ["0"]),
    ],
)
def test_only_what_cuda_would_show_this_process_is_handed_out(visible, usable) -> None:
    assert allowed(["GPU-aa", "GPU-ab"], visible) == usable


@pytest.mark.parametrize("visible", [None, "0", "GPU-aa"])
def test_where_nothing_was_found_there_is_nothing_to_hand_out(visible) -> None:
    assert allowed([], visible) == []
