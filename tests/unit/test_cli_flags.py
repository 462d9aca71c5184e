"""`-o flag`: settings as the flags that commands take them by."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner

from client.access_types import Quota, Secret, User
from client.cli import flags, output
from client.cli.deployment_settings import settings, settings_of, spec
from client.cli.main import main
from client.guard_types import BreakerSpec, Guard, RefusedKey
from client.model_types import ModelFile, PeftDetails, TypeDate
from client.router_types import Router, RouterTarget, WeightedRoutes
from client.types import Account, AutoscalingPolicy, AutoTune, ColdOptions, Deployment, Model, Placement, Status
from client.wire import Wire

CHAT = Deployment(
    name="accounts/local/deployments/chat", state="READY", base_model="m", display_name="it's mine",
    min_replica_count=0, max_replica_count=2, status=Status(message="fine"), enable_addons=False,
    autoscaling_policy=AutoscalingPolicy(
        scale_up_window=timedelta(seconds=30), load_targets={"default": 0.8, "concurrent_requests": 4}
    ),
    placement=Placement(multi_region="EUROPE"), auto_tune=AutoTune(long_prompt=True),
    firedeck=ColdOptions(cold_policy="reject", max_queue_wait=timedelta(seconds=2)),
)  # fmt: skip


def of_noun(noun: str) -> click.Group:
    group = main.get_command(click.Context(main), noun)
    assert isinstance(group, click.Group)
    return group


def test_every_setting_is_a_flag_quoted_for_a_shell() -> None:
    assert shlex.split(flags.as_flags(CHAT)) == [
        "--base-model=m", "--display-name=it's mine", "--min-replica-count=0", "--max-replica-count=2",
        "--scale-up-window=30s", "--load-targets=default=0.8,concurrent_requests=4", "--region=EUROPE",
        "--long-prompt", "--enable-addons=false", "--cold-policy=reject", "--max-queue-wait=2s",
        "--name=accounts/local/deployments/chat", "--state=READY", "--code=OK", "--message=fine",
    ]  # fmt: skip


def test_of_a_deployment_there_are_those_that_make_another_one_like_it() -> None:
    create = of_noun("deployment").commands["create"]
    taken = {flag for option in create.params for flag in (*option.opts, *option.secondary_opts)}
    shown = flags.as_flags(settings_of(CHAT), only=taken)
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
    shown = shlex.split(flags.as_flags(settings_of(runs)))
    assert {"--region=EUROPE", "--preemptible", "--annotations=team=search"} <= set(shown)
    assert not [flag for flag in shown if flag.startswith(("--spot", "--no-", "--region=AP"))]
    assert "--region=EUROPE" in flags.as_flags(runs)
    assert "--annotations" not in flags.as_flags(settings_of(CHAT))


def test_lengths_of_time_are_written_as_text_shows_them() -> None:
    policy = AutoscalingPolicy(scale_up_window=timedelta(seconds=90.5), scale_down_window=timedelta(minutes=10))
    assert flags.as_flags(policy) == "--scale-up-window=1m30.5s --scale-down-window=10m0s"


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
    assert "--annotations=team=search,note=a=b" in flags.as_flags(made)
    assert CliRunner().invoke(command, ["--annotations=team"]).exit_code == 2


def shown(noun: str, verb: str, found: Wire) -> list[str]:
    """What `-o flag` of this command prints, as a shell has it."""
    group = of_noun(noun)
    with click.Context(main) as top, click.Context(group, parent=top) as above:
        command = group.get_command(above, verb)
        assert command is not None
        with click.Context(command, parent=above):
            return shlex.split(flags.of(found))


GUARD = Guard(
    name="accounts/local/guards/g", keywords=["two words", "x"], phases=["request"], timeout=timedelta(seconds=2),
    breaker=BreakerSpec(hits=3, window=timedelta(minutes=10), refuse_for=timedelta(minutes=1)), disabled=True,
    create_time=datetime(2027, 1, 1, tzinfo=UTC),
    refused_keys=[RefusedKey(user="u", key_id="k", until=datetime(2027, 1, 2, tzinfo=UTC))],
)  # fmt: skip
ROUTER = Router(
    name="accounts/local/routers/r", description="both", simulated=True,
    weighted=WeightedRoutes(
        sticky=False, targets=[RouterTarget(deployment="a", weight=90), RouterTarget(deployment="b", weight=10)]
    ),
)  # fmt: skip
MODEL = Model(
    name="accounts/local/models/lora", display_name="L", public=False, state="READY",
    deprecation_date=TypeDate(year=2027, month=3, day=9), supports_tools=True,
    peft_details=PeftDetails(base_model="accounts/fireworks/models/b", r=8, target_modules=["q_proj"]),
    firedeck=ModelFile(file="/m/lora.gguf", size_bytes=3, digest="d", on_disk=True),
)  # fmt: skip


@pytest.mark.parametrize(
    ("noun", "found", "told"),
    [
        (
            "guard", GUARD,
            "--phase=request --keyword='two words' --keyword=x --timeout=2s --breaker-hits=3 --breaker-window=10m0s "
            "--breaker-refuse-for=1m0s --disabled",
        ),
        ("router", ROUTER, "--description=both --target=a=90 --target=b=10 --no-sticky"),
        (
            "model", MODEL,
            "--display-name=L --base-model=accounts/fireworks/models/b --file=/m/lora.gguf --no-public "
            "--deprecation-date=2027-03-09 --supports-tools",
        ),
        ("user", User(name="accounts/local/users/ada", role="admin", email="a@b.c"), "--role=admin --email=a@b.c"),
        ("quota", Quota(name="accounts/local/quotas/q", value="60", max_value="100", usage=3), "--value=60"),
        ("secret", Secret(name="accounts/local/secrets/s", key_name="HF_TOKEN"), "--key-name=HF_TOKEN"),
    ],
)  # fmt: skip
def test_of_every_noun_there_are_those_that_make_another_one_or_change_it(noun: str, found: Wire, told: str) -> None:
    taken = {verb: of_noun(noun).commands.get(verb) for verb in ("create", "update")}
    known = {flag for command in filter(None, taken.values()) for one in command.params for flag in one.opts}
    known |= {flag for command in filter(None, taken.values()) for one in command.params for flag in one.secondary_opts}
    flags_of_it = shown(noun, "get", found)
    assert sorted(flags_of_it) == sorted(shlex.split(told))
    assert {flag.partition("=")[0] for flag in flags_of_it} <= known


def test_a_list_of_deployments_has_the_flags_that_one_has() -> None:
    assert shown("deployment", "list", CHAT) == shown("deployment", "get", CHAT)
    assert "--state=READY" not in shown("deployment", "list", CHAT)


def test_of_what_no_command_makes_or_changes_every_field_is_told() -> None:
    assert "--state=READY" in shown("account", "get", Account(name="accounts/local", state="READY"))


def test_in_a_list_the_name_that_commands_take_comes_before_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    quotas = [Quota(name=f"accounts/local/quotas/{name}", value="60") for name in ("a", "b")]
    group = of_noun("quota")
    top = click.Context(main)
    with click.Context(group.commands["list"], parent=click.Context(group, parent=top)):
        output.show(quotas, ("ID",), lambda q: (q.id,), "flag")
    assert capsys.readouterr().out == "a --value=60\nb --value=60\n"
