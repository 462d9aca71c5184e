"""`firedeck bench`: what it refuses, and how it tells what it measured."""

import json

import pytest
from click.testing import CliRunner

from client.bench import report
from client.bench.figures import Objective, figures
from client.bench.sample import Sample
from client.bench.session import Measured, Setting
from client.bench.sizing import Probe, size
from client.cli.main import main

NOWHERE = ("--base-url", "http://127.0.0.1:9/v1", "--api-key", "k", "--model", "m")


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["bench", *NOWHERE, *words])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "words",
    [
        ("-c", "0"), ("-c", "two"), ("-c", "1,,2"), ("-r", "nan"), ("-r", "inf"), ("-r", "-1"), ("-d", "0s"),
        ("-d", "soon"), ("-n", "0"), ("--prompt-tokens", "0"),
    ],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(words: tuple[str, ...]) -> None:
    code, said = run(*words)
    assert code == 2, said


@pytest.mark.parametrize(
    "words",
    [
        (), ("--rate", "5"), ("--ttft", "1s"), ("--rate", "5,6", "--ttft", "1s"),
        ("--rate", "5", "--ttft", "1s", "-c", "1"),
    ],
)  # fmt: skip
def test_sizing_needs_one_rate_and_one_objective(words: tuple[str, ...]) -> None:
    code, said = run("--size", *words)
    assert code == 1
    assert "--size needs one --rate" in said


def test_a_url_that_is_none_is_refused_in_one_sentence() -> None:
    result = CliRunner().invoke(main, ["bench", "--base-url", "nonsense", "--model", "m"])
    assert result.exit_code == 1
    assert "is no http(s) URL" in result.output


def _measured(*, whole: bool = True) -> Measured:
    samples = [
        Sample(0.0, 1.0, (0.1, 0.2, 1.0), prompt_tokens=10, cached_tokens=5, output_tokens=3),
        Sample(0.0, 0.2, error="HTTP 429"),
    ]
    return Measured(Setting(concurrency=2), figures(samples, 2.0, Objective(ttft_s=0.5)), whole)


def test_every_row_has_a_cell_for_every_column() -> None:
    for objective in (Objective(), Objective(ttft_s=0.5)):
        assert len(report.row(_measured(), objective)) == len(report.header(objective))
    nothing = Measured(Setting(rate=2.5), figures([], 1.0), False)
    assert report.row(nothing, Objective())[0] == "2.5 req/s (cut short)"
    assert report.UNKNOWN in report.row(nothing, Objective())


def test_the_notes_tell_lengths_cache_and_errors_by_kind() -> None:
    assert report.notes([_measured()]) == [
        "2 clients: 10 prompt and 3 output tokens a request, 50% of the prompt cached",
        "2 clients: 1 x HTTP 429",
    ]


def test_json_holds_settings_percentiles_method_and_sizing() -> None:
    sizing = size(3.0, [Probe(2.0, 50, 50, 0.1)], 0.5)
    data = json.loads(json.dumps(report.as_data([_measured()], sizing, url="u", model="m", seed=1)))
    assert data["settings"][0]["concurrency"] == 2
    assert data["settings"][0]["errors"] == {"HTTP 429": 1}
    assert data["settings"][0]["ttft"]["p50"] == 0.1
    assert data["sizing"]["replicas"] == 2
    assert "interpolation" in data["percentiles"]
