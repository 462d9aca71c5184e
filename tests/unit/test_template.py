"""Templates: what of a declaration reaches a replica's command line, and which changes make a new generation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from client.names import Name
from client.types import Deployment
from engine import declare
from engine.control.windows import PRODUCT
from engine.fleet.template import Template, template_of
from engine.placement.local import options_of
from engine.replica.__main__ import arguments

MODEL = "accounts/fireworks/models/smollm2-135m-instruct"
DRAFT = "accounts/local/models/draft"
DRAFTING = {"draftModel": DRAFT, "draftTokenCount": 4}
FILES = (Path("/models/base.gguf"), Path("/models/draft.gguf"))


def declared(**body) -> Deployment:
    spec = declare.read({"baseModel": MODEL, **body})
    return declare.create(spec, Name("local", "deployments", "d"), 8192, PRODUCT)


def template(**body) -> Template:
    return template_of(declared(**body))


def words(made: Template) -> list[str]:
    """The arguments beyond those that every replica gets."""
    return options_of(made.launch("r", "key", FILES[0], FILES[1] if made.draft_model else None, cores=1))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, []),
        (DRAFTING, ["--draft-model", str(FILES[1]), "--draft-token-count", "4"]),
        (
            {"ngramSpeculationLength": 3, "draftTokenCount": 8},
            ["--draft-token-count", "8", "--ngram-speculation-length", "3"],
        ),
        (DRAFTING | {"draftTokenCount": 0}, []),
        ({"ngramSpeculationLength": 3, "draftTokenCount": 0}, []),
        ({"draftTokenCount": 5}, []),
        ({"draftModel": "", "ngramSpeculationLength": 0, "draftTokenCount": 5}, []),
        ({"numPeftDeviceCached": 2, "maxPeftBatchSize": 3}, ["--adapters-cached", "2", "--adapter-sequences", "3"]),
        ({"numPeftDeviceCached": 0, "maxPeftBatchSize": 0, "enableAddons": True}, []),
        ({"acceleratorCount": 4}, []),
        ({"firedeck": {"threads": 3}}, ["--threads", "3"]),
    ],
)
def test_what_is_declared_reaches_the_replica_and_what_is_off_is_left_out(body, expected):
    assert words(template(**body)) == expected


@pytest.mark.parametrize("placement", [{"multiRegion": "GLOBAL"}, {"regions": ["US_IOWA_1", "EU_PARIS_1"]}])
def test_what_one_engine_writes_down_the_next_one_reads(placement):
    made = template(placement=placement, acceleratorType="NVIDIA_L4_24GB", **DRAFTING)
    assert Template.read(made.written()) == made


@pytest.mark.parametrize("doc", ["", "[]", "7", '{"deployment": "d"}', '{"colour": "blue"}'])
def test_settings_of_another_firedeck_are_refused(doc):
    with pytest.raises((TypeError, ValueError)):
        Template.read(doc)


def test_a_replica_takes_every_argument_that_it_can_be_given():
    body = DRAFTING | {"numPeftDeviceCached": 2, "maxPeftBatchSize": 3, "firedeck": {"threads": 2}}
    given = arguments(
        ["--deployment", "d", "--replica", "r", "--socket", "s", "--model", "m", *words(template(**body))]
    )
    assert (given.draft_model, given.draft_token_count) == (str(FILES[1]), 4)
    assert (given.adapters_cached, given.adapter_sequences, given.threads) == (2, 3, 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, DRAFTING),
        (DRAFTING, DRAFTING | {"draftTokenCount": 5}),
        (DRAFTING, DRAFTING | {"draftModel": "accounts/local/models/other"}),
        (DRAFTING, {"ngramSpeculationLength": 2, "draftTokenCount": 4}),
        ({"ngramSpeculationLength": 2, "draftTokenCount": 4}, {"ngramSpeculationLength": 3, "draftTokenCount": 4}),
        ({}, {"numPeftDeviceCached": 2}),
        ({}, {"enableAddons": True}),  # it is promised more
        ({}, {"maxPeftBatchSize": 2}),
        ({}, {"maxBatchSize": 4}),
        ({}, {"maxContextLength": 512}),
        ({}, {"firedeck": {"threads": 2}}),
        ({"acceleratorCount": 1}, {"acceleratorCount": 2}),
    ],
)
def test_a_change_that_reaches_replicas_makes_a_new_generation(before, after):
    assert template(**before).generation != template(**after).generation


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"description": "words", "minReplicaCount": 1}),
        ({}, DRAFTING | {"draftTokenCount": 0}),
        ({}, {"draftTokenCount": 4}),
    ],
)
def test_a_change_that_reaches_no_replica_replaces_none(before, after):
    assert template(**before).generation == template(**after).generation


def test_deployments_alike_have_the_same_generation():
    one = declared()
    other = one.model_copy(update={"name": "accounts/local/deployments/other"})
    made = [template_of(d) for d in (one, other)]
    assert made[0] == replace(made[1], deployment=one.name)
