"""Which adapters are in memory: loaded when first used, making room for each other, freed when nobody uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from engine.replica import adapters
from engine.replica.job import AdapterUse
from tests.unit.test_replica_adapters import CONTEXT, NAMES, Ledger, digests, folder, ledger, registry, states, use

__all__ = ["folder", "ledger"]


def test_two_names_of_one_file_count_once_and_add_up(folder: Path, ledger: Ledger) -> None:
    made = registry(folder, max_cached=1)
    made.register("again", folder / "a.gguf")
    assert made.activate(CONTEXT, use(made, "a", "again", scale=0.5), set())
    assert [scale for _, scale in ledger.on_context] == [1.0]
    assert not made.activate(CONTEXT, use(made, "a"), set())


def test_an_adapter_is_loaded_when_first_used_and_kept(folder: Path, ledger: Ledger) -> None:
    made = registry(folder)
    assert made.activate(CONTEXT, use(made, "a"), set())
    assert not made.activate(CONTEXT, use(made, "a"), set())
    assert made.activate(CONTEXT, (), set())
    assert ledger.on_context == []
    assert states(made)["a"] == "cached"
    assert made.activate(CONTEXT, use(made, "a", scale=0.5), set())
    assert ledger.loads == 1


def test_the_least_recently_used_adapter_makes_room(folder: Path, ledger: Ledger) -> None:
    made = registry(folder)
    for name in ("a", "b", "a", "c"):
        made.activate(CONTEXT, use(made, name), set())
    assert states(made) == {"a": "cached", "b": "registered", "c": "cached", "d": "registered"}
    used = {info.name: info.last_used for info in made.infos()}
    assert used["d"] is None
    assert used["b"] is not None


def test_one_place_is_enough_for_all_in_turn(folder: Path, ledger: Ledger) -> None:
    made = registry(folder, max_cached=1)
    for name in NAMES:
        assert made.activate(CONTEXT, use(made, name), set())
        assert len(ledger.loaded) == 1


def test_an_adapter_in_use_keeps_its_place(folder: Path, ledger: Ledger) -> None:
    made = registry(folder, max_cached=1)
    first, second = use(made, "a"), use(made, "b")
    made.activate(CONTEXT, first, set())
    assert not made.can_serve(second, digests(first))
    with pytest.raises(Unavailable, match="in use"):
        made.activate(CONTEXT, second, digests(first))
    assert made.can_serve(first, digests(first))
    assert made.can_serve((), digests(first))
    assert made.can_serve(second, set())


def test_a_name_registered_again_with_another_file_means_the_new_one(folder: Path, ledger: Ledger) -> None:
    made = registry(folder, names=("a",))
    before = use(made, "a")
    made.register("a", folder / "b.gguf")
    after = use(made, "a")
    assert digests(before) != digests(after)
    assert made.activate(CONTEXT, before, set())  # a request that was accepted before
    assert made.activate(CONTEXT, after, digests(before))
    assert len(ledger.loaded) == 2
    made.sweep(digests(before) | digests(after))
    assert len(ledger.loaded) == 2
    made.sweep(set())
    assert len(ledger.loaded) == 1


def test_a_withdrawn_adapter_is_freed_once_nobody_uses_it(folder: Path, ledger: Ledger) -> None:
    made = registry(folder)
    wanted = use(made, "a")
    made.activate(CONTEXT, wanted, set())
    made.unregister("a")
    with pytest.raises(NotFound):
        use(made, "a")
    with pytest.raises(NotFound):
        made.unregister("a")
    made.sweep(digests(wanted))
    assert len(ledger.loaded) == 1
    made.sweep(set())
    assert (ledger.loaded, ledger.on_context) == ([], [])


def test_a_file_that_changed_since_it_was_registered_is_refused(folder: Path, ledger: Ledger) -> None:
    made = registry(folder)
    wanted = use(made, "a")
    (folder / "a.gguf").write_bytes((folder / "b.gguf").read_bytes())
    with pytest.raises(FailedPrecondition, match="'a' cannot be loaded: the file has changed"):
        made.activate(CONTEXT, wanted, set())
    (folder / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(FailedPrecondition, match="'a' cannot be loaded: "):
        made.activate(CONTEXT, wanted, set())
    (folder / "a.gguf").unlink()
    with pytest.raises(FailedPrecondition, match="'a' cannot be loaded: "):
        made.activate(CONTEXT, wanted, set())
    assert made.activate(CONTEXT, use(made, "b"), set())


def test_what_llama_cpp_refuses_is_told_and_the_next_request_goes_on(folder: Path, ledger: Ledger) -> None:
    made = registry(folder, max_cached=1)
    made.activate(CONTEXT, use(made, "a"), set())
    ledger.refuses = True
    with pytest.raises(FailedPrecondition, match="model arch and LoRA arch mismatch"):
        made.activate(CONTEXT, use(made, "b"), set())
    assert ledger.on_context == []
    ledger.refuses = False
    assert made.activate(CONTEXT, use(made, "a"), set())
    assert len(ledger.on_context) == 1


def test_only_so_many_withdrawn_files_are_remembered(folder: Path, ledger: Ledger, monkeypatch: Any) -> None:
    monkeypatch.setattr(adapters, "MAX_WITHDRAWN", 1)
    made = registry(folder)
    first, second = use(made, "a"), use(made, "b")
    made.unregister("a")
    made.unregister("b")
    assert made.activate(CONTEXT, second, set())
    with pytest.raises(FailedPrecondition, match="withdrawn while this request waited"):
        made.activate(CONTEXT, first, set())


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("start"), st.lists(st.sampled_from(NAMES), max_size=3, unique=True), st.sampled_from((0.5, 1))
        ),
        st.tuples(st.just("end"), st.integers(0, 3)),
        st.tuples(st.just("replace"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("unregister"), st.sampled_from(NAMES)),
        st.tuples(st.just("sweep")),
        st.tuples(st.sampled_from(("step", "step", "break"))),
    ),
    max_size=30,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(actions=ACTIONS, max_cached=st.integers(1, 3))
def test_whatever_happens_what_runs_runs_under_its_own_adapters(
    folder: Path, ledger: Ledger, actions: list[tuple[Any, ...]], max_cached: int
) -> None:
    ledger.__init__()  # type: ignore[misc]  # one for each example
    made = registry(folder, max_cached=max_cached)
    running: list[tuple[AdapterUse, ...]] = []

    def in_use() -> set[str]:
        return {one.digest for wanted in running for one in wanted}

    for action, *details in actions:
        ledger.refuses = action == "break"
        try:
            if action == "start":
                wanted = use(made, *details[0], scale=details[1])
                if made.can_serve(wanted, in_use()):
                    running.append(wanted)
            elif action == "end" and details[0] < len(running):
                del running[details[0]]
            elif action == "replace":
                made.register(details[0], folder / f"{details[1]}.gguf")
            elif action == "unregister":
                made.unregister(details[0])
        except (NotFound, InvalidArgument):
            pass
        for wanted in list(running) if action in ("step", "break") else []:
            try:
                made.activate(CONTEXT, wanted, in_use())
            except FailedPrecondition:
                assert ledger.refuses
                running.remove(wanted)
                continue
            assert {one.digest for one, _ in ledger.on_context} == digests(wanted)
            assert sum(scale for _, scale in ledger.on_context) == sum(one.scale for one in wanted)
            assert len(ledger.loaded) <= max_cached
        if action == "sweep":
            made.sweep(in_use())
            named = {info.digest for info in made.infos()}
            assert len(ledger.loaded) <= len(named | in_use())
