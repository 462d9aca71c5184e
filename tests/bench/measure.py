"""Rounds: the same requests to one server after the other, turn about, while only one of them has work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from client.bench.figures import Figures, figures
from client.bench.load import Limit, Run
from client.bench.sample import Sample
from client.bench.wire import Wire
from tests.bench.assets import Body
from tests.bench.servers import NotServed, Server, Starter

Bodies = Callable[[int], Sequence[Body]]  # of a round


@dataclass(frozen=True)
class Round:
    """One round of one server. `cpu_s`: processor time that the server used, which a busy machine does not lengthen."""

    figures: Figures
    cpu_s: float


Rounds = list[Round]


@dataclass(frozen=True)
class Bench:
    """What every part gets. `rounds` of each comparison; `threads` of both servers; `quick` leaves variants out."""

    starter: Starter
    rounds: int
    threads: Sequence[int]
    quick: bool
    gpu: bool


async def once(server: Server, bodies: Sequence[Body], clients: int) -> list[Sample]:
    """All bodies, each once, by a closed loop of `clients`. Raises NotServed when one is refused or breaks off."""
    wire = Wire(server.endpoint)
    run = Run(wire, "/completions", bodies.__getitem__, Limit(requests=len(bodies)))
    try:
        await run.closed(clients)
    finally:
        wire.close()
    failed = next((sample.error for sample in run.samples if sample.error), None)
    if failed:
        raise NotServed(f"{server.name} answered {failed}")
    return run.samples


async def turn_about(
    pair: tuple[Server, Server], bodies: tuple[Bodies, Bodies], clients: int, rounds: int
) -> tuple[Rounds, Rounds]:
    """Both servers' figures, round by round; who begins changes each round. Round -1 warms up and does not count."""
    found: tuple[Rounds, Rounds] = ([], [])
    for number in range(-1, rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            before_s = pair[side].cpu_s
            samples = await once(pair[side], bodies[side](number), clients)
            if number >= 0:
                measured = figures(samples, max(s.end_s for s in samples))
                found[side].append(Round(measured, pair[side].cpu_s - before_s))
    _same_work(pair, found)
    return found


def _same_work(pair: tuple[Server, Server], found: tuple[Rounds, Rounds]) -> None:
    """A ratio of unequal work means nothing: both must have read and written as many tokens."""
    work = [[(r.figures.requests, r.figures.prompt_tokens, r.figures.output_tokens) for r in side] for side in found]
    if work[0] != work[1]:
        names = f"{pair[0].name} and {pair[1].name}"
        raise NotServed(f"{names} did unequal work: {work[0][0]} and {work[1][0]} (requests, prompt, output tokens)")


def speed(found: Rounds) -> list[float]:
    """Output tokens a second."""
    return [r.figures.output_tokens_per_s for r in found]


def thrift(found: Rounds) -> list[float]:
    """Output tokens a second of processor time."""
    return [r.figures.output_tokens_per_s * r.figures.span_s / max(r.cpu_s, 0.01) for r in found]


def ttft_ms(found: Rounds, percent: int) -> list[float]:
    spreads = [r.figures.ttft.p50 if percent == 50 else r.figures.ttft.p95 for r in found]
    return [1000 * value for value in spreads if value is not None]


def decode_speed(found: Rounds) -> list[float]:
    """Tokens a second of one stream after its first."""
    return [1 / r.figures.token_time.p50 for r in found if r.figures.token_time.p50]
