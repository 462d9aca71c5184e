"""`autoTune.longPrompt`: what it fills in, on how many accelerators, and what it does not go with."""

from __future__ import annotations

import pytest

from client.errors import FailedPrecondition, InvalidArgument
from client.names import Name
from client.types import AutoTune, Deployment
from engine import declare, long_prompt
from engine.control.windows import PRODUCT

ON, OFF = AutoTune(long_prompt=True), AutoTune(long_prompt=False)
NAME = Name("local", "deployments", "d")


def made(limit: int = 32768, **fields) -> Deployment:
    return declare.create(Deployment(base_model="m", **fields), NAME, limit, PRODUCT)


def turned(current: Deployment, auto_tune: AutoTune, **changes) -> Deployment:
    change = Deployment(auto_tune=auto_tune, **changes)
    return declare.update(current, change, frozenset({"auto_tune", *changes}), 32768, PRODUCT)


def served(deployment: Deployment) -> tuple[int | None, int | None]:
    return deployment.max_context_length, deployment.max_batch_size


def test_it_gives_few_sequences_a_context_that_holds_a_long_prompt_in_no_more_memory():
    plain, long = served(made()), served(made(auto_tune=ON))
    assert (plain, long) == ((2048, 8), (8192, 2))
    assert served(made(auto_tune=OFF)) == plain
    assert served(made(limit=4096, auto_tune=ON)) == (4096, 2)
    assert served(made(auto_tune=ON, max_context_length=16384, max_batch_size=1)) == (16384, 1)


def test_turned_on_and_off_it_fills_in_anew_what_it_had_filled_in():
    plain = made()
    on = turned(plain, ON)
    assert served(on) == (8192, 2)
    assert served(turned(on, OFF)) == served(plain)
    assert served(turned(on, ON)) == served(on)


def test_what_somebody_has_chosen_stays_as_it_is():
    assert served(turned(made(max_batch_size=5), ON)) == (8192, 5)
    assert served(turned(made(), ON, max_context_length=2048)) == (2048, 2)
    shaped = made().model_copy(update={"deployment_shape": "s/versions/v1"})
    assert served(turned(shaped, ON)) == served(shaped)


@pytest.mark.parametrize(
    ("asked", "least", "most", "count"), [(ON, 1, 8, 2), (ON, 4, 8, 8), (ON, 1, 0, 1), (OFF, 4, 8, 4), (None, 1, 8, 1)]
)
def test_it_takes_twice_the_fewest_accelerators_where_there_are_any(asked, least, most, count):
    assert long_prompt.accelerators(Deployment(auto_tune=asked), least, most) == count


def test_one_accelerator_is_refused_and_one_cpu_is_not():
    single = Deployment(auto_tune=ON, accelerator_count=1)
    with pytest.raises(InvalidArgument) as refused:
        long_prompt.check(single, 8)
    assert refused.value.field == "acceleratorCount"
    with pytest.raises(FailedPrecondition) as lacking:
        long_prompt.check(single, 1)
    assert lacking.value.field == "autoTune.longPrompt"
    long_prompt.check(single, 0)
    long_prompt.check(single.model_copy(update={"accelerator_count": 2}), 2)
    long_prompt.check(Deployment(auto_tune=OFF, accelerator_count=1), 8)
