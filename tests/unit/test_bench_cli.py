"""`firedeck bench`: what it refuses, and how it tells what it measured."""

import json

import pytest
from click.testing import CliRunner

from client.bench import report
from client.bench.figures import Objective, figures
from client.bench.load import Limit
from client.bench.prompts import Workload
from client.bench.sample import Sample
from client.bench.session import Measured, Session, Setting
from client.bench.sizing import Probe, size
from client.bench.wire import Endpoint
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
    ("words", "told", "not_told"),
    [
        ((), "--size needs --rate (the load to carry) and --ttft", "-c"),
        (("--rate", "5"), "--size needs --ttft", "--rate"),
        (("--ttft", "1s"), "--size needs --rate", "--ttft"),
        (("--rate", "5,6", "--ttft", "1s"), "--size takes one --rate", "--ttft"),
        (("--rate", "5", "--ttft", "1s", "-c", "1"), "--concurrency has no meaning", "--ttft"),
    ],
)
def test_sizing_names_the_option_that_is_missing_or_too_much(words: tuple[str, ...], told: str, not_told: str) -> None:
    code, said = run("--size", *words)
    assert code == 2
    assert told in said
    assert not_told not in said


def test_replicas_without_size_are_refused() -> None:
    code, said = run("--replicas", "2")
    assert code == 2
    assert "--replicas" in said
    assert "--size" in said


def test_when_every_request_fails_the_first_setting_is_the_last_and_the_status_is_one() -> None:
    code, said = run("-c", "1,2", "-n", "2", "--warmup", "0")
    assert code == 1
    assert "1 client: 2 x connection refused: " in said
    assert "every request failed at 1 client" in said
    assert "2 clients" not in said


def test_sizing_ends_with_a_report_when_every_request_fails() -> None:
    code, said = run("--size", "--rate", "5", "--ttft", "1s", "-n", "8", "--warmup", "0")
    assert code == 1
    assert "8 clients: 8 x connection refused: " in said
    assert "req/s:" not in said
    assert "replicas:" not in said


def test_progress_tells_warm_up_and_how_long_a_setting_takes() -> None:
    plan = Session(Endpoint.of("http://h"), Workload("m"), Limit(requests=40, seconds=30.0)).plan
    assert plan(Setting(rate=4.0)) == (
        "4 req/s: 2 warm-up requests, then 40 requests in about 10 s, at most 30 s, and until the last answer ends"
    )
    timed = Session(Endpoint.of("http://h"), Workload("m"), Limit(seconds=15.0), warmup=0).plan
    assert timed(Setting(concurrency=1)) == "1 client: 15 s, and until the last answer ends"


def test_a_url_that_is_none_is_refused_in_one_sentence() -> None:
    result = CliRunner().invoke(main, ["bench", "--base-url", "nonsense", "--model", "m"])
    assert result.exit_code == 2
    assert "is no http(s) URL" in result.output


def _measured(*, whole: bool = True) -> Measured:
    samples = [
        Sample(0.0, 1.0, (0.1, 0.2, 1.0), prompt_tokens=10, cached_tokens=5, output_tokens=3),
        Sample(0.0, 0.2, error="HTTP 429", message="busy"),
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
        report.METHOD,
        "10 prompt and 3 output tokens a request, 50% of the prompt cached",
        "2 clients: 1 x HTTP 429: busy",
    ]


def test_a_note_that_is_true_of_every_setting_is_told_once_and_others_name_theirs() -> None:
    same = report.notes([_measured(), _measured()])
    assert same[1:] == [report.notes([_measured()])[1], "2 clients: 1 x HTTP 429: busy", "2 clients: 1 x HTTP 429"]
    other = Measured(Setting(concurrency=1), figures([Sample(0.0, 1.0, (1.0,), 10, 0, 4)], 1.0))
    told = report.notes([_measured(), other])
    assert "1 client: 10 prompt and 4 output tokens a request" in told
    assert "2 clients: 10 prompt and 3 output tokens a request, 50% of the prompt cached" in told


def test_json_holds_settings_percentiles_method_and_sizing() -> None:
    sizing = size(3.0, [Probe(2.0, 50, 50, 0.1)], 0.5)
    data = json.loads(json.dumps(report.as_data([_measured()], sizing, url="u", model="m", seed=1)))
    assert data["settings"][0]["concurrency"] == 2
    assert data["settings"][0]["errors"] == {"HTTP 429": 1}
    assert data["settings"][0]["messages"] == {"HTTP 429": "busy"}
    assert data["settings"][0]["ttft"]["p50"] == 0.1
    assert data["sizing"]["replicas"] == 2
    assert "interpolation" in data["percentiles"]
    assert "first start" in data["rates"]


def test_json_seconds_are_whole_microseconds() -> None:
    third = Measured(Setting(rate=1.0), figures([Sample(0.0, 2 / 3, (1 / 3, 2 / 3), output_tokens=2)], 2 / 3))
    (setting,) = report.as_data([third], None)["settings"]
    assert (setting["span_s"], setting["ttft"]["p50"], setting["token_time"]["mean"]) == (0.666667, 0.333333, 0.333333)
