"""`--file` of deployments: what a JSON file says holds where no flag says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from client.cli.deployment_file import below, file_option
from client.cli.deployment_settings import settings, spec
from client.types import Deployment, Status

Ask = Callable[..., tuple[Any, Result]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """What a command with this file and these words would send."""

    def asked(content: str, *words: str) -> tuple[Any, Result]:
        path = tmp_path / "d.json"
        path.write_text(content)
        sent: list[Any] = []

        @click.command()
        @file_option
        @settings
        @click.option("--region")
        def command(file: Any, **given: Any) -> None:
            made = below(file, spec(given))
            sent.append(made.model_dump(mode="json", by_alias=True, exclude_unset=True))

        told = CliRunner().invoke(command, ["--file", str(path), *words])
        return (sent[0] if sent else None), told

    return asked


def test_flags_go_before_the_file_field_by_field(ask: Ask) -> None:
    file = {
        "maxReplicaCount": 3, "description": "from the file",
        "autoscalingPolicy": {"scaleUpWindow": "20s", "scaleDownWindow": "5m"}, "firedeck": {"threads": 1},
        "placement": {"multiRegion": "EUROPE"},
    }  # fmt: skip
    words = ("--max-replica-count", "4", "--scale-up-window", "1m", "--cold-policy", "reject", "--region", "US_IOWA_1")
    sent, told = ask(json.dumps(file), *words)
    assert told.output == ""
    assert sent == {
        "maxReplicaCount": 4, "description": "from the file",
        "autoscalingPolicy": {"scaleUpWindow": "60s", "scaleDownWindow": "300s"},
        "firedeck": {"threads": 1, "coldPolicy": "reject"}, "placement": {"region": "US_IOWA_1"},
    }  # fmt: skip


def test_what_get_shows_of_one_makes_another_like_it(ask: Ask) -> None:
    shown = Deployment(
        name="accounts/local/deployments/chat", state="READY", status=Status(), replica_count=1, precision="FP8",
        annotations={"team": "search", "firedeck.precision": "FP8 is fast"},
    )  # fmt: skip
    sent, told = ask(json.dumps(shown.to_wire()))
    assert (sent, told.output) == ({"precision": "FP8", "annotations": {"team": "search"}}, "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "holds no JSON"), ("[1]", "valid dictionary"), ('{"maxReplicas": 1}', "maxReplicas: no setting"),
        ('{"firedeck": {"thread": 1}}', "firedeck.thread: no setting"), ('{"maxReplicaCount": "x"}', "valid integer"),
    ],
)  # fmt: skip
def test_a_file_that_says_nothing_a_deployment_has_is_refused_with_what_it_is(ask: Ask, content: str, why: str) -> None:
    sent, told = ask(content)
    assert (sent, told.exit_code) == (None, 2)
    assert "Invalid value for '--file'" in told.output
    assert why in told.output


def test_the_words_of_the_wire_may_be_typed_in_small_letters_with_hyphens(ask: Ask) -> None:
    sent, told = ask("{}", "--precision", "fp8", "--direct-route-type", "gcp-private-service-connect")
    assert told.output == ""
    assert sent == {"precision": "FP8", "directRouteType": "GCP_PRIVATE_SERVICE_CONNECT"}


def test_a_list_that_is_not_given_is_not_sent_empty(ask: Ask) -> None:
    assert ask("{}")[0] == {}
    assert ask("{}", "--direct-route-api-keys", "k")[0] == {"directRouteApiKeys": ["k"]}
