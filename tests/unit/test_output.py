"""What commands print: firectl's form, Go's durations, JSON that reads back."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from client.access_types import User
from client.cli import deployment_text, fleet, model_text, output
from client.cli.main import main
from client.fleet_types import Condition, DeploymentStats, DeploymentStatus, NodeView
from client.model_types import PeftDetails
from client.types import (
    AutoscalingPolicy,
    AutoTune,
    BaseModelDetails,
    Deployment,
    Model,
    ModelFile,
    Placement,
    ReplicaStats,
    Status,
)

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
    lines = deployment_text.text(CHAT).splitlines()
    assert "  Scale Up Window: 30s" in lines
    assert "  Scale Down Window: 10m0s" in lines
    assert "  Scale To Zero Window: 1h0m0s" in lines


def test_a_deployment_starts_with_its_name_and_ends_with_what_to_put_into_a_request():
    lines = deployment_text.text(CHAT).splitlines()
    assert lines[0] == "Name: accounts/local/deployments/chat"
    assert lines[-1] == "Model String: accounts/fireworks/models/m#accounts/local/deployments/chat"
    assert "State: READY" in lines
    assert "Min Replica Count: 0" in lines


def test_who_may_lose_its_places_is_told_in_either_word_and_nobody_else():
    for declared in ({"preemptible": True}, {"spot": True}):
        assert "Preemptible: true" in deployment_text.text(CHAT.model_copy(update=declared)).splitlines()
    for declared in ({}, {"preemptible": False, "spot": False}):
        assert "Preemptible" not in deployment_text.text(CHAT.model_copy(update=declared))


def test_speculation_is_shown_where_it_was_declared_and_only_there():
    drafted = CHAT.model_copy(update={"draft_model": "accounts/fireworks/models/small", "draft_token_count": 4})
    looked_up = CHAT.model_copy(update={"ngram_speculation_length": 3, "draft_token_count": 0})
    lines = deployment_text.text(drafted).splitlines()
    assert lines[-3:-1] == ["Draft Model: accounts/fireworks/models/small", "Draft Token Count: 4"]
    lines = deployment_text.text(looked_up).splitlines()
    assert lines[-3:-1] == ["Draft Token Count: 0", "Ngram Speculation Length: 3"]
    assert "Draft" not in deployment_text.text(CHAT)
    assert "Ngram" not in deployment_text.text(CHAT)


STAGES = ReplicaStats(
    pending_scheduling_replica_count=2, downloading_model_replica_count=1, initializing_replica_count=3,
    ready_replica_count=4,
)  # fmt: skip


def listed(deployments):
    return output.listing(deployment_text.HEADER, [deployment_text.row(d) for d in deployments])


def test_the_list_shows_ready_of_desired_what_starts_what_waits_and_the_total():
    busy = CHAT.model_copy(update={"desired_replica_count": 10, "replica_stats": STAGES})
    header, row, page, total = listed([busy]).splitlines()
    assert header.split()[:7] == ["NAME", "STATE", "READY", "STARTING", "WAITING", "MIN", "MAX"]
    assert row.split()[:7] == ["chat", "READY", "4/10", "4", "2", "0", "2"]
    assert (page, total) == ("Page 1 of 1", "Total size: 1")
    assert listed([]).splitlines()[-1] == "Total size: 0"


def test_the_replica_count_says_which_of_them_answer_start_and_wait():
    busy = CHAT.model_copy(update={"replica_count": 10, "replica_stats": STAGES})
    told = "10 (4 ready, 3 loading the model, 1 downloading the model, 2 to be started)"
    assert f"Replica Count: {told}" in deployment_text.text(busy).splitlines()
    none = CHAT.model_copy(update={"replica_count": 0, "replica_stats": ReplicaStats()})
    assert "Replica Count: 0" in deployment_text.text(none).splitlines()


def test_what_was_declared_of_the_hardware_and_the_model_is_shown_and_nothing_that_says_that_there_is_none():
    declared = CHAT.model_copy(
        update={
            "accelerator_type": "NVIDIA_H100_80GB", "accelerator_count": 4, "placement": Placement(multi_region="US"),
            "deployment_shape": "accounts/fireworks/deploymentShapes/fast", "max_context_length": 8192,
            "max_batch_size": 16, "region": "US_IOWA_1", "precision": "PRECISION_UNSPECIFIED",
        }
    )  # fmt: skip
    lines = deployment_text.text(declared).splitlines()
    for line in (
        "Accelerator Type: NVIDIA_H100_80GB", "Accelerator Count: 4", "Placement: US", "Max Context Length: 8192",
        "Max Batch Size: 16", "Deployment Shape: accounts/fireworks/deploymentShapes/fast", "Region: US_IOWA_1",
    ):  # fmt: skip
        assert line in lines
    unspecified = CHAT.model_copy(
        update={"accelerator_type": "ACCELERATOR_TYPE_UNSPECIFIED", "region": "REGION_UNSPECIFIED"}
    )
    for said in (deployment_text.text(declared), deployment_text.text(unspecified), listed([unspecified])):
        assert "UNSPECIFIED" not in said


def test_a_deployment_that_says_little_is_still_printed():
    assert deployment_text.text(Deployment(name="x")).startswith("Name: x")
    assert "x" in listed([Deployment(name="x")])


def test_one_thing_is_lines_and_an_object_several_are_a_table_and_a_list(capsys):
    users = [User(name="accounts/local/users/ada", role="admin"), User(name="accounts/local/users/bob")]
    for found, expected in (
        (users[0], "Id: ada\nRole: admin\n"),
        (users, "ID   ROLE\nada  admin\nbob\nTotal size: 2\n"),
    ):
        output.show(found, ("ID", "ROLE"), lambda user: (user.id, user.role or ""), "text")
        assert capsys.readouterr().out == expected
    output.show(users[0], ("ID",), lambda user: (user.id,), "json")
    assert json.loads(capsys.readouterr().out)["role"] == "admin"


def test_sizes_from_1024_mib_on_are_in_gib():
    sizes = {
        0: "0 MiB", None: "-", 94 * 2**20: "94 MiB", 1023 * 2**20: "1023 MiB", 2**30: "1.0 GiB",
        141 * 10**9: "131.3 GiB",
    }  # fmt: skip
    assert {given: output.size(given) for given in sizes} == sizes


def test_a_full_node_has_nothing_free_and_not_an_unknown_amount():
    node = NodeView(name="n", region="R", device="cpu", memory_bytes=64 * 2**30, free_memory_bytes=0)
    row = dict(zip(fleet.NODE_HEADER, fleet._node_row(node), strict=True))
    assert row["FREE MEMORY"] == "0 MiB of 64.0 GiB"


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
    rows = output.listing(output.MODEL_HEADER, [output.model_row(m) for m in (known, Model(name="n"))]).splitlines()
    assert rows[1].split() == ["m", "135M", "Q4_1", "91", "MiB", "8192", "yes", "Apache-2.0", "yes"]
    assert rows[2].split() == ["n", "-", "-", "-", "-", "no", "-", "no"]


def test_a_size_that_nobody_has_told_yet_is_about_and_a_small_one_is_no_zero():
    about = ModelFile(expected_size_bytes=5 * 2**30)
    assert output.file_size(about) == "~5.0 GiB"
    assert output.file_size(about.model_copy(update={"size_bytes": 96_608})) == "94 KiB"
    assert output.parameters(BaseModelDetails(parameter_count="96608")) == "97K"


def test_an_adapter_shows_its_rank_where_a_base_has_its_parameters():
    details = PeftDetails(base_model="b", r=8, target_modules=["q_proj", "v_proj"])
    adapter = Model(name="accounts/local/models/a", kind="HF_PEFT_ADDON", peft_details=details)
    assert output.model_row(adapter)[1] == "LoRA, rank 8"
    assert "Base Model: b\nRank: 8\nTarget Modules: q_proj, v_proj\n" in model_text.text(adapter)


def test_of_a_deployment_what_was_declared_of_prompts_sessions_and_labels_is_shown():
    told = deployment_text.text(
        Deployment(
            name="accounts/local/deployments/d", auto_tune=AutoTune(long_prompt=True), enable_session_affinity=False,
            enable_hot_reload_latest_addon=True, annotations={"team": "a", "firedeck.precision": "why"},
        )
    ).splitlines()  # fmt: skip
    assert {"Long Prompt: true", "Enable Session Affinity: false", "Annotations: team=a"} <= {*told}
    assert "Enable Hot Reload Latest Addon: true" in told


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


def short_of_room() -> DeploymentStatus:
    stats = ReplicaStats(ready_replica_count=1, pending_scheduling_replica_count=1)
    refused = Status(code="RESOURCE_EXHAUSTED", message="STOCKOUT: 1 of 2 replicas placed; no H100 free")
    short = CHAT.model_copy(
        update={"replica_stats": stats, "replica_count": 2, "desired_replica_count": 2, "status": refused}
    )
    condition = Condition(
        type="CapacityLimited", reason="STOCKOUT", message="no H100 free", wanted=2, placed=1,
        retry_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )  # fmt: skip
    return DeploymentStatus(deployment=short, stats=DeploymentStats(window_s=10), conditions=[condition])


def test_a_replica_waits_for_room_only_where_room_was_refused():
    status = short_of_room()
    assert deployment_text.replicas(status.deployment) == "2 (1 ready, 1 waiting for room)"
    asked = status.deployment.model_copy(update={"status": Status()})
    assert deployment_text.replicas(asked) == "2 (1 ready, 1 to be started)"


def test_a_stockout_is_told_with_its_reason_and_its_next_try():
    status = short_of_room()
    when = output.local_time(status.conditions[0].retry_at)
    waits = f"STOCKOUT (no H100 free), next try at {when}"
    assert deployment_text.progress(status) == f"READY: 1 of 2 replicas ready, 1 waiting for room; {waits}"
    shown = deployment_text.text(status.deployment, deployment_text.holding_up(status.conditions))
    assert f"Held Up By: {waits}" in shown.splitlines()
    assert "Held Up By" not in deployment_text.text(CHAT)


def test_all_that_holds_a_deployment_up_is_told():
    stopped = Condition(type="RolloutStopped", reason="ROLLOUT_STOPPED", message="take the change back")
    told = deployment_text.holding_up([stopped, *short_of_room().conditions])
    assert told.startswith("ROLLOUT_STOPPED (take the change back); STOCKOUT (no H100 free), next try at ")


@pytest.mark.parametrize("length", [20, 2000])
def test_what_the_status_tells_already_is_not_told_twice(length: int):
    because = "new replicas do not start: " + "x" * length
    status = f"roll-out stopped: {because}"[:900]
    stopped = Condition(type="RolloutStopped", reason="ROLLOUT_STOPPED", message=because[:900])
    spent = Condition(type="QuotaExceeded", reason="MONTHLY_SPEND_LIMIT_EXCEEDED", message="until next month")
    assert deployment_text.holding_up([stopped, spent], said=status) == (
        "ROLLOUT_STOPPED; MONTHLY_SPEND_LIMIT_EXCEEDED (until next month)"
    )
    refused = short_of_room()
    said = refused.deployment.status.message
    assert deployment_text.holding_up(refused.conditions, said=said).startswith("STOCKOUT, next try at ")


class Documented(BaseHTTPRequestHandler):
    """A server of the documented paths alone, with one deployment."""

    def do_GET(self) -> None:
        known = self.path == f"/v1/{CHAT.name}"
        body = CHAT.model_dump_json(by_alias=True, exclude_none=True) if known else "{}"
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *told: object) -> None:
        """Nothing on the screen of the tests."""


def test_a_server_without_firedecks_own_paths_shows_a_deployment_all_the_same():
    with HTTPServer(("127.0.0.1", 0), Documented) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        shown = CliRunner().invoke(main, ["deployment", "get", "chat", "--base-url", url, "--api-key", "k"])
        server.shutdown()
    assert (shown.exit_code, shown.output) == (0, f"{deployment_text.text(CHAT)}\n")


def test_the_description_is_shown_where_there_is_one():
    described = CHAT.model_copy(update={"description": "for the shop"})
    assert "Description: for the shop" in deployment_text.text(described).splitlines()
    assert "Description" not in deployment_text.text(CHAT)


def test_a_deployment_at_zero_is_listed_as_zero_and_one_without_accelerators_with_none():
    idle = CHAT.model_copy(update={"desired_replica_count": 0, "replica_stats": ReplicaStats(), "accelerator_count": 1})
    row = dict(zip(deployment_text.HEADER, deployment_text.row(idle), strict=True))
    assert (row["STATE"], row["READY"], row["ACCELERATOR"]) == ("ZERO", "0/0", "-")
    assert deployment_text.row(CHAT)[1] == "READY"
