"""Throughput and latency beside llama-server: unrelated prompts, a shared prefix, one client, adapters, widths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.bench import assets
from tests.bench.assets import Body
from tests.bench.measure import Bench, Bodies, Rounds, decode_speed, speed, thrift, ttft_ms, turn_about
from tests.bench.rows import NotMeasured, Row, Rows, Wanted
from tests.bench.servers import Server, Shape

CLIENTS = 8
PROMPT, OUTPUT = 200, 64
PREFIX, NEW = 1400, 25
ADAPTERS = 4
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
WIDE_CONTEXT = 512


def _both(bodies: Bodies) -> tuple[Bodies, Bodies]:
    return bodies, bodies


def _shape(bench: Bench, threads: int, precision: str = "Q4_0") -> Shape:
    return Shape(assets.model(precision), threads=threads)


def _suffix(threads: int, precision: str = "Q4_0") -> str:
    return f"{precision}, {threads} thread{'s' if threads > 1 else ''}"


def precisions(bench: Bench) -> tuple[str, ...]:
    return ("Q4_0", "Q8_0", "F16") if bench.gpu else ("Q4_0",)


async def unrelated(bench: Bench) -> Rows:
    """8 clients, prompts that have nothing in common."""
    rows: Rows = []
    for precision in precisions(bench):
        for threads in bench.threads:
            async with bench.starter.both(_shape(bench, threads, precision)) as pair:
                found = await turn_about(pair, _both(partial(_unrelated, "u", 2 * CLIENTS)), CLIENTS, bench.rounds)
            what = f"8 clients, unrelated 200-token prompts, 64 out ({_suffix(threads, precision)})"
            rows.append(Row(what, "tok/s", speed(found[0]), speed(found[1]), wanted=Wanted(1.05)))
            rows += [_thrift_row(found), _ttft_row(found, 95)]
    return rows


def _unrelated(name: str, count: int, number: int) -> list[Body]:
    """`count` requests of round `number`; no two prompts of a part are alike."""
    return [assets.completion(assets.tokens(f"{name} {number}/{i}", PROMPT), OUTPUT) for i in range(count)]


async def shared(bench: Bench) -> Rows:
    """8 clients at once on a prefix that no server has seen; then, for information, on one that they have."""
    rows: Rows = []
    for threads in bench.threads:
        async with bench.starter.both(_shape(bench, threads)) as pair:
            new = await turn_about(pair, _both(lambda n: _shared(str(n), n)), CLIENTS, bench.rounds)
            what = f"8 clients, one new shared 1,400-token prefix, 25 new tokens, 64 out ({_suffix(threads)})"
            rows.append(Row(what, "tok/s", speed(new[0]), speed(new[1]), wanted=Wanted(4)))
            rows += [_thrift_row(new), _ttft_row(new, 95, Wanted(0.15, at_least=False))]
            if bench.quick:
                continue
            seen = await turn_about(pair, _both(partial(_shared, "known")), CLIENTS, bench.rounds)
            rows.append(Row("  the prefix already served once: output", "tok/s", speed(seen[0]), speed(seen[1])))
            rows.append(_ttft_row(seen, 95))
    return rows


def _shared(prefix: str, number: int) -> list[Body]:
    common = assets.tokens(f"prefix {prefix}", PREFIX)
    return [
        assets.completion(common + assets.tokens(f"tail {prefix}/{number}/{i}", NEW), OUTPUT) for i in range(CLIENTS)
    ]


def _ttft_row(found: tuple[Rounds, Rounds], percent: int, wanted: Wanted | None = None) -> Row:
    what = f"  the same: TTFT p{percent}"
    return Row(what, "ms", ttft_ms(found[0], percent), ttft_ms(found[1], percent), wanted=wanted)


def _thrift_row(found: tuple[Rounds, Rounds]) -> Row:
    """For information: what a busy machine hardly moves."""
    return Row("  the same: output for its CPU time", "tok/CPU s", thrift(found[0]), thrift(found[1]))


async def single(bench: Bench) -> Rows:
    """One client, one request after the other."""
    rows: Rows = []
    for precision in precisions(bench):
        for threads in bench.threads:
            async with bench.starter.both(_shape(bench, threads, precision)) as pair:
                found = await turn_about(pair, _both(partial(_unrelated, "s", 4)), 1, bench.rounds)
            what = f"1 client, 200-token prompt, 64 out ({_suffix(threads, precision)}): decoding"
            rows.append(Row(what, "tok/s", decode_speed(found[0]), decode_speed(found[1]), wanted=Wanted(1.0)))
            rows += [_thrift_row(found), _ttft_row(found, 50, Wanted(1.0, at_least=False))]
    return rows


async def adapters(bench: Bench) -> Rows:
    """8 clients, each request on one of 4 adapters."""
    what = f"4 adapters, 8 clients, mixed ({_suffix(bench.threads[0])})"
    files = assets.adapters(ADAPTERS)
    lora = ["--lora", ",".join(map(str, files)), "--lora-init-without-apply"]
    async with bench.starter.both(_shape(bench, bench.threads[0]), *lora) as pair:
        for number, file in enumerate(files):
            if (refused := await _put(pair[0], f"adapter-{number}", str(file))) is not None:
                return [NotMeasured(what, refused)]
        for server, name in zip(pair, ("adapter-0", 0), strict=True):
            if not await _has_effect(server, name):
                return [NotMeasured(what, f"{server.name} answers the same with an adapter and without")]
        named = partial(_mixed, [f"adapter-{i}" for i in range(ADAPTERS)])
        numbered = partial(_mixed, range(ADAPTERS))
        found = await turn_about(pair, (named, numbered), CLIENTS, bench.rounds)
    rows: Rows = [Row(what, "tok/s", speed(found[0]), speed(found[1]), wanted=Wanted(1.5))]
    return [*rows, _thrift_row(found), _ttft_row(found, 95)]


async def _put(server: Server, name: str, path: str) -> str | None:
    """Register an adapter with our replica; why it could not be, or None."""
    async with server.http() as http:
        answer = await http.put(f"/adapters/{name}", json={"path": path})
    return None if answer.is_success else f"PUT /adapters answered {answer.status_code}"


async def _has_effect(server: Server, name: object) -> bool:
    """Whether the adapter changes an answer: a server that ignores it would win the comparison."""
    plain = assets.completion(assets.tokens("effect", PROMPT), 16, lora=[])
    texts = [await server.text(body) for body in (plain, plain | {"lora": [{"id": name, "scale": 1.0}]})]
    return texts[0] != texts[1]


def _mixed(names: Sequence[str] | Sequence[int], number: int) -> list[Body]:
    bodies = _unrelated("a", 2 * CLIENTS, number)
    return [body | {"lora": [{"id": names[i % len(names)], "scale": 1.0}]} for i, body in enumerate(bodies)]


async def widths(bench: Bench) -> Rows:
    """Output speed by the number of clients, up to 64."""
    rows: Rows = []
    for precision in precisions(bench):
        shape = Shape(assets.model(precision), slots=max(WIDTHS), context=WIDE_CONTEXT, threads=bench.threads[0])
        async with bench.starter.both(shape) as pair:
            for width in WIDTHS:
                bodies = partial(_unrelated, f"w{width}", 2 * width)
                found = await turn_about(pair, _both(bodies), width, bench.rounds)
                what = f"{width} clients, 64 slots ({_suffix(shape.threads, precision)})"
                rows.append(Row(what, "tok/s", speed(found[0]), speed(found[1])))
    return rows
