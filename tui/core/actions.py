"""Every action of the dashboard, once: keymap, footer, help and command palette are made from this table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Group = Literal["Go", "View", "Change", "App", "Pages"]
Place = Literal[  # a list with keys of its own has a name
    "fleet", "deployment", "list", "audit", "alerts", "requests", "request", "routers", "costs", "timeline", "matrix",
    "playground",
]  # fmt: skip
EVERYWHERE: tuple[Place, ...] = get_args(Place)


@dataclass(frozen=True, slots=True)
class Action:
    """`id` names the method `action_<id>` and the binding; `keys` are Textual's, the first one is shown.

    `changes` marks what alters the fleet: refused while the dashboard is read-only. `footer` orders the hints of the
    bottom line: the lowest numbers stay longest when the screen is narrow. `destructive`: no harmless key lies beside.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    tooltip: str
    group: Group
    places: tuple[Place, ...] = EVERYWHERE
    changes: bool = False
    footer: int = 9
    destructive: bool = False

    @property
    def name(self) -> str:
        """What it is called in the config file: `scale`, `nodes`, `page_up`."""
        verb, _, argument = self.id.partition("(")
        if verb == "visit":
            return argument.strip("')")
        return self.label.replace(" ", "_") if argument or "." in verb else verb

    @property
    def cli(self) -> str:
        """The same in the command line's own words, noun first; empty where it has none."""
        return _CLI.get(self.name, "")

    @property
    def shown_key(self) -> str:
        return SHOWN.get(self.keys[0], self.keys[0])

    @property
    def shown_keys(self) -> str:
        return " ".join(SHOWN.get(key, key) for key in self.keys)


SHOWN = {
    "slash": "/", "question_mark": "?", "colon": ":", "escape": "esc", "enter": "enter", "up": "↑", "down": "↓",
    "pageup": "pgup", "pagedown": "pgdn", "full_stop": ".", "comma": ",", "semicolon": ";", "minus": "-", "plus": "+",
    "asterisk": "*", "equals_sign": "=", "less_than_sign": "<", "greater_than_sign": ">", "left_square_bracket": "[",
    "right_square_bracket": "]", "left_curly_bracket": "{", "right_curly_bracket": "}",
    "exclamation_mark": "!", "number_sign": "#", "dollar_sign": "$", "space": "space",
}  # fmt: skip

_BOTH: tuple[Place, ...] = ("fleet", "deployment")
_FLEET: tuple[Place, ...] = ("fleet",)
_TABLELESS: tuple[Place, ...] = ("deployment", "request", "playground")
_TABLES: tuple[Place, ...] = tuple(place for place in EVERYWHERE if place not in _TABLELESS)
_BELOW: tuple[Place, ...] = tuple(place for place in EVERYWHERE if place != "fleet")
_REQUESTS: tuple[Place, ...] = ("requests", "request")
_ROUTERS: tuple[Place, ...] = ("routers",)
_COSTS: tuple[Place, ...] = ("costs",)
_MATRIX: tuple[Place, ...] = ("matrix",)
_TALK: tuple[Place, ...] = ("playground",)
_TIMED: tuple[Place, ...] = ("fleet", "deployment", "alerts")
_CHARTS: tuple[Place, ...] = ("fleet", "deployment", "timeline")
ACTIONS: tuple[Action, ...] = (
    Action("open", ("enter",), "open", "Open the page of the chosen deployment", "Go", _TABLES, footer=0),
    Action("back", ("escape",), "back", "Back to the page before; in the fleet, clear the filter", "Go", footer=1),
    Action(
        "filter",
        ("slash",),
        "filter",
        "Only rows that match: word, !state:ready, queue>0",
        "View",
        _TABLES,
        footer=6,
    ),
    Action("sort", ("o",), "sort", "Sort by the next column", "View", _TABLES, footer=8),
    Action("reverse", ("O",), "reverse", "Turn the order around", "View", _TABLES, footer=29),
    Action("show_deleted", ("x",), "deleted", "Show or hide deleted deployments", "View", _FLEET, footer=10),
    Action("show_reads", ("x",), "reads", "Audit log: show or hide what only read", "View", ("audit",), footer=28),
    Action("span", ("z",), "zoom", "Charts over 2, 5, 15 minutes, 1 or 6 hours", "View", _CHARTS, footer=11),
    Action("span(-1)", ("Z",), "zoom in", "Charts over a shorter span", "View", _CHARTS, footer=28),
    Action("pan(-1)", ("less_than_sign",), "earlier", "Charts half a span back", "View", _CHARTS, footer=24),
    Action("pan(1)", ("greater_than_sign",), "later", "Charts half a span towards now", "View", _CHARTS, footer=25),
    Action("freeze", ("f",), "freeze", "Charts stand still, or go on", "View", _CHARTS, footer=26),
    Action("compare", ("v",), "compare", "Beside the same of an hour or a day ago", "View", _CHARTS, footer=27),
    Action("copy_model", ("y",), "copy model", "Copy the string for a request's `model`", "View", _BOTH, footer=9),
    Action("mark", ("space",), "mark", "Mark several: scale, delete, undelete act on all", "View", _FLEET, footer=9),
    Action("group", ("b",), "group", "Group by model, state, region, ..., context", "View", _FLEET, footer=30),
    Action("columns", ("h",), "columns", "Choose the columns of this table", "View", _TABLES, footer=31),
    Action("compare_with", ("V",), "beside", "Charts beside those of another deployment", "View", _CHARTS, footer=32),
    Action("equivalents", ("i",), "shell lines", "The same as firedeck, firectl, curl", "View", _BOTH, footer=33),
    Action("acknowledge", ("a",), "seen", "Mark the alert as seen, until it ends", "View", ("alerts",), footer=2),
    Action("snooze", ("z",), "snooze", "Quiet the alert for an hour", "View", ("alerts",), footer=2),
    Action("copy_id", ("y",), "copy id", "Copy the request's id, for firedeck explain", "View", _REQUESTS, footer=9),
    Action("shift", ("s",), "shift", "Move the router's traffic to one deployment", "Change", _ROUTERS, True, 3),
    Action("roll_back", ("b",), "roll back", "End the router's shift: the former weights", "Change", _ROUTERS, True, 2),
    Action("by", ("b",), "by", "Costs by deployment, tag, user, model, hour, day, ...", "View", _COSTS, footer=2),
    Action("load", ("a",), "load", "Load the adapter onto a deployment", "Change", _MATRIX, True, 2),
    Action("unload", ("X",), "unload", "Take the adapter off (asks first)", "Change", _MATRIX, True, 3, True),
    Action("write", ("enter",), "write", "To the prompt; there, enter sends it", "Go", _TALK, footer=0),
    Action("choose(0)", ("o",), "left side", "Which deployment or adapter is asked", "View", _TALK, footer=2),
    Action("choose(1)", ("O",), "right side", "Another one beside, asked the same", "View", _TALK, footer=3),
    Action("drafts", ("x",), "without drafts", "The same beside, without speculation", "View", _TALK, footer=4),
    Action("anew", ("n",), "anew", "Begin an empty conversation", "View", _TALK, footer=5),
    Action("create", ("c",), "create", "Create a deployment: form, plan, dry run first", "Change", _FLEET, True, 3),
    Action("scale", ("s",), "scale", "Ask for a number of replicas now", "Change", _BOTH, True, 2),
    Action("update", ("e",), "edit", "Edit limits, windows and load target", "Change", _BOTH, True, 5),
    Action("delete", ("D",), "delete", "Delete a deployment (asks first)", "Change", _BOTH, True, 4, destructive=True),
    Action("undelete", ("u",), "undelete", "Bring a deleted deployment back", "Change", _BOTH, True, 13),
    Action(
        "undo", ("U",), "undo", "Take back the last change that can be (asks first)", "Change", changes=True, footer=12
    ),
    Action("visit('alerts')", ("0",), "alerts", "What is wrong, for how long, seen or not", "Pages", footer=15),
    Action("visit('fleet')", ("1",), "fleet", "Every deployment: the first page", "Pages", _BELOW, footer=15),
    Action("visit('nodes')", ("2",), "nodes", "Machines: regions, accelerators, what is free", "Pages", footer=15),
    Action("visit('events')", ("3",), "events", "What happened, newest first", "Pages", footer=21),
    Action("visit('conditions')", ("4",), "conditions", "Stockouts, roll-outs, quotas, failures", "Pages", footer=22),
    Action("visit('quarantine')", ("5",), "quarantine", "Requests refused for ending replicas", "Pages", footer=23),
    Action("visit('users')", ("6",), "users", "Users, service accounts, roles", "Pages", footer=24),
    Action("visit('keys')", ("7",), "keys", "API keys by prefix, with their expiry", "Pages", footer=25),
    Action("visit('quotas')", ("8",), "quotas", "What the account may use, and uses", "Pages", footer=26),
    Action("visit('audit')", ("9",), "audit", "Who did what (admins)", "Pages", footer=27),
    Action("visit('journal')", ("J",), "journal", "What was changed from here, and how it ended", "Pages", footer=29),
    Action("visit('requests')", ("r",), "requests", "The newest requests; enter explains one", "Pages", footer=21),
    Action("visit('routers')", ("w",), "routers", "Weights, measured shares, shifts", "Pages", footer=22),
    Action("visit('costs')", ("dollar_sign",), "costs", "Last hour, today, month, forecast, week", "Pages", footer=23),
    Action("visit('models')", ("m",), "models", "Library and own: size, precision, used by", "Pages", footer=24),
    Action("visit('adapters')", ("l",), "adapters", "LoRAs on deployments: state, requests", "Pages", footer=25),
    Action("visit('jobs')", ("B",), "jobs", "What is being prepared, uploaded, loaded", "Pages", footer=29),
    Action("visit('speculation')", ("P",), "speculation", "Does drafting pay? Measured", "Pages", footer=26),
    Action("visit('matrix')", ("M",), "matrix", "Adapters by deployments: load, unload", "Pages", footer=30),
    Action("visit('playground')", ("A",), "playground", "Ask a model, or two side by side", "Pages", footer=28),
    Action("timeline", ("t",), "timeline", "What happened to the deployment, on one axis", "Go", _TIMED, footer=16),
    Action("export", ("E",), "export", "The timeline as Markdown with SVGs", "View", ("timeline",), footer=2),
    Action("wind(-30)", ("left_square_bracket",), "rewind", "Recording: 30 seconds back", "View", footer=4),
    Action("wind(30)", ("right_square_bracket",), "forward", "Recording: 30 seconds on", "View", footer=4),
    Action("wind(-600)", ("left_curly_bracket",), "far back", "Recording: 10 minutes back", "View", footer=37),
    Action("wind(600)", ("right_curly_bracket",), "far on", "Recording: 10 minutes on", "View", footer=37),
    Action("wind(0)", ("p",), "pause", "Recording: stand still, or go on", "View", footer=4),
    Action("context", ("K",), "context", "Turn to another of several contexts; a name after it", "App", footer=34),
    Action("mouse", ("T",), "mouse", "Leave the mouse to the terminal, to select text, or not", "App", footer=35),
    Action("redraw", ("ctrl+l",), "redraw", "Draw the whole screen anew, should it be garbled", "App", footer=36),
    Action("read_only", ("L",), "lock", "Lock or unlock changes", "App", footer=14),
    Action("help", ("question_mark", "f1"), "help", "What has the focus, and all keys, searchable", "App", footer=1),
    Action(
        "command_palette",
        ("colon",),
        "commands",
        "Find any command or page by name: nodes, users, keys",
        "App",
        footer=7,
    ),
    Action("quit", ("q",), "quit", "Leave the dashboard; the engine goes on (a demo's ends)", "App", footer=2),
)

# What the command line calls them, for `:` and the manual.
_CLI = {
    "open": "deployment get", "create": "deployment create", "scale": "deployment scale", "update": "deployment update",
    "delete": "deployment delete", "undelete": "deployment undelete", "fleet": "deployment list", "nodes": "node list",
    "events": "event list", "users": "user list", "keys": "api-key list", "quotas": "quota list",
    "audit": "audit-logs list", "alerts": "alerts", "requests": "requests", "routers": "router list", "costs": "usage",
    "shift": "router shift",
    "load": "load-lora", "unload": "unload-lora", "models": "model list", "adapters": "deployed-model list",
}  # fmt: skip

# Within the fleet table: `id` is the table's own action. Shown in the help, never in the footer.
MOVES: tuple[Action, ...] = (
    Action("move(-1)", ("up", "k"), "up", "One row up; in the events, newer ones", "Go", _TABLES),
    Action("move(1)", ("down", "j"), "down", "One row down; in the events, older ones", "Go", _TABLES),
    Action("page(-1)", ("pageup",), "page up", "One page up", "Go", _TABLES),
    Action("page(1)", ("pagedown",), "page down", "One page down", "Go", _TABLES),
    Action("edge(0)", ("home", "g"), "first", "The first row", "Go", _TABLES),
    Action("edge(-1)", ("end", "G"), "last", "The last row", "Go", _TABLES),
    Action("app.focus_next", ("tab",), "next", "From the table to the events and back", "Go", _FLEET),
)


# In the footer of a screen where the pages' own hints do not all fit.
PAGES = Action("pages", ("0-9",), "pages", "Fleet, nodes, events, ... by number", "Pages", footer=3)


def of(place: Place, table: Sequence[Action] = ACTIONS) -> tuple[Action, ...]:
    return tuple(action for action in table if place in action.places)


def search(text: str, table: Sequence[Action] = (*MOVES, *ACTIONS)) -> tuple[Action, ...]:
    """The actions whose key, label, group or tooltip has every word of `text`; all of them for no words."""
    words = text.lower().split()
    texts = {a: f"{a.shown_keys} {a.label} {a.group} {a.tooltip} {a.cli}".lower() for a in table}
    return tuple(action for action, text in texts.items() if all(word in text for word in words))


def footer_fit(place: Place, width: int, *, locked: bool, table: Sequence[Action] = ACTIONS) -> tuple[Action, ...]:
    """The hints that fit into `width` cells, in table order; locked hides what changes the fleet."""
    moves = {move.id for move in MOVES}
    shown = [a for a in of(place, table) if a.id not in moves and not (locked and a.changes)]
    if sum(map(_cells, shown)) > width:
        first = next(a for a in shown if a.group == "Pages")
        shown = [PAGES if a is first else a for a in shown if a is first or a.group != "Pages"]
    kept: list[Action] = []
    left = width
    for action in sorted(shown, key=lambda a: a.footer):
        if _cells(action) <= left:
            kept.append(action)
            left -= _cells(action)
    return tuple(a for a in shown if a in kept)


def typed_keys(place: Place, table: Sequence[Action] = ACTIONS) -> tuple[tuple[str, str], ...]:
    """The hints while an input has the focus, as keys and labels: `place` is the page that it is on."""
    enter, leave = ("send", "to the keys") if place == "playground" else ("keep the filter", "clear it")
    free = [key for action in table if action.name == "help" for key in action.keys if not _types(key)]
    return (SHOWN["enter"], enter), (SHOWN["escape"], leave), *((key, "help") for key in free[:1])


def _types(key: str) -> bool:
    """Whether an input takes it for itself: signs and letters, and what moves in it."""
    return len(key) == 1 or key in SHOWN


def _cells(hint: Action) -> int:
    return len(hint.shown_key) + len(hint.label) + 3
