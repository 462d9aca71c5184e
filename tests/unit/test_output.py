"""What commands print: firectl's form, Go's durations, JSON that reads back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from client.cli import output
from client.types import AutoscalingPolicy, BaseModelDetails, Deployment, Model, ModelFile, ReplicaStats, Status

CHAT = Deployment(
    name="accounts/local/deployments/chat", base_model="accounts/fireworks/models/m", state="READY", status=Status(),
    min_replica_count=0, max_replica_count=2, desired_replica_count=1, replica_count=1,
    replica_stats=ReplicaStats(ready_replica_count=1), create_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    autoscaling_policy=AutoscalingPolicy(
        scale_up_window=timedelta(seconds=30), scale_down_window=timedelta(minutes=10),
        scale_to_zero_window=timedelta(hours=1)
    ),
)  # fmt: skip


def test_durations_are_printed_as_go_prints_them():
    lines = output.deployment_lines(CHAT).splitlines()
    assert "  Scale Up Window: 30s" in lines
    assert "  Scale Down Window: 10m0s" in lines
    assert "  Scale To Zero Window: 1h0m0s" in lines


def test_a_deployment_starts_with_its_name_and_ends_with_what_to_put_into_a_request():
    lines = output.deployment_lines(CHAT).splitlines()
    assert lines[0] == "Name: accounts/local/deployments/chat"
    assert lines[-1] == "Model String: accounts/fireworks/models/m#accounts/local/deployments/chat"
    assert "State: READY" in lines
    assert "Min Replica Count: 0" in lines


def test_speculation_is_shown_where_it_was_declared_and_only_there():
    drafted = CHAT.model_copy(update={"draft_model": "accounts/fireworks/models/small", "draft_token_count": 4})
    looked_up = CHAT.model_copy(update={"ngram_speculation_length": 3, "draft_token_count": 0})
    lines = output.deployment_lines(drafted).splitlines()
    assert lines[-3:-1] == ["Draft Model: accounts/fireworks/models/small", "Draft Token Count: 4"]
    lines = output.deployment_lines(looked_up).splitlines()
    assert lines[-3:-1] == ["Draft Token Count: 0", "Ngram Speculation Length: 3"]
    assert "Draft" not in output.deployment_lines(CHAT)
    assert "Ngram" not in output.deployment_lines(CHAT)


def test_the_list_shows_ready_of_desired_and_the_total():
    header, row, total = output.deployment_table([CHAT]).splitlines()
    assert header.split()[:3] == ["NAME", "STATE", "READY"]
    assert row.split()[:5] == ["chat", "READY", "1/1", "0", "2"]
    assert total == "Total size: 1"
    assert output.deployment_table([]).splitlines()[-1] == "Total size: 0"


def test_a_deployment_that_says_little_is_still_printed():
    assert output.deployment_lines(Deployment(name="x")).startswith("Name: x")
    assert "x" in output.deployment_table([Deployment(name="x")])


def test_json_is_the_wire_form_and_reads_back():
    assert Deployment.model_validate(json.loads(output.as_json(CHAT))) == CHAT
    assert json.loads(output.as_json([CHAT]))[0]["autoscalingPolicy"]["scaleDownWindow"] == "600s"
    assert json.loads(output.as_json([])) == []


def test_a_model_shows_its_size_and_a_dash_for_what_is_not_known():
    known = Model(
        name="m", context_length=8192, use_hf_apply_chat_template=True,
        base_model_details=BaseModelDetails(parameter_count="134515008"),
        firedeck=ModelFile(size_bytes=91 * 2**20, quantization="Q4_1", licence="Apache-2.0", on_disk=True),
    )  # fmt: skip
    rows = output.model_table([known, Model(name="n")]).splitlines()
    assert rows[1].split() == ["m", "135M", "Q4_1", "91", "MiB", "8192", "yes", "Apache-2.0", "yes"]
    assert rows[2].split() == ["n", "-", "-", "-", "-", "no", "-", "no"]


CELLS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6))
def test_columns_start_under_each_other_two_spaces_apart(rows):
    header = ("A", "BB", "CCC")
    lines = output.table(header, rows).split("\n")
    assert len(lines) == len(rows) + 1
    second = 2 + max(len(row[0]) for row in (header, *rows))
    third = second + 2 + max(len(row[1]) for row in (header, *rows))
    for line, row in zip(lines, (header, *rows), strict=True):
        padded = line.ljust(third)
        assert (padded[: second - 2].rstrip(), padded[second : third - 2].rstrip(), padded[third:]) == row
        assert line == line.rstrip()
