"""Models and deployed models: what may be declared and changed; and files that travel by signed URLs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.addon_types import DeployedModel
from client.errors import (
    FailedPrecondition,
    FiredeckError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
)
from client.types import Deployment, Model
from engine import deployed_rules, model_rules
from engine.uploads import Ticket, Uploads

BASE = "accounts/fireworks/models/m"
LORA = Model(
    name="accounts/local/models/lora", kind="HF_PEFT_ADDON",
    peft_details={"baseModel": BASE, "r": 4, "targetModules": ["q_proj"]},
)  # fmt: skip
HOST = Deployment(name="accounts/local/deployments/d", base_model=BASE, enable_addons=True)


FIELDS = st.sampled_from(["kind", "peftDetails", "public", "x", "displayName", "state"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FIELDS, inner),
)


@given(JSON)
def test_any_json_is_a_model_or_refused_with_a_sentence(body):
    for read in (model_rules.read, deployed_rules.read):
        status = 400
        try:
            read(body)
        except FiredeckError as error:
            status = error.status
        assert status == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "NOPE"}, "kind"), ({"kind": "FLUMINA_BASE_MODEL"}, "kind"), ({"colour": 1}, "colour"),
        ({"displayName": "x" * 64}, "displayName"), ({"contextLength": -1}, "contextLength"),
        ({"conversationConfig": {"style": "jinja"}}, "conversationConfig"), ({"public": "yes"}, "public"),
        ({"baseModelDetails": {"parameterCount": 7}}, "baseModelDetails.parameterCount"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_model_is_named(body, field):
    with pytest.raises(InvalidArgument) as refused:
        model_rules.read(body)
    assert refused.value.field.replace("_", "").lower() == field.replace("_", "").lower()


def test_output_only_fields_mean_nothing_in_a_request():
    read = model_rules.read({"name": "x", "state": "READY", "calibrated": True, "description": "d"})
    assert read.model_fields_set == {"description"}


def test_an_update_takes_its_mask_and_guards_what_the_file_says():
    changes = model_rules.read({"description": "d", "displayName": "n", "kind": "HF_BASE_MODEL"})
    assert model_rules.updated(LORA, changes, frozenset({"displayName"})).description is None
    with pytest.raises(InvalidArgument) as refused:
        model_rules.updated(LORA, changes, None)
    assert refused.value.field == "kind"
    details = model_rules.read({"peftDetails": {"baseModel": "other", "r": 4, "targetModules": []}})
    with pytest.raises(InvalidArgument):
        model_rules.updated(LORA, details, frozenset({"peft_details.base_model"}))
    with pytest.raises(InvalidArgument) as refused:
        model_rules.updated(LORA, changes, frozenset({"state"}))
    assert refused.value.field == "updateMask"


def test_an_adapter_must_name_its_base():
    with pytest.raises(InvalidArgument) as refused:
        model_rules.check_new(model_rules.read({"kind": "HF_PEFT_ADDON"}))
    assert refused.value.field == "model.peftDetails"


@pytest.mark.parametrize(
    ("model", "host", "field"),
    [
        (LORA, {"enable_addons": False}, "deployment"), (LORA, {"base_model": "other"}, "model"),
        (LORA.model_copy(update={"state": "UPLOADING"}), {}, "model"), (Model(name=BASE), {}, "model"),
        (LORA, {"delete_time": "2026-01-01T00:00:00Z"}, "deployment"),
    ],
)  # fmt: skip
def test_an_adapter_that_does_not_fit_is_refused_with_a_remedy(model, host, field):
    with pytest.raises(InvalidArgument) as refused:
        deployed_rules.check_fits(model, HOST.model_copy(update=host))
    assert refused.value.field == field
    assert refused.value.hint
    deployed_rules.check_fits(LORA, HOST)
    hot = {"enable_addons": None, "enable_hot_reload_latest_addon": True}
    deployed_rules.check_fits(LORA, HOST.model_copy(update=hot))


def test_another_accounts_model_is_not_there_unless_it_is_public():
    with pytest.raises(NotFound):
        deployed_rules.check_owner(LORA, "alice", "model")
    deployed_rules.check_owner(LORA.model_copy(update={"public": True}), "alice", "model")
    deployed_rules.check_owner(Model(name=BASE), "alice", "model")


def test_a_deployed_model_changes_in_four_fields_alone():
    current = DeployedModel(name="n", model="m", deployment="d", default=True, public=False)
    changed = deployed_rules.updated(current, deployed_rules.read({"public": True, "model": "m"}), None)
    assert changed.public
    with pytest.raises(InvalidArgument) as refused:
        deployed_rules.updated(current, deployed_rules.read({"model": "other"}), None)
    assert refused.value.field == "model"
    kept = deployed_rules.updated(current, deployed_rules.read({"public": True}), frozenset({"display_name"}))
    assert not kept.public


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path, b"k" * 32)


TICKET = Ticket("PUT", "accounts/local/models/m", "a.gguf", 3, expires=100.0)


async def chunks(*parts):
    for part in parts:
        yield part


def anything_goes():
    """The model takes files."""


@given(st.integers(0, 200), st.sampled_from("abcXYZ09-_"))
def test_a_url_that_was_tampered_with_or_has_expired_is_refused(at, letter):
    uploads = Uploads(None, b"k" * 32)
    text = uploads.sign(TICKET)
    assert uploads.ticket(text, "PUT", 99.0) == TICKET
    changed = text[: at % (len(text) - 1)] + letter + text[at % (len(text) - 1) + 1 :]
    wrong = [(changed, "PUT", 0.0)] if changed != text else []
    for forged, method, now in [*wrong, (text, "GET", 0.0), (text, "PUT", 101.0), ("", "PUT", 0.0), ("ä", "PUT", 0.0)]:
        with pytest.raises(Unauthenticated):
            uploads.ticket(forged, method, now)


async def test_a_file_appears_whole_or_not_at_all(uploads):
    for bad in ((b"ab",), (b"ab", b"cd")):
        with pytest.raises(InvalidArgument):
            await uploads.receive(TICKET, chunks(*bad), anything_goes)
        assert not any(uploads.folder_of(TICKET.model).iterdir())
    await uploads.receive(TICKET, chunks(b"ab", b"c"), anything_goes)
    assert uploads.gguf_of(TICKET.model).read_bytes() == b"abc"
    uploads.forget(TICKET.model)
    with pytest.raises(FailedPrecondition, match="no file"):
        uploads.gguf_of(TICKET.model)


async def test_files_without_the_one_that_says_what_they_are_are_refused_with_its_name(uploads):
    await uploads.receive(Ticket("PUT", TICKET.model, "adapter_model.safetensors", 1, 0.0), chunks(b"x"), anything_goes)
    with pytest.raises(FailedPrecondition) as refused:
        uploads.gguf_of(TICKET.model)
    assert "of an adapter adapter_config.json" in refused.value.text


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "x" * 201, "a b"])
def test_a_file_cannot_be_called_just_anything(uploads, name):
    with pytest.raises(InvalidArgument):
        uploads.check_room({name: 1})


def test_what_does_not_fit_on_the_disk_is_refused_with_the_numbers(uploads):
    with pytest.raises(ResourceExhausted, match="are free"):
        uploads.check_room({"a.gguf": 10**18})
    uploads.check_room({"a.gguf": 1})
