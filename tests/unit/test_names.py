"""Resource names and model strings: every documented form, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import InvalidArgument
from client.names import Name, check_id, parse_model, random_id

IDS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
COLLECTIONS = st.sampled_from(["models", "deployments", "deployedModels", "users", "deploymentShapes"])
NAMES = st.builds(Name, IDS, COLLECTIONS, IDS)

MODEL = Name("fireworks", "models", "m")
MINE = Name("local", "deployments", "d")
ALICES = Name("alice", "deployments", "d")


@pytest.mark.parametrize(
    ("text", "model", "deployment", "deployed_model"),
    [
        ("accounts/fireworks/models/m", MODEL, None, None),
        ("fireworks/m", MODEL, None, None),
        ("m", Name("local", "models", "m"), None, None),
        ("accounts/alice/deployments/d", None, ALICES, None),
        ("accounts/alice/deployedModels/x", None, None, Name("alice", "deployedModels", "x")),
        ("accounts/fireworks/models/m#accounts/alice/deployments/d", MODEL, ALICES, None),
        ("fireworks/m#alice/d", MODEL, ALICES, None),
        ("accounts/fireworks/models/m#alice/d", MODEL, ALICES, None),
        ("fireworks/m#accounts/alice/deployments/d", MODEL, ALICES, None),
        ("fireworks/m#d", MODEL, MINE, None),
        ("m#d", Name("local", "models", "m"), MINE, None),
    ],
)
def test_every_documented_form_of_a_model_string_is_read(text, model, deployment, deployed_model):
    wanted = parse_model(text, "local")
    assert (wanted.model, wanted.deployment, wanted.deployed_model) == (model, deployment, deployed_model)


@pytest.mark.parametrize(
    "text",
    [
        "", "#", "#d", "m#", "m#d#e", "a/b/c", "/m", "m/", "accounts/a/models", "accounts/a/models/m/x",
        "accounts/a/models/", "accounts//models/m", "Accounts/a/models/m", "accounts/a/users/u",
        "accounts/a/deploymentShapes/s", "accounts/a/deployments/d#e", "accounts/a/deployedModels/x#d",
        "fireworks/m#accounts/a/models/n", "../m", "a/../m", "accounts/a/models/..", "%2e%2e/m", "m\n", "m ", "M",
        "m\u0000", "\u0430/m", "-m", "m-", "m" * 64, "accounts/fireworks/models/m#", "\u0661",
    ],
)  # fmt: skip
def test_anything_else_is_refused_as_the_field_model(text):
    with pytest.raises(InvalidArgument) as refused:
        parse_model(text, "local")
    assert refused.value.field == "model"


@given(NAMES)
def test_a_name_written_out_reads_back_as_itself(name):
    assert Name.parse(str(name)) == name
    assert Name.of(str(name), name.collection, "someone-else") == name


@given(NAMES)
def test_short_forms_mean_the_same_as_the_full_name(name):
    assert Name.of(f"{name.account}/{name.id}", name.collection, "someone-else") == name
    assert Name.of(name.id, name.collection, name.account) == name


@given(st.builds(Name, IDS, st.just("models"), IDS), st.builds(Name, IDS, st.just("deployments"), IDS))
def test_a_model_on_a_deployment_reads_the_same_in_full_and_in_short(model, deployment):
    full = parse_model(f"{model}#{deployment}", "local")
    short = parse_model(f"{model.account}/{model.id}#{deployment.account}/{deployment.id}", "local")
    assert full == short
    assert (full.model, full.deployment) == (model, deployment)


@given(st.text(max_size=80))
def test_a_text_is_either_refused_or_read_into_names_made_of_valid_ids(text):
    try:
        wanted = parse_model(text, "local")
    except InvalidArgument:
        return
    for name in (wanted.model, wanted.deployment, wanted.deployed_model):
        if name is not None:
            assert check_id(name.id) == name.id
            assert check_id(name.account) == name.account


@given(NAMES, COLLECTIONS)
def test_a_full_name_of_another_collection_is_refused(name, collection):
    if name.collection != collection:
        with pytest.raises(InvalidArgument):
            Name.of(str(name), collection, "local")


@pytest.mark.parametrize("good", ["a", "0", "a-b", "a--b", "z9", "1abc", "a" * 63])
def test_ids_of_1_to_63_lower_case_letters_digits_and_inner_hyphens_are_valid(good):
    assert check_id(good) == good


@pytest.mark.parametrize("bad", ["", "-", "-a", "a-", "A", "a_b", "a.b", "a b", "a\n", "é", "\u0661", "a" * 64])
def test_other_ids_are_refused_naming_the_field_and_the_rule(bad):
    with pytest.raises(InvalidArgument, match="deploymentId") as refused:
        check_id(bad, "deploymentId")
    assert refused.value.field == "deploymentId"
    assert "63" in (refused.value.hint or "")


def test_a_refusal_does_not_repeat_an_endless_id():
    with pytest.raises(InvalidArgument) as refused:
        check_id("x" * 1_000_000)
    assert len(refused.value.text) < 300


def test_generated_ids_are_eight_characters_start_with_a_letter_and_differ():
    made = {random_id() for _ in range(200)}
    assert len(made) == 200
    assert all(len(i) == 8 and i[0].isalpha() and check_id(i) for i in made)
