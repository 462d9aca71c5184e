"""The `:` line: the command line's own words, in both orders, and the short names of the table of actions.

`:scale chat 3`, `:deployment scale chat --replica-count 3`, `:scale deployment chat 3`, `:list nodes`, `:nodes` and
`:delete chat` all are commands. A command never sends anything: a change opens its dialog, filled in.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from client.cli.grammar import ALIASES, VERBS
from tui.core.actions import Action

# Actions that say which deployment they mean; the others take no argument, but for `create`.
TARGETED = frozenset({"open", "timeline", "scale", "update", "delete", "undelete"})
NAMED = TARGETED | {"context"}  # and the one that may name a context
_FORMS = {
    "scale": ("replica_count",),
    "update": ("min_replica_count", "max_replica_count", "scale_up_window", "scale_down_window",
               "scale_to_zero_window", "load_targets"),
    "create": ("deployment_id", "precision", "min_replica_count", "max_replica_count", "scale_up_window",
               "scale_down_window", "scale_to_zero_window", "load_targets", "cold_policy"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Command:
    """An action, the deployment or context that was named, or nothing, and what its form starts with."""

    action: Action
    target: str = ""
    form: Mapping[str, str] = field(default_factory=dict)


def heads(action: Action) -> Iterator[tuple[str, ...]]:
    """Every beginning of a line that means this action, in normal form."""
    yield tuple(action.label.split())
    if action.name != action.label:
        yield (action.name,)
    noun, _, verb = action.cli.partition(" ")
    if verb:
        yield (noun, verb)
        yield (verb, noun)
        if noun == "deployment" and verb != "list":
            yield (verb,)
    elif noun:
        yield (noun,)


def parse(line: str, table: Sequence[Action]) -> Command | str:
    """The command of `line`, or a sentence that says what is wrong with it."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    if not words:
        return "no command"
    found = [
        (len(head), action)
        for action in table
        for head in heads(action)
        if head in (_beginning(words, len(head)), tuple(words[: len(head)]))
    ]
    if not found:
        return f"no such command: {line.strip()}"
    length, action = max(found, key=lambda match: match[0])
    return _with_arguments(action, words[length:])


def _beginning(words: Sequence[str], length: int) -> tuple[str, ...]:
    """The first words with the command line's aliases spelled out: `ls nodes` is `list node`."""
    found = [ALIASES.get(word, word) for word in words[:length]]
    if found[:1] == ["list"] and words[0] not in VERBS:
        found[0] = words[0]
    return tuple(found)


def _with_arguments(action: Action, words: list[str]) -> Command | str:
    names, options, problem = _options(action, words)
    if problem:
        return problem
    if action.name == "create":
        if names:
            options["base_model"] = names.pop(0)
    elif action.name == "scale" and len(names) == 2:
        options["replica_count"] = names.pop()
    target = names.pop(0) if names and action.name in NAMED else ""
    if names:
        return f"{action.label} does not take {names[0]!r}"
    if not target and action.name in TARGETED and options:
        return f"{action.label} which deployment?"
    return Command(action, target, options)


def _options(action: Action, words: list[str]) -> tuple[list[str], dict[str, str], str]:
    """Names, the form's fields by the command line's flags, and what is wrong with them."""
    names: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            names.append(word)
            continue
        flag, equals, value = word[2:].partition("=")
        key = flag.replace("-", "_")
        if key not in _FORMS.get(action.name, ()):
            return [], {}, f"{action.label} has no --{flag} here"
        given = value if equals else next(rest, None)
        if given is None:
            return [], {}, f"--{flag} needs a value"
        options |= _load_target(given) if key == "load_targets" else {key: given}
    return names, options, ""


def _load_target(text: str) -> dict[str, str]:
    """The form has one target: its name and its value."""
    name, _, value = text.partition("=")
    return {"load_target": name, "load_target_value": value}


def completions(
    line: str, table: Sequence[Action], targets: Sequence[str], contexts: Sequence[str] = (), most: int = 12
) -> tuple[str, ...]:
    """Whole lines that `line` may become: a verb that wants a deployment, with each id that begins as was typed; the
    same of contexts."""
    if not line.strip():
        return ()
    *said, begun = line.split() if not line.endswith(" ") else [*line.split(), ""]
    if not said:
        return ()
    command = parse(" ".join(said), table)
    if isinstance(command, str) or command.action.name not in NAMED or command.target:
        return ()
    there = contexts if command.action.name == "context" else targets
    return tuple(f"{' '.join(said)} {name}" for name in there if name.startswith(begun))[:most]
