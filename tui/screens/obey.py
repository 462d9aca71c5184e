"""How a command of the palette or of the `:` line is carried out on the page below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from textual.app import SystemCommand

from client.fleet_types import DeploymentStatus
from tui.core import commands, contexts
from tui.core.actions import MOVES, Action
from tui.core.commands import Command
from tui.core.plan import Verb
from tui.keymap import owner
from tui.screens import verbs
from tui.screens.create import CreateDialog
from tui.screens.deployment import DeploymentScreen
from tui.screens.page import Page

if TYPE_CHECKING:
    from tui.app import Deck

_MOVES = frozenset(move.name for move in MOVES)


def offered(deck: Deck, page: Page) -> list[Action]:
    """The actions that the palette has on this page: all but the moves within a table, and itself."""
    return [
        action
        for action in deck.actions
        if page.place in action.places and action.name not in _MOVES and action.name != "command_palette"
    ]


def system_commands(deck: Deck, page: Page) -> Iterator[SystemCommand]:
    for action in offered(deck, page):
        lacking = deck.lacking(action.name)
        told = f"not here: {lacking}" if lacking else action.tooltip
        yield SystemCommand(action.label, told, _runner(deck, action))


def _runner(deck: Deck, action: Action) -> Callable[[], None]:
    return lambda: _later(deck, f"{owner(action)}.{action.id}")


def _later(deck: Deck, action: str) -> None:
    deck.call_later(deck.run_action, action)


def lines(deck: Deck, typed: str) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """What a line with arguments means, and what it may become: title, help and what is done."""
    ids = sorted(contexts.targets(deck.picture.rows))
    for line in (typed.strip(), *commands.completions(typed, deck.actions, ids, deck.context_names)):
        found = commands.parse(line, deck.actions)
        meant = isinstance(found, Command) and (found.form if found.action.name == "create" else known(deck, found))
        if meant and isinstance(found, Command):
            yield line, found.action.tooltip, _obeying(deck, found)


def known(deck: Deck, command: Command) -> bool:
    """Whether what the command names is there."""
    if command.action.name == "context":
        return command.target in deck.context_names
    return command.target in contexts.targets(deck.picture.rows)


def _obeying(deck: Deck, command: Command) -> Callable[[], None]:
    return lambda: obey(deck, command)


def obey(deck: Deck, command: Command) -> None:
    """Do it, or say why not. A change opens its dialog: nothing is sent from here."""
    deck.turn_to_page()
    action, page = command.action, deck.screen
    if action.name == "create":
        if not deck.refuses("create"):
            deck.push_screen(CreateDialog(_whole_model(command.form), deck.focus))
    elif action.name == "context" and command.target:
        _turn(deck, command.target)
    elif command.target:
        _on_target(deck, command)
    elif isinstance(page, Page) and page.place in action.places:
        _runner(deck, action)()
    elif action.group == "Pages":
        deck.visit(action.name)
    elif action.name in commands.TARGETED:
        deck.notify(f"{action.label} which deployment? Write :{action.label} NAME", severity="warning", markup=False)
    else:
        deck.notify(f"{action.label} is for another page", severity="warning", markup=False)


def _turn(deck: Deck, name: str) -> None:
    if name in deck.context_names:
        deck.choose_context(name)
    else:
        there = f"there are {', '.join(deck.context_names)}" if deck.context_names else deck.lacking("context")
        deck.notify(f"no context {name}: {there}", severity="warning", markup=False)


def _on_target(deck: Deck, command: Command) -> None:
    status = _named(deck, command.target)
    if status is None:
        where = [row.context for row in deck.picture.rows if row.id == command.target]
        told = f"{command.target} is in {' and '.join(where)}: write {where[0]}:{command.target}" if where else ""
        deck.notify(told or f"there is no deployment {command.target}", severity="warning", markup=False)
    elif command.action.name == "open":
        deck.push_screen(DeploymentScreen(status.deployment.name))
    elif command.action.name == "timeline":
        deck.show_timeline(status.deployment.name)
    else:
        verbs.begin(deck, cast(Verb, command.action.name), status, command.form)


def _named(deck: Deck, target: str) -> DeploymentStatus | None:
    """The deployment of this full name, or of this id in the context's account, or of this id in any other; of several
    contexts an id is one that no two of them share, or has its context before it."""
    own = f"accounts/{deck.context.account}/deployments/{target}"  # of one context alone
    for name in (target, own, contexts.targets(deck.picture.rows).get(target, "")):
        if (status := deck.picture.status(name)) is not None:
            return status
    return None


def _whole_model(form: Mapping[str, str]) -> Mapping[str, str]:
    """`fireworks/NAME` and a bare name as the create form has them."""
    model = form.get("base_model", "")
    if not model or model.startswith("accounts/"):
        return form
    account, _, name = model.rpartition("/")
    return {**form, "base_model": f"accounts/{account or 'fireworks'}/models/{name}"}
