"""Adapters on replicas: which steps bring a replica to what is wanted, and how far a deployed model is."""

from __future__ import annotations

from pathlib import Path

import httpx
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import FakeClock
from engine.control.addons import DEPLOYED, DEPLOYING, FAILED, Do, Held, Step, refused_by_all, state, steps
from engine.fleet.addons import Addon, Addons
from engine.fleet.replica import Replica
from engine.telemetry.replica_figures import ReplicaFigures

NAMES = st.sampled_from(["a", "b", "c"])
DIGESTS = st.sampled_from(["1", "2"])
WANTED = st.dictionaries(NAMES, DIGESTS)
HELD = st.dictionaries(NAMES, st.builds(Held, DIGESTS, st.sampled_from(["", "no"])))


def done(wanted, held, refused=frozenset()):
    """The replica after all steps, where contents of `refused` are not taken."""
    now = dict(held)
    for step in steps(wanted, held):
        if step.do is Do.UNLOAD:
            del now[step.name]
        else:
            digest = wanted[step.name]
            now[step.name] = Held(digest, "no" if (step.name, digest) in refused else "")
    return now


@given(WANTED, HELD, st.frozensets(st.tuples(NAMES, DIGESTS)))
def test_after_its_steps_a_replica_holds_what_is_wanted_and_there_is_nothing_left_to_do(wanted, held, refused):
    now = done(wanted, held, refused)
    assert steps(wanted, now) == []
    serving = {name: has.digest for name, has in now.items() if not has.refusal}
    assert serving.items() <= wanted.items()
    assert all(now[name].digest == digest for name, digest in wanted.items())


@given(WANTED, HELD)
def test_what_a_replica_refused_is_not_tried_on_it_again(wanted, held):
    again = {s.name for s in steps(wanted, held) if s.do is Do.LOAD}
    assert not any(held[n].refusal and held[n].digest == wanted[n] for n in again if n in held)


@given(st.lists(HELD, max_size=4), DIGESTS, st.booleans())
def test_a_deployed_model_is_deployed_only_when_every_replica_has_it(ready, digest, settled):
    found, why = state("a", digest, ready, settled=settled)
    refusals = [h["a"] for h in ready if "a" in h and h["a"].digest == digest and h["a"].refusal]
    if refusals:
        assert (found, why) == (FAILED, "no")
    elif not ready:
        assert found == (DEPLOYED if settled else DEPLOYING)
    else:
        assert (found == DEPLOYED) == all("a" in h and h["a"] == Held(digest) for h in ready)


def test_another_content_under_the_same_name_is_loaded_anew():
    assert [(s.do, s.name) for s in steps({"a": "2"}, {"a": Held("1")})] == [(Do.LOAD, "a")]
    assert state("a", "2", [{"a": Held("1", "it was bad")}], settled=True) == (DEPLOYING, "")


async def test_a_replica_that_goes_while_it_refuses_an_adapter_is_no_error():
    told: list[str] = []

    async def tell(_kind, reason, message, replica):
        told.append(f"{replica} {reason}: {message}")

    async def refuse(_request: httpx.Request) -> httpx.Response:
        addons.sync([])  # a look that finds the replica gone
        return httpx.Response(400, json={"error": {"code": "INVALID_ARGUMENT", "message": "it is of another model"}})

    addons = Addons(tell, lambda: None)
    addons.wanted["a"] = Addon(Path("/nowhere"), "1")
    replica = Replica("r", "g", "key", FakeClock(), ReplicaFigures())
    replica.http = httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://replica")
    await addons._do(replica, Step(Do.LOAD, "a"))
    await replica.http.aclose()
    assert told == ["r AddonFailed: a: it is of another model"]
    assert not addons._held


def test_what_one_replica_took_is_refused_by_none_of_the_others_alone():
    no, yes, other = {"a": Held("1", "no")}, {"a": Held("1")}, {"a": Held("2", "no")}
    assert refused_by_all("a", "1", [no, no]) == "no"
    for ready in ([], [no, yes], [no, {}], [no, other]):
        assert refused_by_all("a", "1", ready) == ""
