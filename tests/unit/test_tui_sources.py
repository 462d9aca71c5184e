"""Sources: the engine's stream and its failures, Prometheus, the rehearsal fleet, the poller."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import requests
from click.testing import CliRunner

from client.config import Context
from client.errors import FiredeckError, NotFound, Unauthenticated, Unavailable
from client.fleet_types import EngineInfo, FleetSnapshot
from client.http import Transport
from client.resources import Client
from client.types import Deployment, DeploymentSpec
from tests.house import home
from tests.processes import SMOLLM2
from tui import cli
from tui.core import plan, prices
from tui.core.journal import Journal
from tui.core.retry import wait_s
from tui.executor import Executor
from tui.messages import AccountSeen, FleetLost, FleetSeen, NodesSeen
from tui.poller import ACCOUNT_EVERY_S, AccountPoller, Poller
from tui.sources.engine import _REFUSED_READS, EngineSource
from tui.sources.prometheus import QUERIES, PrometheusHistory, align, promql
from tui.sources.rehearsal import RehearsalSource

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SNAPSHOT = FleetSnapshot(
    time=NOW, engine=EngineInfo(version="1", started_at=NOW, pid=1, data_dir="/d", cores=2)
).to_wire()  # fmt: skip


def engine(handler):
    context = Context(base_url="http://engine", api_key="k")
    return EngineSource.of(Client(context, Transport(context.base_url, "k", transport=httpx.MockTransport(handler))))


async def collect(source, wanted):
    found = []
    async for snapshot in source.watch():
        found.append(snapshot)
        if len(found) == wanted:
            break
    return found


async def test_snapshots_come_from_the_stream_and_its_end_is_an_error():
    def handler(request):
        assert request.url.path == "/firedeck/v1/fleet:watch"
        return httpx.Response(200, text=f"data: {json.dumps(SNAPSHOT)}\n\n" * 2)

    with pytest.raises(Unavailable, match="closed the stream"):
        await collect(engine(handler), 3)


async def test_without_a_stream_the_engine_is_asked_again_and_again(monkeypatch):
    monkeypatch.setattr("tui.sources.engine.INTERVAL_S", 0.0)

    def handler(request):
        if request.url.path.endswith(":watch"):
            return httpx.Response(404, json={"code": 5, "message": "no such path"})
        return httpx.Response(200, json=SNAPSHOT)

    assert len(await collect(engine(handler), 3)) == 3


async def test_an_answer_that_cannot_be_read_is_an_error_with_a_sentence():
    with pytest.raises(FiredeckError, match="cannot read"):
        await collect(engine(lambda _: httpx.Response(200, text='data: {"time": 1}\n\n')), 1)


async def test_another_program_on_the_port_is_an_error_with_a_sentence():
    with pytest.raises(FiredeckError, match=r"cannot read|not JSON"):
        await engine(lambda _: httpx.Response(200, text="<html>hello</html>")).snapshot()


async def test_a_silent_stream_is_taken_for_dead(monkeypatch):
    monkeypatch.setattr("tui.sources.engine.FIRST_ANSWER_S", 0.01)

    async def silence():
        await asyncio.sleep(60)
        yield b""

    with pytest.raises(Unavailable, match="silent"):
        await collect(engine(lambda _: httpx.Response(200, content=silence())), 1)


async def test_the_poller_reports_each_loss_with_a_growing_pause_and_goes_on():
    class Flaky:
        attempts = 0

        async def watch(self):
            self.attempts += 1
            if self.attempts < 4:
                raise Unavailable(f"down {self.attempts}")
            yield FleetSnapshot.model_validate(SNAPSHOT)
            await asyncio.Event().wait()

    posted, pauses, seen = [], [], asyncio.Event()

    def post(message):
        posted.append(message)
        if isinstance(message, FleetSeen):
            seen.set()

    async def sleep(seconds):
        pauses.append(seconds)

    task = asyncio.create_task(Poller(Flaky(), post, lambda: NOW, sleep).run())
    await seen.wait()
    task.cancel()
    assert pauses == [1.0, 2.0, 4.0]
    lost = [message for message in posted if isinstance(message, FleetLost)]
    assert [message.attempt for message in lost] == [1, 2, 3]
    assert lost[1].retry_at == NOW + timedelta(seconds=2)


def test_the_pause_never_exceeds_fifteen_seconds():
    assert wait_s(1) == 1.0
    assert wait_s(50) == 15.0


def test_every_query_selects_its_deployment_and_has_no_gap_left():
    for name in QUERIES:
        query = promql(name, "accounts/local/deployments/chat")
        assert 'deployment="accounts/local/deployments/chat"' in query
        assert "{sel}" not in query
        assert "{w}" not in query
        assert query.count("(") == query.count(")")


def test_prometheus_samples_are_aligned_and_nan_is_a_gap():
    answer = [{"values": [[10, "1.5"], [12, "NaN"], [13, "+Inf"]]}]
    assert align(answer, [10.0, 11.0, 12.0, 13.0]) == [1.5, None, None, None]
    assert align([], [1.0]) == [None]


async def test_a_prometheus_that_is_not_there_is_an_error_with_a_remedy():
    with pytest.raises(Unavailable) as caught:
        await PrometheusHistory("http://127.0.0.1:9").history("accounts/local/deployments/chat", 60)
    assert caught.value.hint == "check --prometheus"


async def test_a_long_span_asks_for_fewer_points(monkeypatch):
    source = PrometheusHistory("http://127.0.0.1:9", clock=lambda: 100_000.0)
    asked = []
    monkeypatch.setattr(source, "_ask", lambda query, start, end, step: asked.append((start, end, step)) or [])
    history = await source.history("accounts/local/deployments/chat", 3600)
    assert asked[0] == (96_400.0, 100_000.0, 5)
    assert len(history.times) == len(history.series["ttft_p50_ms"]) == 721
    assert set(history.series["desired"]) == {None}, "not exposed is not zero"


async def test_the_same_second_shows_the_same_rehearsal():
    one, two = (RehearsalSource(lambda: NOW, warm_s=200) for _ in range(2))
    assert (await one.snapshot()).to_wire() == (await two.snapshot()).to_wire()
    assert (await one.snapshot()).engine.simulated


async def test_a_rehearsal_dry_run_makes_nothing():
    source = RehearsalSource(lambda: NOW)
    spec = DeploymentSpec(base_model="accounts/fireworks/models/gemma-3-270m")
    made = await source.validate_create(spec, "new-one")
    assert made.id == "new-one"
    with pytest.raises(NotFound):
        await source.get(made.name)


def test_once_prints_the_fleet_as_text_and_json_as_wire_json():
    text = CliRunner().invoke(cli.dashboard, ["--rehearse", "--once"])
    assert text.exit_code == 0
    assert "summarise" in text.output
    wire = CliRunner().invoke(cli.dashboard, ["--rehearse", "--json"])
    assert FleetSnapshot.model_validate_json(wire.output).engine.simulated


def test_a_pipe_gets_text_without_escape_codes():
    import subprocess
    import sys

    code = "from tui.cli import dashboard; dashboard(['--rehearse'], prog_name='firedeck')"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    assert b"summarise" in shown.stdout
    assert b"\x1b" not in shown.stdout + shown.stderr


def test_an_engine_that_is_not_there_is_one_sentence_and_exit_code_1():
    result = CliRunner().invoke(cli.dashboard, ["--base-url", "http://127.0.0.1:9", "--api-key", "k", "--once"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "firedeck serve" in result.stderr


@pytest.mark.parametrize("how", ["--once", "--watch", "--json"])
def test_a_slip_in_an_address_ends_with_the_status_of_a_slip(how):
    result = CliRunner().invoke(cli.dashboard, ["--base-url", "http://127.0.0.1:99999", "--api-key", "k", how])
    assert result.exit_code == 2
    assert "there is no such port (write http://HOST:PORT)" in result.stderr


def test_a_bad_deployment_name_is_refused_before_anything_is_asked():
    result = CliRunner().invoke(cli.dashboard, ["--rehearse", "--deployment", "Not Valid"])
    assert result.exit_code == 2
    assert "not a valid id" in result.stderr


def test_a_refused_key_comes_with_a_remedy():
    assert "FIREDECK_API_KEY" in cli.sentence(Unauthenticated("the API key is not known"))


def test_the_text_modes_need_no_textual():
    import subprocess
    import sys

    code = "import tui.cli, sys; sys.exit(any(m.split('.')[0] in ('textual', 'plotext') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_connection_options_are_spelled_as_everywhere():
    for account in ("-a", "--account-id", "--account"):
        result = CliRunner().invoke(cli.dashboard, ["--rehearse", "--once", account, "local"])
        assert result.exit_code == 0, result.output


VERBS = {
    "get": ("chat",), "validate_create": (DeploymentSpec(), "chat"), "validate_update": ("chat", DeploymentSpec()),
    "create": (DeploymentSpec(), "chat"), "update": ("chat", DeploymentSpec()), "undelete": ("chat",), "models": (),
    "history": ("chat", 60), "events": ("chat",), "nodes": (), "users": (), "api_keys": (), "quotas": (),
    "audit_logs": (10,),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
async def test_every_verb_raises_only_errors_with_a_sentence(verb):
    source = engine(lambda _: httpx.Response(200, json=["of another shape"]))
    with pytest.raises(FiredeckError, match="cannot read"):
        await getattr(source, verb)(*VERBS[verb])


class Answer:
    status_code, ok = 200, True

    def __init__(self, text):
        self.text = text

    def json(self):
        return json.loads(self.text)


ODD = ("{}", "[]", "?", '{"data": null}', '{"data": {"result": [{}]}}', '{"data": {"result": [{"values": [3]}]}}')


@pytest.mark.parametrize("text", ODD)
async def test_an_odd_answer_of_prometheus_is_an_error_with_a_remedy(monkeypatch, text):
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: Answer(text))
    with pytest.raises(Unavailable, match="is not Prometheus") as caught:
        await PrometheusHistory("http://127.0.0.1:9").history("accounts/local/deployments/chat", 60)
    assert caught.value.hint == "check --prometheus"


async def test_the_journal_is_written_away_from_the_event_loop():
    threads = []

    class Noting(Journal):
        def write(self, entry):
            threads.append(threading.current_thread())
            return super().write(entry)

    source = RehearsalSource(lambda: NOW)
    status = (await source.snapshot()).deployments[0]
    executor = Executor(lambda context: source, Noting(None), lambda: NOW, lambda context: False)
    await executor.run(plan.delete(status, NOW), status)
    assert threads
    assert threading.main_thread() not in threads


async def test_the_account_and_the_nodes_are_asked_about_again_and_again_and_a_failure_ends_nothing():
    """Of the two questions each round the first round has no answer, the second both."""
    node = {"name": "n", "region": "EU", "device": "gpu", "accelerators": 4, "pricePerHour": 8.0}
    rounds = [httpx.Response(503, json={})] * 2
    rounds += [httpx.Response(200, json={"name": "accounts/local"}), httpx.Response(200, json={"nodes": [node]})]
    answers = iter(rounds)
    told: list[object] = []

    async def pause(seconds):
        assert seconds == ACCOUNT_EVERY_S
        if told:
            raise asyncio.CancelledError

    source = engine(lambda request: next(answers))
    with pytest.raises(asyncio.CancelledError):
        await AccountPoller(source, told.append, pause).run()
    assert [type(message) for message in told] == [AccountSeen, NodesSeen]
    assert prices.by_node(told[1].nodes) == {"n": 2.0}


@pytest.mark.parametrize(("reads", "asked"), [(True, {None}), (False, {'method!="GET"', _REFUSED_READS})])
async def test_the_audit_log_is_asked_for_without_reads_but_refused_ones_by_the_engines_own_filter(reads, asked):
    seen = set()

    def handler(request):
        seen.add(request.url.params.get("filter"))
        return httpx.Response(200, json={"auditLogs": []})

    assert await engine(handler).audit_logs(5, reads=reads) == []
    assert seen == asked


async def test_the_adapters_of_a_deployment_are_what_is_on_it_besides_its_base():
    chat = Deployment(name="accounts/local/deployments/chat", base_model="accounts/fireworks/models/base")
    there = [(chat.base_model, "DEPLOYED"), ("accounts/local/models/brand", "DEPLOYED"),
             ("accounts/local/models/new", "DEPLOYING"), ("accounts/local/models/old", "UNDEPLOYING")]  # fmt: skip

    def handler(request):
        assert request.url.path == "/v1/accounts/local/deployedModels"
        assert request.url.params["filter"] == f'deployment="{chat.name}"'
        found = [{"name": f"accounts/local/deployedModels/{n}", "model": m, "state": s, "deployment": chat.name}
                 for n, (m, s) in enumerate(there)]  # fmt: skip
        return httpx.Response(200, json={"deployedModels": found, "totalSize": len(found)})

    assert await engine(handler).adapters(chat) == ["brand", "new"]


async def test_a_whole_engine_is_asked_for_them_in_words_that_it_knows(tmp_path):
    async with home(tmp_path) as own, own.client() as client:
        made = await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "chat")
        assert [one.model for one in await client.deployed_models.list()] == [SMOLLM2]
        assert await EngineSource.of(client).adapters(made) == []


async def test_the_first_answer_may_take_longer_than_any_silence_after_it(monkeypatch):
    monkeypatch.setattr("tui.sources.engine.SILENCE_S", 0.05)

    async def late():
        await asyncio.sleep(0.3)
        yield f"data: {json.dumps(SNAPSHOT)}\n\n".encode()
        await asyncio.sleep(60)

    source = engine(lambda _: httpx.Response(200, content=late()))
    watching = source.watch()
    assert (await anext(watching)).engine.version
    with pytest.raises(Unavailable, match="silent for 0s"):
        await anext(watching)
