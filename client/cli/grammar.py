"""Both word orders of firectl (`deployment create`, `create deployment`), and commands that other packages announce.

`tui` and `engine` announce theirs as entry points, so that this package need not know them: the group
`firedeck.commands` for `firedeck NAME`, `firedeck.commands.model` for `firedeck model NAME`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from difflib import SequenceMatcher
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.exceptions import NoSuchCommand
from click.shell_completion import CompletionItem

from client.cli import absent, examples, exits
from client.cli.nouns import LINE, SECTIONS, SYNONYMS, Noun

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pydantic import ValidationError

VERBS = frozenset(
    "create list ls get update scale delete undelete pull verify shift release upload download prepare".split()  # noqa: SIM905
)
ALIASES = {
    "ls": "list", "deployments": "deployment", "models": "model", "deployed-models": "deployed-model",
    "deployment-shapes": "deployment-shape", "users": "user", "api-keys": "api-key", "secrets": "secret",
    "quotas": "quota", "audit-log": "audit-logs", "accounts": "account", "nodes": "node", "events": "event",
    "deployment-shape-versions": "deployment-shape-version", "routers": "router", "guards": "guard",
    "alert": "alerts", "request": "requests", "deploy": "load-lora", "undeploy": "unload-lora", "profiles": "profile",
}  # fmt: skip
# Commands without verbs that may be typed as if they had one: what is looked up has a list, as nouns have.
PHRASES = {
    ("alerts", "list"): "alerts", ("requests", "list"): "requests", ("requests", "get"): "explain",
    ("usage", "list"): "usage", ("usage", "get"): "usage",
}  # fmt: skip
_LONE_VERBS = [[verb] for verb in sorted(VERBS)]
_TYPED = "firedeck.typed"  # in a context's `meta`: the words before the one that is being completed
DEFAULT_COMMAND = "dashboard"
NEAR, AS_NEAR = 0.75, 0.1  # of 1: how like a slip a suggestion is at least, and how much less so than the best
SHARED_OPTIONS = frozenset({"-o", "--output", "-a", "--account-id", "--api-key", "--base-url", "-p", "--profile"})
OWN_OPTIONS = frozenset({"-h", "--help", "--version"})


class Announced(Noun):
    """A group that also has the commands at `places`, `module:name` by what each is called, and those announced under
    `entry_points`; each is imported when it is asked for."""

    def __init__(
        self, *args: Any, entry_points: str, places: Mapping[str, str] = MappingProxyType({}), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._announced = entry_points
        self.places = places

    @cached_property
    def _entries(self) -> Mapping[str, EntryPoint]:
        from importlib.metadata import entry_points  # slow to import

        return {entry.name: entry for entry in entry_points(group=self._announced)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.places, *self._entries})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (own := super().get_command(ctx, cmd_name)) is not None:
            return own
        if cmd_name in self.places:
            self.add_command(pkgutil.resolve_name(self.places[cmd_name]), cmd_name)
            examples.attach(cmd_name, self.commands[cmd_name])
        elif cmd_name in self._entries:
            self.add_command(self._entries[cmd_name].load(), cmd_name)
        return super().get_command(ctx, cmd_name)


class Fireworks(Announced):
    """The top of the command line: verb-noun is noun-verb, and no command at all is the dashboard."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in SECTIONS.items():
            self.write_section(ctx, formatter, title, names)
        formatter.write_paragraph()
        formatter.write_text(
            f"{ctx.command_path} list --help has what a verb goes with, and --help of both its examples."
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        words = options_last(args, {*VERBS, *ALIASES, *self.list_commands(ctx)})
        if ctx.resilient_parsing:  # a shell completes: what is not typed yet is no slip
            ctx.meta[_TYPED] = words
            return super().parse_args(ctx, reorder(words) if words and words not in _LONE_VERBS else [])
        if words and words[0] in VERBS and (len(words) == 1 or words[1].startswith("-")):
            self._without_noun(ctx, words[0], helped=any(word in ctx.help_option_names for word in words))
        if words and words[0] not in self.list_commands(ctx) and (noun := absent.noun_of(words)):
            click.echo(f"error: {absent.text(noun)}", err=True)
            ctx.exit(exits.NOT_HERE)
        if len(words) > 1 and words[0] in VERBS:
            self._check_noun(ctx, *words[:2])
            self._check_pair(ctx, *(ALIASES.get(word, word) for word in words[:2]))
        return super().parse_args(ctx, reorder(words))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """After a verb its nouns; at the beginning verbs as well as nouns."""
        typed = ctx.meta.get(_TYPED, [])
        if typed:
            told = dict(self._nouns(ctx, ALIASES.get(typed[0], typed[0])))
            return [CompletionItem(noun, help=text) for noun, text in told.items() if noun.startswith(incomplete)]
        verbs = [CompletionItem(verb) for verb in sorted(VERBS) if verb.startswith(incomplete)]
        return [*super().shell_complete(ctx, incomplete), *verbs]

    def _without_noun(self, ctx: click.Context, verb: str, *, helped: bool) -> NoReturn:
        """A verb alone: its nouns, as help where that was asked for, else as a slip."""
        told = dict(self._nouns(ctx, ALIASES.get(verb, verb)))
        if not helped:
            raise click.UsageError(f"{verb} what? Write firedeck {verb} NOUN; there are {', '.join(told)}.", ctx)
        page = ctx.make_formatter()
        page.write_usage(ctx.command_path, f"{verb} NOUN [OPTIONS] ...")
        with page.section("Nouns"):
            page.write_dl(list(told.items()))
        page.write_paragraph()
        page.write_text(f"{ctx.command_path} {verb} NOUN --help has the options of each.")
        click.echo(page.getvalue(), nl=False)
        ctx.exit()

    def _check_noun(self, ctx: click.Context, verb: str, word: str) -> None:
        """What follows a verb is a noun; whoever wrote a name there left it out. Slips of spelling are click's."""
        known = {*ALIASES, *self.list_commands(ctx)}
        if word not in known and not near(word, known):
            nouns = ", ".join(name for name, _ in self._nouns(ctx, ALIASES.get(verb, verb)))
            raise click.UsageError(
                f"{word!r} is no noun: write firedeck {verb} NOUN {word}. {verb} goes with {nouns}.", ctx
            )

    def _check_pair(self, ctx: click.Context, verb: str, noun: str) -> None:
        """A verb before what cannot have it done is a slip of its own: click would take the verb for an argument."""
        command = self.get_command(ctx, noun)
        if (
            command is None
            or (noun, verb) in PHRASES
            or (isinstance(command, click.Group) and command.get_command(ctx, verb))
        ):
            return
        if isinstance(command, click.Group):
            has = f"`firedeck {noun}` has {', '.join(command.list_commands(ctx))}"
        else:
            has = f"`firedeck {noun}` is a command of its own"
        nouns = ", ".join(name for name, _ in self._nouns(ctx, verb))
        raise click.UsageError(f"there is no `firedeck {verb} {noun}`: {has}. {verb} goes with {nouns}.", ctx)

    def _nouns(self, ctx: click.Context, verb: str) -> Iterator[tuple[str, str]]:
        """What the verb can be done to, each with what it then does."""
        for noun in sorted(self.places):
            group = self.get_command(ctx, noun)
            of_group = group.get_command(ctx, verb) if isinstance(group, click.Group) else None
            command = of_group or self.get_command(ctx, PHRASES.get((noun, verb), ""))
            if command is not None:
                yield noun, command.get_short_help_str(LINE)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            raise click.exceptions.Exit(exits.INTERRUPTED) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):  # click has the latter for the former at a question
            click.echo("interrupted", err=True)
            ctx.exit(exits.INTERRUPTED)
        except click.NoSuchOption as error:
            raise click.NoSuchOption(
                error.option_name, possibilities=near(error.option_name, error.possibilities or ()), ctx=error.ctx
            ) from None
        except NoSuchCommand as error:
            if meant := SYNONYMS.get(error.command_name):  # nothing like it by its letters, which click goes by
                raise click.UsageError(
                    f"{error.message} Did you mean {_from(error.ctx, meant)!r}?", error.ctx
                ) from None
            known = {*(error.possibilities or ()), *(VERBS if error.ctx is ctx else ())}
            raise NoSuchCommand(
                error.command_name, possibilities=near(error.command_name, known), ctx=error.ctx
            ) from None
        except ValueError as error:
            from pydantic import ValidationError  # slow to import, and there where one was raised

            if not isinstance(error, ValidationError):
                raise
            raise _told(error, ctx) from None


def _from(at: click.Context | None, meant: str) -> str:
    """The word for what is meant, as it can be typed here: below a noun that has none such, with the command's own."""
    if at is None or at.parent is None or not isinstance(at.command, click.Group):
        return meant
    return meant if meant in at.command.commands else f"firedeck {meant}"


def _told(error: ValidationError, ctx: click.Context) -> click.ClickException:
    """A value that no message has is a slip; an answer that is none of ours is the engine's."""
    first = error.errors(include_url=False)[0]
    if error.title.endswith("Spec") and first["loc"]:
        return click.UsageError(f"--{str(first['loc'][-1]).replace('_', '-')}: {first['msg']}", ctx)
    return click.ClickException(f"the engine answered what is no {error.title}: is it a firedeck of this version?")


def near(word: str, known: Iterable[str]) -> list[str]:
    """Those that a slip may have meant: most of their letters in order, or the better part of the word in one piece."""
    likeness = {name: _likeness(word.lstrip("-"), name.lstrip("-")) for name in known}
    best = max(likeness.values(), default=0.0)
    return [name for name, how in likeness.items() if how >= max(NEAR, best - AS_NEAR)]


def _likeness(word: str, name: str) -> float:
    matcher = SequenceMatcher(None, word, name)
    return max(matcher.ratio(), matcher.find_longest_match().size / max(len(word), 1))


def _grammatical(words: Sequence[str]) -> int:
    """How many of the first words are verbs and nouns: what follows them is a name, whatever it looks like."""
    return 2 if words[0] in VERBS or words[1:2] == ["ls"] else 1


def options_last(words: Sequence[str], commands: Set[str]) -> list[str]:
    """The options that every command shares may come first, too: they go to the end, behind the command's own."""
    at = 0
    while at < len(words) and words[at].partition("=")[0] in SHARED_OPTIONS:
        at += 1 if "=" in words[at] else 2
    if at >= len(words) or words[at] not in commands:
        return list(words)  # the dashboard's own, or a slip
    rest = words[at:]
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *words[:at], *rest[end:]]


def reorder(words: Sequence[str]) -> list[str]:
    """The words as noun, verb, rest, with aliases spelled out; options alone belong to the dashboard."""
    if not words or (words[0].startswith("-") and words[0] not in OWN_OPTIONS):
        return [DEFAULT_COMMAND, *words]
    plain = [ALIASES.get(word, word) if i < _grammatical(words) else word for i, word in enumerate(words)]
    if len(plain) > 1 and plain[0] in VERBS and not plain[1].startswith("-"):
        plain[:2] = [plain[1], plain[0]]
    if len(plain) > 1 and (alone := PHRASES.get((plain[0], ALIASES.get(plain[1], plain[1])))):
        plain[:2] = [alone]
    return plain
