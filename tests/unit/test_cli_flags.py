"""`-o flag`: settings as the flags that commands take them by."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import Any

import click
from click.testing import CliRunner

from client.cli import output
from client.cli.deployment_settings import settings, settings_of, spec
from client.cli.main import main
from client.types import AutoscalingPolicy, AutoTune, ColdOptions, Deployment, Model, Placement, Status

CHAT = Deployment(
    name="accounts/local/deployments/chat", state="READY", base_model="m", display_name="it's mine",
    min_replica_count=0, max_replica_count=2, status=Status(message="fine"), enable_addons=False,
    autoscaling_policy=AutoscalingPolicy(
        scale_up_window=timedelta(seconds=30), load_targets={"default": 0.8, "concurrent_requests": 4}
    ),
    placement=Placement(multi_region="EUROPE"), auto_tune=AutoTune(long_prompt=True),
    firedeck=ColdOptions(cold_policy="reject", max_queue_wait=timedelta(seconds=2)),
)  # fmt: skip


def test_every_setting_is_a_flag_quoted_for_a_shell() -> None:
    assert shlex.split(output.as_flags(CHAT)) == [
        "--base-model=m", "--display-name=it's mine", "--min-replica-count=0", "--max-replica-count=2",
        "--scale-up-window=30s", "--load-targets=default=0.8,concurrent_requests=4", "--region=EUROPE",
        "--long-prompt", "--enable-addons=false", "--cold-policy=reject", "--max-queue-wait=2s",
        "--name=accounts/local/deployments/chat", "--state=READY", "--code=OK", "--message=fine",
    ]  # fmt: skip


def test_of_a_deployment_there_are_those_that_make_another_one_like_it() -> None:
    create = main.commands["deployment"].commands["create"]  # type: ignore[attr-defined]
    taken = {flag for option in create.params for flag in (*option.opts, *option.secondary_opts)}
    shown = output.as_flags(settings_of(CHAT), only=taken)
    seen: list[dict[str, Any]] = []

    @click.command()
    @settings
    @click.option("--region")
    def command(**given: Any) -> None:
        seen.append(given)

    assert CliRunner().invoke(command, shlex.split(shown)).output == ""
    made = spec(seen[0])
    for field in ("display_name", "max_replica_count", "autoscaling_policy", "placement", "auto_tune", "enable_addons"):
        assert getattr(made, field) == getattr(CHAT, field), field
    assert "--state" not in shown


def test_where_it_runs_and_what_the_engine_notes_is_no_setting_of_it() -> None:
    labels = {"team": "search", "firedeck.simulated": "true", "firedeck.precision": "the fastest"}
    runs = CHAT.model_copy(update={"region": "AP_TOKYO_1", "spot": True, "annotations": labels})
    shown = shlex.split(output.as_flags(settings_of(runs)))
    assert {"--region=EUROPE", "--preemptible", "--annotations=team=search"} <= set(shown)
    assert not [flag for flag in shown if flag.startswith(("--spot", "--no-", "--region=AP"))]
    assert "--region=EUROPE" in output.as_flags(runs)
    assert "--annotations" not in output.as_flags(settings_of(CHAT))


def test_lengths_of_time_are_written_as_text_shows_them() -> None:
    policy = AutoscalingPolicy(scale_up_window=timedelta(seconds=90.5), scale_down_window=timedelta(minutes=10))
    assert output.as_flags(policy) == "--scale-up-window=1m30.5s --scale-down-window=10m0s"


def test_a_list_has_one_line_each() -> None:
    models = [Model(name=name) for name in "ab"]
    assert [line.split()[1] for line in str(output.machine_form(models, "flag")).splitlines()] == [
        "--name=a",
        "--name=b",
    ]
    assert output.machine_form(models, "text") is None


def test_flags_and_quiet_exclude_each_other() -> None:
    refused = CliRunner().invoke(main, ["deployment", "get", "chat", "-q", "-o", "flag"])
    assert (refused.exit_code, "exclude each other" in refused.output) == (2, True)


def test_labels_are_written_as_they_are_shown() -> None:
    seen: list[dict[str, Any]] = []

    @click.command()
    @settings
    def command(**given: Any) -> None:
        seen.append(given)

    assert CliRunner().invoke(command, ["--annotations=team=search,note=a=b"]).output == ""
    made = spec(seen[0])
    assert made.annotations == {"team": "search", "note": "a=b"}
    assert "--annotations=team=search,note=a=b" in output.as_flags(made)
    assert CliRunner().invoke(command, ["--annotations=team"]).exit_code == 2
