"""Paths as the SDKs send them: encoded names, aliases, verbs."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.paths import normalise

IDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
COLLECTIONS = st.sampled_from(["models", "deployments", "deployedModels"])
VERBS = st.sampled_from(["", ":scale", ":undelete", ":metrics"])


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/v1/accounts/a/models/accounts%2Fx%2Fmodels%2Fy", "/v1/accounts/x/models/y"),
        ("/v1/accounts/a/models/accounts%2fx%2fmodels%2fy", "/v1/accounts/x/models/y"),
        ("/v1/accounts/a/deployments/accounts%2Fx%2Fdeployments%2Fd:scale", "/v1/accounts/x/deployments/d:scale"),
        ("/v1/accounts/a/deployments/accounts%2Fx%2Fdeployments%2Fd%3Ascale", "/v1/accounts/x/deployments/d:scale"),
        ("/v1/accounts/a/deployments/d%3Ascale", "/v1/accounts/a/deployments/d:scale"),
        ("/firedeck/v1/accounts/a/deployments/accounts%2Fx%2Fdeployments%2Fd/events",
         "/firedeck/v1/accounts/x/deployments/d/events"),
        ("/inference/v1/accounts/a/deployments", "/v1/accounts/a/deployments"),
        ("/inference/v1/accounts/a/models/accounts%2Fx%2Fmodels%2Fy", "/v1/accounts/x/models/y"),
        ("/inference/v1/chat/completions", "/inference/v1/chat/completions"),
        # an encoded name of another collection is not this route's
        ("/v1/accounts/a/models/accounts%2Fx%2Fdeployments%2Fy", "/v1/accounts/a/models/accounts/x/deployments/y"),
        ("/", "/"), ("", ""), ("/healthz", "/healthz"), ("/v1", "/v1"), ("//", "//"),
        ("/v1/accounts/%ff", "/v1/accounts/\ufffd"),
    ],
)  # fmt: skip
def test_the_path_that_is_routed_on(raw, path):
    assert normalise(raw) == path


@given(IDS, IDS, IDS, COLLECTIONS, VERBS, st.sampled_from(["/v1", "/inference/v1", "/firedeck/v1"]))
def test_a_full_name_in_an_ids_place_is_that_resource_under_every_prefix(mine, owner, name, collection, verb, prefix):
    full = quote(f"accounts/{owner}/{collection}/{name}", safe="")
    routed = "/v1" if prefix == "/inference/v1" else prefix
    assert normalise(f"{prefix}/accounts/{mine}/{collection}/{full}{verb}") == (
        f"{routed}/accounts/{owner}/{collection}/{name}{verb}"
    )


@given(st.lists(st.from_regex(r"[A-Za-z0-9:._~-]{1,8}", fullmatch=True).filter(lambda s: s != "inference"), max_size=8))
def test_a_path_without_encoding_is_left_as_it_is(segments):
    assert normalise("/" + "/".join(segments)) == "/" + "/".join(segments)


@given(st.text("/%23FabcdefmodelsaccountsAv1:.é", max_size=60))
def test_any_path_is_routed_on_somehow(raw):
    assert isinstance(normalise(raw), str)
    assert normalise(raw).count("\x00") == unquote(raw).count("\x00")
