"""Which fleet is meant: by the command line's options and the config file, for the terminal and for a browser."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from client.cli.connection import context_of, profile_named, profile_option
from client.config import PROFILE_VARIABLE, Context, check_url
from client.errors import InvalidArgument
from client.names import Name
from client.profiles import DEFAULT
from tui.core.config import Config
from tui.core.placed import SIGN, check, join
from tui.sources.base import FleetSource
from tui.sources.engine import EngineSource

MakeSource = Callable[[], FleetSource]
Made = dict[str, MakeSource]  # how each context is made, by their names; one alone has an empty one
C = TypeVar("C", bound=Callable[..., Any])
_OF_A_CONTEXT = re.compile(r"([^/:=]+)=(https?://.+)")
_OPTIONS = (
    click.option("--base-url", metavar="URL", help="The engine; default FIREWORKS_BASE_URL or the local one."),
    click.option(
        "--api-key", metavar="KEY", help="Default FIREDECK_API_KEY, FIREWORKS_API_KEY or the local engine's key."
    ),
    click.option("-a", "--account-id", "--account", "account", metavar="ID", help="The account that bare ids mean."),
    profile_option,
    click.option("--context", "named", metavar="NAME", multiple=True, help="Of the config file; several as one fleet."),
    click.option("--all-contexts", "every", is_flag=True, help="All contexts of the config file as one fleet."),
    click.option(
        "--prometheus", metavar="URL", multiple=True,
        help="Read the charts' history from this Prometheus server; of several contexts NAME=URL, once for each.",
    ),
    click.option("--replay", type=click.Path(path_type=Path), help="Show a recording instead of an engine."),
    click.option("--rehearse", is_flag=True, hidden=True, help="A simulated fleet in memory, no engine."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; `account` is the one that bare ids mean."""

    base_url: str | None = None
    api_key: str | None = None
    account: str | None = None
    named: Sequence[str] = ()
    every: bool = False
    prometheus: Sequence[str] = ()
    replay: Path | None = None
    rehearse: bool = False


def fleet_options(command: C) -> C:
    """The options that say which fleet; the command gets them as `Options` takes them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Place:
    """One context, and where the history of its charts is read, unless from the engine."""

    context: Context
    prometheus: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_fireworks(self) -> bool:
        return self.context.is_fireworks

    def source(self) -> FleetSource:
        if self.is_fireworks:
            from client.resources import Client  # it and the next: slow to import, of no use to most
            from tui.sources.fireworks import FireworksSource

            return FireworksSource(Client(self.context))
        if not self.prometheus:
            return EngineSource(self.context)
        from tui.sources.prometheus import PrometheusHistory

        return EngineSource(self.context, PrometheusHistory(self.prometheus, self.labels))

    def rehearsal(self, several: bool) -> MakeSource:
        """One in its place; alone it goes by its own name."""
        from tui.sources.rehearsal import RehearsalSource

        return partial(RehearsalSource, context=self.context if several else None)


@dataclass(frozen=True, slots=True)
class Sought:
    """The fleet: one place or several, or a recording, or a rehearsal."""

    places: tuple[Place, ...]
    replay: Path | None = None
    rehearse: bool = False

    def made(self) -> Made:
        """Raises InvalidArgument where the recording is none, or an address."""
        if self.replay is not None:
            from tui.sources.replay import replayed

            return {name: partial(_same, source) for name, source in replayed(self.replay).items()}
        several = len(self.places) > 1
        for one in self.places if not self.rehearse else ():
            check_url(one.context.base_url)
        make = [one.rehearsal(several) if self.rehearse else one.source for one in self.places]
        return dict(zip(self.contexts(), make, strict=True))

    def contexts(self) -> dict[str, Context]:
        """By their names, one alone by an empty one. Raises InvalidArgument where the recording is none."""
        if self.replay is not None:
            return {name: make().context for name, make in self.made().items()}
        several = len(self.places) > 1
        return {one.context.name if several else "": one.context for one in self.places}

    def to_wire(self) -> dict[str, Any]:
        """As JSON, without the keys: those are handed on apart."""
        places = [asdict(replace(one, context=replace(one.context, api_key="", key_note=""))) for one in self.places]
        return {"places": places, "replay": str(self.replay) if self.replay else None, "rehearse": self.rehearse}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], keys: Sequence[str]) -> Sought:
        places = tuple(
            Place(Context(**one["context"] | {"api_key": key}), one["prometheus"], one["labels"])
            for one, key in zip(wire["places"], keys, strict=True)
        )
        return cls(places, Path(wire["replay"]) if wire["replay"] else None, wire["rehearse"])


def _same(source: FleetSource) -> FleetSource:
    return source


def sought(settings: Config, asked: Options) -> Sought:
    """Raises InvalidArgument, with what to write instead, for what cannot be shown together."""
    given = asked.base_url, asked.api_key, asked.account, profile_named()
    if asked.replay is not None and (asked.named or asked.every or asked.prometheus or any(given)):
        told = "a recording has its own contexts, and the history of their charts"
        raise InvalidArgument(told, hint="name nothing beside --replay FILE: no engine, key, account or profile")
    if (asked.named or asked.every) and (asked.base_url or profile_named()):
        other = "--base-url" if asked.base_url else "--profile"
        told = f"{'--context' if asked.named else '--all-contexts'} and {other} each say which engine is meant"
        raise InvalidArgument(told, hint="give one of them")
    if asked.replay is not None:
        return Sought((), asked.replay)
    found = [Place(one) for one in _contexts(settings, asked)]
    return Sought(_with_history(settings, found, asked.prometheus), rehearse=asked.rehearse)


def _contexts(settings: Config, asked: Options) -> list[Context]:
    """Those that are named, or all of the file; without any the one that is meant anyway."""
    names = list(settings.contexts) if asked.every else list(asked.named)
    if asked.every and not names:
        raise InvalidArgument("there are no contexts in the config file", hint="write [contexts.NAME]: see the manual")
    if len(names) < 2:
        return [_context(settings, names[0] if names else None, asked)]
    if asked.api_key or asked.account:
        told = "--api-key and --account are of one context"
        raise InvalidArgument(told, hint="write them in the file")
    check(names)
    return [settings.context_of(name) for name in names]


def _context(settings: Config, named: str | None, asked: Options) -> Context:
    """The context that is named, here or in the file; one that is pointed at by its URL, or by a profile, which the
    environment may name too, is nobody else's."""
    profile = profile_named() or os.environ.get(PROFILE_VARIABLE, DEFAULT)
    elsewhere = asked.base_url or profile not in ("", DEFAULT)
    name = named or ("" if elsewhere else settings.context)
    found = settings.context_of(name) if name else context_of(asked.base_url, asked.api_key, asked.account)
    return replace(found, api_key=asked.api_key or found.api_key, account=asked.account or found.account)


def _with_history(settings: Config, places: Sequence[Place], given: Sequence[str]) -> tuple[Place, ...]:
    """Each with the Prometheus server that is given for it, else that of the config file."""
    named = dict(_of_which(one, places) for one in given)
    if unknown := set(named) - {one.context.name for one in places}:
        raise InvalidArgument(f"--prometheus {unknown.pop()}=...: no context that is shown is called so")
    found = tuple(_placed(settings, one, named.get(one.context.name)) for one in places)
    servers = [(one.prometheus, tuple(sorted(one.labels.items()))) for one in found if one.prometheus]
    if len(set(servers)) < len(servers):
        told = "two contexts have one Prometheus server, on which their series cannot be told apart"
        raise InvalidArgument(told, hint='write prometheus-labels = { job = "NAME" } in [contexts.NAME]')
    return found


def _of_which(given: str, places: Sequence[Place]) -> tuple[str, str]:
    """`eu=URL`, of one context alone `URL`."""
    if of_a_context := _OF_A_CONTEXT.fullmatch(given):
        return of_a_context[1], of_a_context[2]
    if len(places) > 1:
        name = places[0].context.name
        raise InvalidArgument(f"--prometheus {given}: of which context?", hint=f"write --prometheus {name}={given}")
    return places[0].context.name, given


def _placed(settings: Config, one: Place, url: str | None) -> Place:
    kept = settings.contexts.get(one.context.name)
    if kept is None:
        return replace(one, prometheus=url or "")
    return replace(one, prometheus=url or kept.prometheus, labels=kept.prometheus_labels)


def whole(made: Mapping[str, FleetSource]) -> FleetSource:
    """All of them as one; of one alone itself."""
    if "" in made:
        return made[""]
    from tui.sources.joined import joined

    return joined(made)


def page(deployment: str, contexts: Mapping[str, Context]) -> str:
    """The full name of what is to be opened: `chat`, of several contexts `eu:chat`."""
    if "" in contexts:
        return str(Name.of(deployment, "deployments", contexts[""].account, "--deployment"))
    name, sign, rest = deployment.partition(SIGN)
    if name not in contexts or not sign:
        hint = f"write {next(iter(contexts))}:{deployment}"
        raise InvalidArgument(f"--deployment {deployment}: of which context?", hint=hint)
    return join(name, str(Name.of(rest, "deployments", contexts[name].account, "--deployment")))
