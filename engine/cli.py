"""`firedeck serve`: what can be said of an engine before it starts."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Coroutine
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from client.cli.durations import DURATION
from client.cli.examples import epilog
from client.config import ADMIN_KEY_FILE, DEFAULT_PORT, SIMULATED_FOLDER, default_data_dir
from client.enums import said
from client.errors import FiredeckError
from client.types import ACCELERATOR_TYPES, REGIONS
from engine.control.windows import PRODUCT, rehearsal
from engine.serverless import REQUESTS_PER_MINUTE, Serverless

if TYPE_CHECKING:
    from engine.telemetry.otlp import Target

LOG_LEVELS = ["debug", "info", "warning", "error"]
REHEARSAL_ZERO_S = 1.0  # the least scale-to-zero window of a rehearsal, where the product has 5 minutes


def _host_names(ctx: click.Context, option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not name or "/" in name or name.count(":") == 1:
            raise click.BadParameter(f"{name!r} is no host name: write it without scheme, port and path")
    return names


def _days(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, date], ...]:
    """`MODEL=DAY` each."""
    parts = [text.partition("=") for text in given]
    try:
        return tuple((model, date.fromisoformat(day)) for model, _, day in parts)
    except ValueError as error:
        raise click.BadParameter(f"write MODEL=DAY, the day as 2027-12-31 ({error})") from None


@click.command(
    epilog=epilog(
        "firedeck serve --data-dir ./state --port 8701",
        "firedeck serve --simulate tests/placement/fleet.toml",
        "firedeck serve --serverless smollm2-135m-instruct --prices prices.toml",
        "firedeck serve --region US_IOWA_1 --accelerator-type NVIDIA_L4_24GB",
    )
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    callback=_host_names,
    metavar="NAME",
    help="A host name that clients use for this engine, e.g. of a proxy before it. Loopback and --host need none.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy whose X-Forwarded-For and X-Forwarded-Proto are believed.  [default: none]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where state lives.  [default: FIREDECK_DATA_DIR, or the user's own]",
)
@click.option("--demo", is_flag=True, help="Add two deployments, `chat` and `base`, with windows of seconds.")
@click.option("--rehearsal", "rehearse", is_flag=True, help="Allow scale-to-zero windows below 5 minutes.")
@click.option("--region", help="This machine's region, e.g. US_IOWA_1.  [default: none]")
@click.option("--accelerator-type", help="This machine's, e.g. NVIDIA_L4_24GB.  [default: detected]")
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0, max=1e6),
    metavar="USD",
    help="What this machine costs whole, for `firedeck usage`.  [default: no price]",
)
@click.option(
    "--prices",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="A price list, of replicas by accelerator and of tokens by model, for `firedeck usage` and budgets.",
)
@click.option(
    "--shapes",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Deployment shapes of your own, beside the library's; read again when the file changes.",
)
@click.option(
    "--simulate",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="A simulated fleet instead of this machine. Its state lives in --data-dir itself; without that, in "
    "FIREDECK_DATA_DIR if it is a simulated fleet's already, or else in the folder `simulated` of the data folder.",
)
@click.option(
    "--model-folder",
    "model_folders",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder of which contributors and users may register files as models; admins may register any file.",
)
@click.option(
    "--unload-addons-after",
    type=DURATION,
    default="168h",
    show_default=True,
    help="Unload a LoRA adapter that no request has used for so long; 0: never.",
)
@click.option(
    "--otlp-endpoint",
    metavar="URL",
    help="An OpenTelemetry collector to send traces to, as http://127.0.0.1:4318.  [env: OTEL_EXPORTER_OTLP_ENDPOINT]",
)
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    help="Take gRPC calls too, as the LLM class of fireworks-ai 0.19 sends them.  [default: off]",
)
@click.option(
    "--grpc-descriptors",
    type=click.Path(path_type=Path, exists=True),
    metavar="WHEEL",
    help="The wheel of fireworks-ai 0.19, or the site-packages that it is installed in: what its calls look like.",
)
@click.option(
    "--serverless",
    "serverless",
    multiple=True,
    metavar="MODEL",
    help="A model of the library that every key may ask without a deployment, best effort.  [default: none]",
)
@click.option(
    "--serverless-until",
    multiple=True,
    metavar="MODEL=DAY",
    callback=_days,
    help="From when on one of these is not there any more (2027-12-31): 14 days away at least.  [default: it stays]",
)
@click.option(
    "--serverless-rpm",
    default=REQUESTS_PER_MINUTE,
    show_default=True,
    type=click.IntRange(1),
    help="Requests a minute that each account may send to all of these together.",
)
@click.option(
    "--serverless-replicas",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Replicas that each of these has at most.",
)
@click.option("--serverless-addons", is_flag=True, help="Let accounts load LoRA adapters of theirs onto these.")
@click.option("--log-level", default="info", type=click.Choice(LOG_LEVELS), show_default=True)
@click.option("--until-eof", is_flag=True, hidden=True, help="End when standard input ends: with whoever started it.")
def serve(
    host: str, port: int, allow_hosts: tuple[str, ...], trusted_proxies: tuple[str, ...], data_dir: Path | None,
    demo: bool, rehearse: bool, region: str | None, accelerator_type: str | None, price_per_hour: float | None,
    prices: Path | None, shapes: tuple[Path, ...], simulate: Path | None, model_folders: tuple[Path, ...],
    unload_addons_after: timedelta, otlp_endpoint: str | None, grpc_port: int | None, grpc_descriptors: Path | None,
    serverless: tuple[str, ...], serverless_until: tuple[tuple[str, date], ...], serverless_rpm: int,
    serverless_replicas: int, serverless_addons: bool,
    log_level: str, until_eof: bool,
) -> None:  # fmt: skip
    """Run the engine in the foreground; end it with Ctrl-C."""
    from engine.fleet.settings import Settings  # late: `firedeck --help` must not load the whole platform
    from engine.serve import run

    if (grpc_port is None) != (grpc_descriptors is None):
        raise click.UsageError(
            "--grpc-port and --grpc-descriptors go together; the wheel: pip download --no-deps fireworks-ai==0.19.20"
        )
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings = Settings(
        data_dir=(data_dir or _default_folder(simulated=simulate is not None)).expanduser().absolute(),
        host=host,
        port=port,
        limits=rehearsal(min_zero_s=REHEARSAL_ZERO_S) if demo or rehearse else PRODUCT,
        region=_known("--region", region, REGIONS) or REGIONS[0],
        accelerator_type=_known("--accelerator-type", accelerator_type, ACCELERATOR_TYPES),
        price_per_hour=price_per_hour,
        prices=prices.absolute() if prices else None,
        shapes=tuple(file.absolute() for file in shapes),
        simulate=simulate,
        allow_hosts=allow_hosts,
        trusted_proxies=trusted_proxies,
        otlp=_collector(otlp_endpoint),
        model_folders=tuple(folder.resolve() for folder in model_folders),
        unload_addons_after_s=_seconds("--unload-addons-after", unload_addons_after) or None,
        grpc_port=grpc_port,
        grpc_descriptors=grpc_descriptors,
        serverless=Serverless(serverless, serverless_rpm, serverless_replicas, serverless_addons, serverless_until),
    )
    if until_eof:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        _loop(run(settings, _Greeting(settings.data_dir, demo=demo)))
    except FiredeckError as error:
        click.echo(f"firedeck serve: {error.text}", err=True)
        sys.exit(1)


def _default_folder(*, simulated: bool) -> Path:
    """A simulated fleet must not meet the deployments of the real one; a folder that is its own already is taken."""
    from engine.simulation import is_marked

    folder = default_data_dir()
    return folder / SIMULATED_FOLDER if simulated and not is_marked(folder) else folder


def _collector(endpoint: str | None) -> Target | None:
    from engine.telemetry.otlp import target_of

    try:
        return target_of(endpoint, os.environ)
    except FiredeckError as error:
        raise click.BadParameter(error.text, param_hint="--otlp-endpoint") from None


def _seconds(option: str, length: timedelta) -> float:
    if length < timedelta(0):
        raise click.BadParameter("a length of time is 0 or more", param_hint=option)
    return length.total_seconds()


def _known(option: str, value: str | None, known: tuple[str, ...]) -> str | None:
    if value is not None and value not in known:
        raise click.BadParameter(f"{value!r} is not known; known: {', '.join(said(known))}", param_hint=option)
    return value


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


class _Greeting:
    """What is done and said once the engine takes requests."""

    def __init__(self, data_dir: Path, *, demo: bool) -> None:
        self._data_dir = data_dir
        self._demo = demo

    async def __call__(self, engine: object, base_url: str) -> None:
        from engine.app import Engine
        from engine.demo import add_demo_deployments
        from engine.fleet.serverless import offered

        assert isinstance(engine, Engine)
        if self._demo:
            await add_demo_deployments(engine.house.fleet)
        simulate = engine.settings.simulate
        click.echo(f"firedeck serves on {base_url}", err=True)
        if simulate is not None:
            nodes = len(engine.house.fleet.rooms.driver.nodes())
            click.echo(f"  SIMULATED {nodes} virtual nodes of {simulate}: no model answers here", err=True)
        click.echo(f"  state     {self._data_dir}", err=True)
        click.echo(f"  key       {self._data_dir / ADMIN_KEY_FILE}", err=True)
        if models := offered(engine.house.fleet):
            told = (f"{name} until {day}" if day else name for name, day in models.items())
            click.echo(f"  serverless {', '.join(told)}", err=True)
        where = "" if self._data_dir == default_data_dir() else f"FIREDECK_DATA_DIR={shlex.quote(str(self._data_dir))} "
        click.echo(f"  dashboard {where}firedeck", err=True)
        sys.stderr.flush()


def _loop(main: Coroutine[Any, Any, None]) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
