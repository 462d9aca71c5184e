"""Filters of lists, as AIP-160 has them: what is written is what is meant, against a second reading of the grammar."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import InvalidArgument
from client.types import AutoscalingPolicy, Deployment, Placement
from engine.api.filtering import compiled

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
CHAT = Deployment(
    name="accounts/local/deployments/chat", display_name="My Chat", state="READY", min_replica_count=2,
    create_time=NOON, enable_addons=True, annotations={"team": "a", "cost.centre": "7"},
    autoscaling_policy=AutoscalingPolicy(scale_up_window=timedelta(seconds=30), load_targets={"default": 0.8}),
    placement=Placement(regions=["US_IOWA_1", "EU_PARIS_1"]),
)  # fmt: skip
BARE = Deployment(name="accounts/local/deployments/bare", state="CREATING")


def holds(text: str, item: Deployment = CHAT) -> bool:
    found = compiled(text, Deployment)
    assert found is not None
    return found(item)


@pytest.mark.parametrize(
    "text",
    [
        'display_name="My Chat"', "displayName = 'My Chat'", 'display_name="My*"', 'display_name="*Cha*"',
        'display_name!="My"', "state=READY OR state=FAILED", "NOT state=FAILED", "-state=FAILED",
        "(state=READY)", "NOT (state=FAILED OR state=DELETED)", "min_replica_count>=2", "minReplicaCount<2.5",
        "min_replica_count=2 AND state=READY", "create_time>\"2026-01-31T11:59:59Z\"",
        'create_time="2026-01-31T13:00:00+01:00"', "create_time<2027-01-01", "enable_addons=true",
        "enableAddons!=false", "autoscaling_policy.scale_up_window=30s", "autoscalingPolicy.scaleUpWindow<1m",
        "autoscaling_policy.load_targets.default>0.5", "annotations:team", "annotations.team=a",
        "annotations.cost.centre=7", "placement.regions:EU_PARIS_1", "placement:*", 'display_name:"Chat"',
        "NOT annotations:owner", "name=accounts/local/deployments/chat", "enable_mtp=false", "max_batch_size=0",
        "purge_time!=2026-01-01",
    ],
)  # fmt: skip
def test_what_holds(text):
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        'display_name="My"', 'display_name="my chat"', 'display_name="*x*"', "NOT state=READY", "min_replica_count>2",
        "enable_addons=false", "annotations:a", "annotations.owner=a", "purge_time=2026-01-01", "purge_time<2030-01-01",
        "placement.regions:US_UTAH_1", "firedeck:*", 'display_name="My\\\\*"', "min_replica_count!=2",
    ],
)  # fmt: skip
def test_what_does_not(text):
    assert not holds(text)


def test_or_binds_tighter_than_and():
    assert not holds("state=FAILED AND state=READY OR state=READY")
    assert holds("(state=FAILED AND state=READY) OR state=READY")


def test_an_escaped_star_and_an_escaped_quote_stand_for_themselves():
    item = Deployment(display_name='a*b"c')
    assert holds('display_name="a\\*b\\"c"', item)
    assert not holds('display_name="a\\*b\\"c"', Deployment(display_name='axb"c'))


def test_words_of_the_grammar_are_texts_inside_quotes():
    assert holds('display_name="rock AND roll"', Deployment(display_name="rock AND roll"))
    assert holds("display_name=ORDER", Deployment(display_name="ORDER"))


def test_a_nested_filter_does_not_take_exponential_time():
    text = "(" * 20 + 'display_name="*a*a*a*a*a*a*b"' + ")" * 20
    assert not holds(text, Deployment(display_name="a" * 63))


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_filter_is_none(text):
    assert compiled(text, Deployment) is None


ATOMS = {
    "state=READY": lambda d: d.state == "READY",
    "state != CREATING": lambda d: d.state != "CREATING",
    "min_replica_count > 1": lambda d: (d.min_replica_count or 0) > 1,
    "minReplicaCount<=3": lambda d: (d.min_replica_count or 0) <= 3,
    "enable_addons=true": lambda d: bool(d.enable_addons),
    'display_name="a*"': lambda d: (d.display_name or "").startswith("a"),
    "annotations:team": lambda d: "team" in (d.annotations or {}),
}
EXPRESSIONS = st.recursive(
    st.sampled_from(sorted(ATOMS)),
    lambda inner: st.tuples(st.sampled_from(["AND", "OR", "NOT", "-"]), inner, inner),
    max_leaves=8,
)
ITEMS = st.builds(
    Deployment, state=st.sampled_from(["READY", "CREATING"]), min_replica_count=st.none() | st.integers(0, 5),
    enable_addons=st.none() | st.booleans(), display_name=st.none() | st.sampled_from(["a", "ab", "b"]),
    annotations=st.none() | st.sampled_from([{}, {"team": "x"}]),
)  # fmt: skip


def written(tree) -> str:
    if isinstance(tree, str):
        return tree
    word, left, right = tree
    if word in ("NOT", "-"):
        return f"{word + ' ' if word == 'NOT' else '-'}({written(left)})"
    return f"({written(left)}) {word} ({written(right)})"


def meant(tree, item) -> bool:
    if isinstance(tree, str):
        return ATOMS[tree](item)
    word, left, right = tree
    if word in ("NOT", "-"):
        return not meant(left, item)
    return (meant(left, item) and meant(right, item)) if word == "AND" else (meant(left, item) or meant(right, item))


@given(EXPRESSIONS, st.lists(ITEMS, min_size=1, max_size=5))
def test_any_expression_means_what_is_written(tree, items):
    for item in items:
        assert holds(written(tree), item) == meant(tree, item)


@given(st.lists(st.sampled_from(sorted(ATOMS)), min_size=1, max_size=6), st.data(), ITEMS)
def test_without_parentheses_every_or_is_read_before_every_and(atoms, data, item):
    words = [data.draw(st.sampled_from(["AND", "OR"])) for _ in atoms[1:]]
    text = atoms[0] + "".join(f" {word} {atom}" for word, atom in zip(words, atoms[1:], strict=True))
    groups = [[atoms[0]]]
    for word, atom in zip(words, atoms[1:], strict=True):
        if word == "OR":
            groups[-1].append(atom)
        else:
            groups.append([atom])
    assert holds(text, item) == all(any(ATOMS[atom](item) for atom in group) for group in groups)


@given(st.text(alphabet="stae=<>!:()\"'\\*-ANDORT .1", max_size=40) | st.text(max_size=40))
def test_any_text_is_a_filter_or_refused_as_one(text):
    fault, found = "filter", None
    try:
        found = compiled(text, Deployment)
    except InvalidArgument as refused:
        fault = refused.field if len(refused.text) < 500 else "too long"
    assert fault == "filter"
    for item in (CHAT, BARE):
        assert found is None or found(item) in (True, False)


@given(st.text("ab", max_size=8), st.lists(st.text("ab*", max_size=4), min_size=1, max_size=4))
def test_a_star_stands_for_anything_just_as_in_a_regular_expression(text, parts):
    pattern = "*".join(parts)
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
    assert compiled(f'description = "{pattern}"', Deployment)(Deployment(description=text)) == (
        expected if pattern else not text
    )


def test_many_stars_over_a_long_text_take_no_time():
    """By a regular expression this would take longer than anybody lives."""
    assert not compiled(f'description = "{"*a" * 200}b"', Deployment)(Deployment(description="a" * 999))


@pytest.mark.parametrize(
    ("field", "hint"), [("dispayName", "did you mean displayName?"), ("zzz", "fields are named as in the JSON")]
)
def test_an_unknown_field_is_refused_with_the_one_that_was_meant(field: str, hint: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        compiled(f"{field}=x", Deployment)
    assert (refused.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("state=READDY", "did you mean READY?"), ("NOT state=ready", "did you mean READY?"),
        ("placement.region=MARS", "known: "), ("firedeck.cold_policy!=hol", "did you mean hold?"),
        ("precision=FP7", "did you mean FP"),
    ],
)  # fmt: skip
def test_a_name_that_an_enum_does_not_have_is_refused_and_finds_no_empty_list(text, hint):
    with pytest.raises(InvalidArgument, match="is no value of") as refused:
        compiled(text, Deployment)
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize("text", ["state=READY", "state=R*", 'accelerator_type=""', "firedeck.cold_policy!=hold"])
def test_the_names_of_an_enum_their_parts_and_none_are_taken(text):
    assert holds(text)
