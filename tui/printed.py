"""The fleet for scripts, logs and screen readers: `--once`, `--json` and `--watch`, of one context or of several."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import click

from client.errors import FiredeckError
from client.fleet_types import FleetSnapshot
from tui.core.contexts import merged, refusal
from tui.core.facts import Facts
from tui.core.placing import placed_snapshot
from tui.core.plain import fleet_text
from tui.core.retry import wait_s
from tui.core.ticker import changes
from tui.sources.base import FleetSource

Answers = Mapping[str, FleetSnapshot | FiredeckError]  # by the contexts' names, one alone by an empty one
Sources = Mapping[str, Callable[[], FleetSource]]


async def first(sources: Sources) -> tuple[Answers, Facts]:
    """One picture of each. Raises where none answers, or none takes the key."""
    opened = [make() for make in sources.values()]
    try:
        found = await asyncio.gather(*(one.snapshot() for one in opened), return_exceptions=True)
        facts = opened[0].facts
    finally:
        await asyncio.gather(*(one.close() for one in opened))
    answers: dict[str, FleetSnapshot | FiredeckError] = {}
    for name, one in zip(sources, found, strict=True):
        if isinstance(one, BaseException) and not isinstance(one, FiredeckError):
            raise one
        answers[name] = one
    refused = {name: one for name, one in answers.items() if isinstance(one, FiredeckError)}
    if len(refused) == len(answers):
        raise refusal(refused)
    return answers, facts


def as_text(answers: Answers, facts: Facts) -> str:
    """The fleet as a table; contexts that do not answer are told below it."""
    known = {name: one for name, one in answers.items() if not isinstance(one, FiredeckError)}
    if "" in known:
        return fleet_text(known[""], known[""].time, facts)
    now = datetime.now(UTC)
    whole = merged([placed_snapshot(one, name) for name, one in known.items()], now)
    silent = [f"{name} does not answer: {one.text}" for name, one in answers.items() if isinstance(one, FiredeckError)]
    return "\n".join([fleet_text(whole, now, Facts(f"{len(known)} of {len(answers)} contexts")), *silent])


def as_json(answers: Answers) -> str:
    """The snapshot as the wire has it; of several contexts an object of them, or of `error`, by their names."""
    found = {
        name: {"error": one.text} if isinstance(one, FiredeckError) else one.to_wire() for name, one in answers.items()
    }
    return json.dumps(found.get("", {"contexts": found}), indent=2)


async def watch(sources: Mapping[str, FleetSource], *, in_json: bool, tell: Callable[[FiredeckError], str]) -> None:
    """Until Ctrl-C, or until a pipe is closed."""
    await asyncio.gather(*(_watch(name, one, in_json=in_json, tell=tell) for name, one in sources.items()))


async def _watch(name: str, source: FleetSource, *, in_json: bool, tell: Callable[[FiredeckError], str]) -> None:
    """A broken connection is told and tried again; what was known before is not gone with it."""
    before: FleetSnapshot | None = None
    attempt = 0
    while True:
        try:
            async for snapshot in source.watch():
                attempt = 0
                seen = placed_snapshot(snapshot, name) if name else snapshot
                named = {"context": name} if name else {}
                for line in [json.dumps(named | snapshot.to_wire())] if in_json else changes(before, seen):
                    click.echo(line)
                before = seen
        except FiredeckError as error:
            attempt += 1
            where = f"{name}: " if name else ""
            click.echo(f"firedeck: {where}{tell(error)}; trying again in {wait_s(attempt):.0f}s", err=True)
            await asyncio.sleep(wait_s(attempt))
