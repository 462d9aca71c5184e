"""`firedeck guard ...` (firedeck's own): what stands before and behind the account's requests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from client import durations
from client.cli import output as out
from client.cli.durations import DURATION
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import check_given, delete_each, dry_run_option, names_argument, quiet_option, run, shared
from client.guard_types import ANSWER, REQUEST, WHOLE, WINDOW, BreakerSpec, Guard, GuardSpec
from client.listing import ListOptions
from client.resources import Client

HEADER = ("ID", "PHASES", "RULES", "MODEL", "ON FAILURE", "DEPLOYMENTS", "BREAKER", "REFUSED KEYS", "STATE")
_BREAKER = {"breaker_hits": "hits", "breaker_window": "window", "breaker_refuse_for": "refuse_for"}
_LISTS = ("keywords", "patterns", "phases")


@click.group(cls=Noun)
def guard() -> None:
    """Guards: rules and models that stop requests and answers."""


def _settings(command: Any) -> Any:
    for option in reversed(
        (
            click.option("--keyword", "keywords", multiple=True, help="A word or phrase; may be given several times."),
            click.option("--pattern", "patterns", multiple=True, help="A regular expression of one length; several."),
            click.option(
                "--phase", "phases", multiple=True, type=click.Choice([REQUEST, ANSWER]), help="Both if none."
            ),
            click.option("--deployments", help="Ids, joined by commas; '' for all of the account."),
            click.option("--model", help="A deployment that is asked whether a text is safe."),
            click.option("--policy", help="What the model is told not to let through."),
            click.option("--timeout", type=DURATION, help="For the model to answer within."),
            click.option("--on-failure", type=click.Choice(["open", "closed"]), help="When the model does not answer."),
            click.option(
                "--release",
                type=click.Choice([WHOLE, WINDOW]),
                help="How a stream is let out: once all of it has passed (default), or as it comes, but for a window.",
            ),
            click.option("--breaker-hits", type=click.IntRange(1, 1000), help="Refuse a key after so many."),
            click.option("--breaker-window", type=DURATION, help="Within so long, e.g. 10m."),
            click.option("--breaker-refuse-for", type=DURATION, help="For so long, e.g. 10m."),
            click.option("--description"),
            click.option("--disabled/--enabled", default=None, help="Keep it, and let it guard nothing."),
        )
    ):
        command = option(command)
    return command


@guard.command()
@click.argument("name")
@_settings
@dry_run_option
@quiet_option("The new guard's id alone.")
@shared
def create(
    name: str, output: str, base_url: str | None, api_key: str | None, account: str | None, **given: Any
) -> None:
    """Put a guard before and behind requests (admins)."""

    async def work(client: Client) -> None:
        made = await client.guards.create(name, _spec(given))
        out.show(made, HEADER, _row, output)

    run(work, base_url, api_key, account)


@guard.command(name="list")
@list_options('phases:"answer"')
@shared
def list_guards(
    asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None
) -> None:
    """All guards of the account (admins)."""

    async def work(client: Client) -> None:
        show(await client.guards.list(**asked), HEADER, _row, output)

    run(work, base_url, api_key, account)


@guard.command()
@click.argument("name")
@quiet_option("Its id alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One guard, with the keys that its breaker refuses now."""

    async def work(client: Client) -> None:
        out.show(await client.guards.get(name), HEADER, _row, output)

    run(work, base_url, api_key, account)


@guard.command()
@click.argument("name")
@_settings
@click.option("--no-breaker", is_flag=True, help="Refuse no key any more; whom it refuses is let in again.")
@dry_run_option
@shared
def update(
    name: str, no_breaker: bool, output: str, base_url: str | None, api_key: str | None,
    account: str | None, **given: Any,
) -> None:  # fmt: skip
    """Change what is given, nothing else. Keywords, patterns and phases that are given take the place of all."""
    if no_breaker and any(given[option] is not None for option in _BREAKER):
        raise click.UsageError("--no-breaker and --breaker-... exclude each other")
    check_given([no_breaker or None, *given.values()])

    async def work(client: Client) -> None:
        before = (await client.guards.get(name)).breaker
        changes = _spec(given, before)
        if no_breaker:
            changes.breaker = None
        changed = await client.guards.update(name, changes)
        out.show(changed, HEADER, _row, output)

    run(work, base_url, api_key, account)


@guard.command()
@names_argument()
@dry_run_option
@quiet_option("Nothing but errors.")
@shared
def delete(names: tuple[str, ...], output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Take guards away."""

    async def work(client: Client) -> None:
        await delete_each(names, client.guards.delete, output)

    run(work, base_url, api_key, account)


@guard.command()
@click.argument("name")
@click.option("--key-id", required=True, help="The key that its breaker refuses: firedeck guard get shows which.")
@dry_run_option
@shared
def release(
    name: str, key_id: str, output: str, base_url: str | None, api_key: str | None, account: str | None
) -> None:
    """Let a key in again before its time (admins)."""

    async def work(client: Client) -> None:
        out.show(await client.guards.release(name, key_id), HEADER, _row, output)

    run(work, base_url, api_key, account)


def _spec(given: dict[str, Any], before: BreakerSpec | None = None) -> GuardSpec:
    """What was given; the breaker keeps what it has where only a part of it is given."""
    told = {name: value for name, value in given.items() if value is not None and name not in _BREAKER}
    for name in _LISTS:
        values = list(told.pop(name))
        if values:
            told[name] = values
    if "deployments" in told:
        told["deployments"] = [each.strip() for each in told["deployments"].split(",") if each.strip()]
    breaker = {wire: given[name] for name, wire in _BREAKER.items() if given[name] is not None}
    if breaker:
        former = before.model_dump(exclude_none=True) if before else {}
        told["breaker"] = BreakerSpec(**(former | breaker))
    return GuardSpec(**told)


def _row(g: Guard) -> Sequence[str]:
    counts = {"keyword": len(g.keywords or ()), "pattern": len(g.patterns or ())}
    rules = [f"{number} {kind}{'s' * (number > 1)}" for kind, number in counts.items() if number]
    phases = ", ".join(g.phases or ()) + (" by window" if g.release == WINDOW else "")
    refused = ", ".join(f"{k.key_id} ({k.user}) until {out.local_time(k.until)}" for k in g.refused_keys or ())
    return (
        g.id, phases, ", ".join(rules) or "-", g.model or "-", g.on_failure or "-",
        ", ".join(name.rpartition("/")[2] for name in g.deployments or ()) or "all", _breaker(g.breaker),
        refused or "-", "disabled" if g.disabled else "on",
    )  # fmt: skip


def _breaker(b: BreakerSpec | None) -> str:
    """`3 within 10m0s: refused for 1h0m0s`."""
    return "-" if b is None else f"{b.hits} within {_span(b.window)}: refused for {_span(b.refuse_for)}"


def _span(value: timedelta | None) -> str:
    return "-" if value is None else durations.to_go(value)
