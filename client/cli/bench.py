"""`firedeck bench`: load on any OpenAI-compatible endpoint, and how many replicas a load needs."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from client.cli import exits
from client.cli import output as out
from client.cli.connection import context_of
from client.cli.durations import DURATION
from client.cli.options import shared
from client.config import Context
from client.errors import FiredeckError

if TYPE_CHECKING:  # the generator itself is imported when it is used: `firedeck --help` must stay quick
    from client.bench.session import Session, Setting
    from client.bench.sizing import Sizing
    from client.bench.wire import Endpoint

DEFAULT_SWEEP = (1, 2, 4, 8)
DEFAULT_SECONDS = timedelta(seconds=15)
SIZING_CLIENTS = 8


@dataclass(frozen=True)
class BenchOptions:
    """The command's options, checked."""

    settings: tuple[Setting, ...]
    target_rate: float | None  # of --size
    replicas: int | None
    ttft: timedelta | None
    as_json: bool


def _numbers(kind: Callable[[str], float]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        try:
            numbers = tuple(kind(part) for part in value.split(",")) if value is not None else ()
        except ValueError:
            raise click.BadParameter("write one number, or several with commas: 1,2,4,8") from None
        if not all(0 < number <= 100_000 for number in numbers):
            raise click.BadParameter("each must be above 0 and at most 100000")
        return numbers

    return parse


def _positive(ctx: click.Context, param: click.Parameter, value: timedelta | None) -> timedelta | None:
    if value is not None and value <= timedelta(0):
        raise click.BadParameter("must be above 0")
    return value


@click.command()
@click.option("-m", "--model", help="What to ask for.  [default: the endpoint's deployment, if it has one]")
@click.option("-c", "--concurrency", callback=_numbers(int), help="Closed loop: clients, or a sweep 1,2,4,8 (default).")
@click.option("-r", "--rate", callback=_numbers(float), help="Open loop: Poisson requests a second, or a sweep.")
@click.option(
    "-d", "--duration", type=DURATION, callback=_positive, help="Of each setting.  [default: 15s, or until --requests]"
)
@click.option("-n", "--requests", type=click.IntRange(1), help="Requests of each setting.")
@click.option("--prompt-tokens", type=click.IntRange(1, 1_000_000), default=200, show_default=True)
@click.option("--shared-prefix", type=click.IntRange(0, 1_000_000), default=0, help="Tokens all begin with.")
@click.option("--output-tokens", type=click.IntRange(1, 1_000_000), default=64, show_default=True)
@click.option("--respect-eos", is_flag=True, help="Let answers end by themselves (no `ignore_eos` is sent).")
@click.option("--chat", is_flag=True, help="Ask /chat/completions instead of /completions.")
@click.option("--warmup", type=click.IntRange(0), default=2, show_default=True, help="Uncounted requests before each.")
@click.option("--timeout", type=DURATION, callback=_positive, default="10m", show_default=True, help="Of one request.")
@click.option("--seed", type=click.IntRange(0), help="Of prompts and arrivals; repeated prompts may be cached.")
@click.option(
    "--ttft", type=DURATION, callback=_positive, help="Objective for goodput: time to first token, e.g. 500ms."
)
@click.option(
    "--itl", type=DURATION, callback=_positive, help="Objective for goodput: mean time of each later token, e.g. 30ms."
)
@click.option("--size", is_flag=True, help="How many replicas does --rate need, for a TTFT p95 of --ttft?")
@click.option("--replicas", type=click.IntRange(1), help="--size: how many serve now.  [default: what the engine says]")
@click.option("--json", "json_too", is_flag=True, help="The same as -o json.")
@shared
def bench(output: str, account: str | None, api_key: str | None, base_url: str | None, **given: Any) -> None:
    """Measure an OpenAI-compatible endpoint under load: the current engine, or any --base-url.

    Ctrl-C ends the measuring and prints what was seen so far. Latencies of an open loop count from the moment a
    request was due. Percentiles interpolate between neighbours. Rates are of all requests that a setting started, over
    the time from its first start to its last end. A setting in which every request fails is the last; exit status 1.
    """
    options, asked = _checked(given, output), False
    try:
        context = context_of(base_url, api_key, account)
        endpoint = _endpoint(context, base_url)
        asked = True
        status = _run(_bench(context, endpoint, options, given))
    except FiredeckError as error:
        click.echo(f"error: {error.text}", err=True)
        sys.exit(exits.status_of(error, asked=asked))
    sys.exit(status)


def _checked(given: dict[str, Any], output: str) -> BenchOptions:
    from client.bench.session import Setting

    clients: tuple[int, ...] = given["concurrency"]
    rates: tuple[float, ...] = given["rate"]
    target, ttft = None, given["ttft"]
    if given["size"]:
        _check_sizing(clients, rates, ttft)
        target = rates[0]
        clients, rates = (SIZING_CLIENTS,), ()
    else:
        if given["replicas"] is not None:
            raise click.UsageError("--replicas says on how many --size measures: add --size, or leave it out")
        clients = clients or (() if rates else DEFAULT_SWEEP)
    settings = (*(Setting(concurrency=c) for c in clients), *(Setting(rate=r) for r in rates))
    return BenchOptions(settings, target, given["replicas"], ttft, given["json_too"] or output == "json")


def _check_sizing(clients: tuple[int, ...], rates: tuple[float, ...], ttft: timedelta | None) -> None:
    missing = []
    if not rates:
        missing.append("--rate (the load to carry)")
    if ttft is None:
        missing.append("--ttft (what the p95 of the time to first token may be)")
    if missing:
        raise click.UsageError(f"--size needs {' and '.join(missing)}")
    if len(rates) > 1:
        raise click.UsageError("--size takes one --rate: run it once for each")
    if clients:
        raise click.UsageError("--size chooses its own load: --concurrency has no meaning with it")


async def _bench(context: Context, endpoint: Endpoint, options: BenchOptions, given: dict[str, Any]) -> int:
    """Measure and print; the exit status."""
    from client.bench import report

    session = await _session(context, endpoint, given)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, session.stop.set)
    sizing = await (_sweep(session, options) if options.target_rate is None else _size(session, context, options))
    if options.as_json:
        about = {"url": session.endpoint.url, "model": session.workload.model, "seed": session.workload.seed}
        out.say(json.dumps(report.as_data(session.measured, sizing, **about), indent=2))
    else:
        rows = [report.row(m, session.objective) for m in session.measured]
        out.say(out.table(report.header(session.objective), rows))
        for line in [*report.notes(session.measured), *(sizing.reasons if sizing else ())]:
            out.say(line)
        if sizing and not session.stop.is_set():
            out.say(f"replicas: {sizing.replicas if sizing.replicas is not None else 'no number is enough'}")
    if session.stop.is_set():
        return exits.INTERRUPTED
    if _nothing_works(session):
        why = f" ({context.key_note})" if _key_refused(session) and context.key_note else ""
        click.echo(
            f"error: every request failed at {session.measured[-1].setting.label}; measuring ended{why}", err=True
        )
        return 1
    return 0


def _nothing_works(session: Session) -> bool:
    """Whether the last setting had no answer at all: another would only wait for the same."""
    return bool(session.measured) and session.measured[-1].figures.all_failed


def _key_refused(session: Session) -> bool:
    return any(kind.startswith("HTTP 401") for kind in session.measured[-1].figures.errors)


def _endpoint(context: Context, base_url: str | None) -> Endpoint:
    from client.bench.wire import Endpoint

    return Endpoint.of(base_url or f"{context.base_url}/inference/v1", context.api_key)


async def _session(context: Context, endpoint: Endpoint, given: dict[str, Any]) -> Session:
    from client.bench.discover import only_model
    from client.bench.figures import Objective
    from client.bench.load import Limit
    from client.bench.prompts import Workload
    from client.bench.session import Session

    seed = given["seed"] if given["seed"] is not None else random.SystemRandom().getrandbits(31)
    workload = Workload(
        model=given["model"] or await only_model(endpoint, context.key_note),
        prompt_tokens=given["prompt_tokens"],
        shared_prefix=given["shared_prefix"],
        output_tokens=given["output_tokens"],
        ignore_eos=not given["respect_eos"],
        chat=given["chat"],
        seed=seed,
    )
    length = given["duration"] or (None if given["requests"] else DEFAULT_SECONDS)
    limit = Limit(given["requests"], _seconds(length))
    objective = Objective(_seconds(given["ttft"]), _seconds(given["itl"]))
    click.echo(f"{endpoint.url}, {workload.model}, seed {seed}", err=True)
    return Session(endpoint, workload, limit, objective, given["warmup"], given["timeout"].total_seconds())


async def _sweep(session: Session, options: BenchOptions) -> None:
    for setting in options.settings:
        click.echo(f"measuring {session.plan(setting)} ...", err=True)
        await session.measure(setting)
        if session.stop.is_set() or _nothing_works(session):
            return


async def _size(session: Session, context: Context, options: BenchOptions) -> Sizing | None:
    """The sizing, or None when the endpoint stopped answering."""
    from client.bench.discover import ready_replicas
    from client.bench.session import Setting
    from client.bench.sizing import MOST_PROBES, START_SHARE, Probe, next_rate, size

    assert options.ttft is not None
    assert options.target_rate is not None
    ttft_s, probes = options.ttft.total_seconds(), list[Probe]()
    serving = options.replicas or await ready_replicas(context, session.endpoint, session.workload.model)
    click.echo(f"sizing on {serving} replica(s), at most {MOST_PROBES} probes after a closed loop", err=True)
    click.echo(f"measuring {session.plan(options.settings[0])} ...", err=True)
    start = (await session.measure(options.settings[0])).figures.requests_per_s * START_SHARE
    while not session.stop.is_set() and not _nothing_works(session):
        rate = next_rate(probes, ttft_s, start)
        if rate is None:
            break
        click.echo(f"probing {session.plan(Setting(rate=rate))} ...", err=True)
        measured = await session.measure(Setting(rate=rate))
        if measured.whole:
            f = measured.figures
            probes.append(Probe(rate, f.requests, f.succeeded, f.ttft.p95))
    if _nothing_works(session):
        return None
    now = options.replicas or await ready_replicas(context, session.endpoint, session.workload.model)
    if now != serving:
        click.echo(f"warning: it scaled from {serving} to {now} meanwhile: set its minimum to its maximum", err=True)
    return size(options.target_rate, probes, ttft_s, serving)


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _run(work: Any) -> int:
    """On uvloop where it exists: the generator must cost less than what it measures."""
    try:
        import uvloop
    except ImportError:
        return int(asyncio.run(work))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return int(runner.run(work))
