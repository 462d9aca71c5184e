"""Lists: order and pages, as AIP-132 and AIP-158 have them, and the filters that clients send."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.access_types import ApiKey
from client.errors import InvalidArgument
from client.types import AutoscalingPolicy, Deployment
from engine.api.listing import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, page

TEXTS = st.sampled_from(["", "a", "b", "rock AND roll", "x=1", "(y)", "ä b", "READY", "10", "9"])
DEPLOYMENTS = st.lists(
    st.builds(
        Deployment, name=st.integers(0, 99).map(lambda n: f"accounts/local/deployments/d{n}"), display_name=TEXTS,
        state=st.sampled_from(["READY", "CREATING"]), min_replica_count=st.none() | st.integers(0, 20),
        enable_addons=st.none() | st.booleans(),
    ),
    max_size=30, unique_by=lambda d: d.name,
)  # fmt: skip


SECRET = b"k" * 32


def listed(items, *, size=None, token="", filter="", order="", default="name"):  # noqa: A002
    return page(
        items, size=size, token=token, filter_text=filter, order_by=order, default_order=default, kind=Deployment,
        secret=SECRET,
    )  # fmt: skip


def all_pages(items, size, **query):
    found, token = [], ""
    while True:
        part, token, total = listed(items, size=size, token=token, **query)
        assert len(part) <= size
        found += part
        if not token:
            assert total == len(found)
            return found


def names(items) -> list[str]:
    return [d.id for d in items]


def fleet(**fields) -> list[Deployment]:
    """One deployment a value, named d0, d1, ..."""
    [(field, values)] = fields.items()
    return [Deployment(name=f"accounts/local/deployments/d{i}", **{field: value}) for i, value in enumerate(values)]


@given(
    DEPLOYMENTS, st.integers(1, 40), st.sampled_from(["", "name desc", "display_name, name", "minReplicaCount desc"])
)
def test_the_pages_one_after_another_are_the_whole_list(items, size, order):
    whole, _, _ = listed(items, size=PAGE_SIZE_MAX, order=order)
    assert all_pages(items, size, order=order) == whole
    assert sorted(names(whole)) == sorted(names(items))


@given(DEPLOYMENTS, TEXTS.filter(bool), st.integers(1, 9))
def test_a_filter_keeps_just_what_is_equal_and_its_opposite_the_rest(items, text, size):
    equal = all_pages(items, size, filter=f'display_name="{text}"')
    other = all_pages(items, size, filter=f'displayName != "{text}"')
    assert {d.display_name for d in equal} <= {text}
    assert text not in {d.display_name for d in other}
    assert len(equal) + len(other) == len(items)


@given(DEPLOYMENTS, TEXTS)
def test_terms_joined_by_and_all_hold(items, text):
    found, _, _ = listed(items, size=200, filter=f'state=READY AND display_name = "{text}"')
    assert found == [d for d in listed(items, size=200)[0] if d.state == "READY" and d.display_name == text]


@given(DEPLOYMENTS)
def test_numbers_are_ordered_by_value_and_the_unset_come_first(items):
    counts = [d.min_replica_count for d in listed(items, size=200, order="min_replica_count")[0]]
    assert counts == sorted(counts, key=lambda n: -1 if n is None else n)


@given(DEPLOYMENTS)
def test_descending_is_the_reverse_where_no_two_are_equal(items):
    assert listed(items, size=200, order="name desc")[0] == listed(items, size=200, order="name asc")[0][::-1]


def test_the_second_field_of_an_order_breaks_ties_of_the_first():
    items = fleet(display_name=["b", "a", "b", "a"])
    assert names(listed(items, order="display_name desc, name desc")[0]) == ["d2", "d0", "d3", "d1"]


def test_pages_have_fifty_items_unless_asked_and_never_more_than_two_hundred():
    items = fleet(display_name=["x"] * 450)
    assert len(listed(items)[0]) == len(listed(items, size=0)[0]) == PAGE_SIZE_DEFAULT == 50
    assert len(listed(items, size=10_000)[0]) == PAGE_SIZE_MAX == 200


def test_a_list_that_fits_exactly_has_no_next_page():
    assert listed(fleet(display_name=["x"] * 3), size=3)[1:] == ("", 3)
    assert listed([], size=3) == ([], "", 0)


def test_values_may_be_unquoted_and_truth_is_written_in_json():
    items = fleet(enable_addons=[True, False, None])
    assert names(listed(items, filter="enableAddons=true")[0]) == ["d0"]
    assert names(listed(items, filter="enable_addons = false")[0]) == ["d1", "d2"]  # unset is false, as in protojson
    assert names(listed(items, filter="enable_addons:*")[0]) == ["d0", "d1"]


def test_a_field_of_a_message_is_reached_by_a_dot():
    windows = [AutoscalingPolicy(scale_up_window=f"{n}s") for n in (5, 7)]
    items = fleet(autoscaling_policy=windows)
    assert names(listed(items, filter='autoscaling_policy.scale_up_window="7s"')[0]) == ["d1"]


@pytest.mark.parametrize("items", [[], fleet(state=["READY"])], ids=["none", "one"])
@pytest.mark.parametrize(
    "text",
    ["state", "=READY", "state=", "state==READY", "state=READY AND", "AND state=READY", "(state=READY", "state=READY)",
     'state="READY', "state=READY name=x", 'state=READY"', "state=READYANDname=x", "'; DROP", "NOT", "()",
     "state=READY OR", "-", "min_replica_count>many", "enable_addons>true", "enable_addons=maybe", "create_time>noon",
     "autoscaling_policy.scale_up_window>3", "state=(READY)", "(" * 21 + "state=READY" + ")" * 21,
     " AND ".join(["state=READY"] * 101), "state=" + "x" * 5000],
)  # fmt: skip
def test_a_filter_that_cannot_be_read_is_refused_even_where_the_list_is_empty(items, text):
    with pytest.raises(InvalidArgument) as refused:
        listed(items, filter=text)
    assert refused.value.field == "filter"


@pytest.mark.parametrize("text", ["nonsense=1", "autoscaling_policy=x", "stat=READY"])
def test_a_filter_on_an_unknown_field_or_a_message_is_refused_not_answered_with_nothing(text):
    with pytest.raises(InvalidArgument) as refused:
        listed([Deployment(autoscaling_policy=AutoscalingPolicy())], filter=text)
    assert refused.value.field == "filter"


@pytest.mark.parametrize("text", ["name up", "name desc x", ",", "name,", "nonsense", "autoscalingPolicy"])
def test_an_order_that_cannot_be_read_is_refused(text):
    with pytest.raises(InvalidArgument) as refused:
        listed([Deployment(autoscaling_policy=AutoscalingPolicy())], order=text)
    assert refused.value.field == "orderBy"
    assert refused.value.hint


def token_of(items, size=1, **query):
    return listed(items, size=size, **query)[1]


FOREIGN = page(
    fleet(state=["READY"] * 3), size=1, token="", filter_text="", order_by="", default_order="name", secret=b"another"
)[1]


@pytest.mark.parametrize(
    "token", ["x", "-1", "1.5", " 1", "1 ", "²", "\u0663", "9" * 10, "0x1", "'; DROP TABLE", FOREIGN, "AAAA" * 10]
)
def test_a_page_token_that_was_not_made_here_is_refused(token):
    with pytest.raises(InvalidArgument) as refused:
        listed([], token=token)
    assert refused.value.field == "pageToken"


def test_a_negative_page_size_is_refused():
    with pytest.raises(InvalidArgument) as refused:
        listed([], size=-1)
    assert refused.value.field == "pageSize"


def test_a_token_whose_rest_was_deleted_answers_an_empty_last_page():
    items = fleet(state=["READY"] * 3)
    token = listed(items, size=2)[1]
    assert listed(items[:2], token=token) == ([], "", 2)


def test_a_token_belongs_to_its_query():
    items = fleet(display_name=["b", "a", "c"])
    token = token_of(items, order="display_name")
    assert names(listed(items, token=token, order="display_name")[0]) == ["d0", "d2"]
    for other in ({"order": "name"}, {"order": "display_name", "filter": "state:*"}):
        with pytest.raises(InvalidArgument) as refused:
            listed(items, token=token, **other)
        assert refused.value.field == "pageToken"


@given(st.data())
def test_one_changed_character_of_a_token_is_seen(data):
    items = fleet(display_name=["b", "a", "c"])
    token = token_of(items)
    at = data.draw(st.integers(0, len(token) - 2))  # the last one may hold bits that stand for nothing
    letter = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda c: c != token[at]))
    with pytest.raises(InvalidArgument) as refused:
        listed(items, token=token[:at] + letter + token[at + 1 :])
    assert refused.value.field == "pageToken"


@given(
    DEPLOYMENTS, st.integers(1, 5), st.sampled_from(["", "name desc", "displayName", "minReplicaCount desc, state"]),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_stays_as_it_is_appears_exactly_once_whatever_comes_and_goes_between_two_pages(items, size, order, random):
    stays = {d.name for d in items if random.random() < 0.6}
    now, seen, token = list(items), [], ""
    while True:
        part, token, _ = listed(now, size=size, order=order, token=token)
        seen += [d.name for d in part]
        if not token:
            break
        now = [d for d in now if d.name in stays or random.random() < 0.5]
        new = Deployment(
            name=f"accounts/local/deployments/new{random.random()}", display_name=random.choice(["", "a", "z"]),
            state="READY", min_replica_count=random.choice([None, 3]),
        )  # fmt: skip
        if random.random() < 0.3:
            now.insert(random.randint(0, len(now)), new)
    assert [name for name in seen if name in stays] == [
        d.name for d in listed(items, size=200, order=order)[0] if d.name in stays
    ]


@given(st.text(max_size=30), st.text(max_size=20), st.text(max_size=10))
def test_any_query_is_answered_or_refused_by_name(filter_text, order, token):
    fault = None
    try:
        listed([Deployment(name="a")], filter=filter_text, order=order, token=token)
    except InvalidArgument as refused:
        fault = refused.field
    assert fault in {None, "filter", "orderBy", "pageToken"}


def test_a_colon_asks_whether_a_field_has_a_text_in_either_case() -> None:
    items = fleet(display_name=["my chatbot", "other", None])
    assert names(listed(items, filter='displayName:"CHAT"')[0]) == ["d0"]
    assert names(listed(items, filter='displayName:"Other" AND state!=FAILED')[0]) == ["d1"]


def test_keys_that_were_made_at_one_instant_are_all_listed_once() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    keys, found, token = [ApiKey(key_id=f"k{n}", create_time=at) for n in range(5)], [], ""
    while True:
        part, token, _ = page(
            keys, size=2, token=token, filter_text="", order_by="", default_order="createTime", kind=ApiKey,
        )  # fmt: skip
        found += [key.key_id for key in part]
        if not token:
            break
    assert found == ["k0", "k1", "k2", "k3", "k4"]
