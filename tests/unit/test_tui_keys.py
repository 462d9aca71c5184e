"""The table of actions: every one reachable, none of them dangerous by a slip; the user's own keys and config file."""

from __future__ import annotations

import pytest

from client.errors import InvalidArgument
from tui.core import commands, config, keys, manual
from tui.core.actions import ACTIONS, MOVES

# A keyboard's rows, each a half key further right than the one above.
ROWS = ("`1234567890-=", "\tqwertyuiop[]", "\0asdfghjkl;'", "\0zxcvbnm,./")
BASE = {"colon": ";", "question_mark": "/", "slash": "/"}


def neighbours(letter):
    """The keys around that of this letter: the two beside it, two above, two below."""
    row = next(n for n, letters in enumerate(ROWS) if letter in letters)
    at = ROWS[row].index(letter)
    around = [(row, at - 1), (row, at + 1), (row - 1, at), (row - 1, at + 1), (row + 1, at), (row + 1, at - 1)]
    return {ROWS[r][c] for r, c in around if 0 <= r < len(ROWS) and 0 <= c < len(ROWS[r])}


def letter_and_shift(key):
    key = BASE.get(key, key)
    return key.lower(), key.isupper()


@pytest.mark.parametrize("action", [a for a in ACTIONS if a.destructive], ids=lambda a: a.name)
def test_no_harmless_key_lies_beside_a_destructive_one_or_is_it_without_shift(action):
    for key in action.keys:
        letter, shift = letter_and_shift(key)
        assert shift, "a destructive key takes two fingers"
        for other in ACTIONS:
            if other.destructive or not set(other.places) & set(action.places):
                continue
            for theirs in other.keys:
                near, shifted = letter_and_shift(theirs)
                assert near != letter, f"{other.name} is the same key"
                assert not (shifted == shift and near in neighbours(letter)), f"{other.name} lies beside {action.name}"


def test_no_key_is_one_that_a_multiplexer_or_a_terminal_takes():
    taken = {key for action in (*ACTIONS, *MOVES) for key in action.keys} & keys.NEVER
    assert not taken


def test_names_are_unique_and_every_key_of_the_table_is_one_that_a_config_file_may_say():
    names = [action.name for action in keys.TABLE]
    assert len(set(names)) == len(names)
    assert keys.remapped({action.name: action.keys for action in keys.TABLE}) == keys.TABLE


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: a.name)
def test_every_action_is_a_command_by_its_label_its_name_and_the_command_lines_own_words(action):
    noun, _, verb = action.cli.partition(" ")
    for line in {action.label, action.name, *({f"{noun} {verb}", f"{verb} {noun}"} if verb else ())}:
        found = commands.parse(line, ACTIONS)
        assert isinstance(found, commands.Command), found
        assert found.action is action


@pytest.mark.parametrize("action", [*MOVES, *ACTIONS], ids=lambda a: a.name)
def test_every_action_is_in_the_manual(action):
    text = manual.path().read_text(encoding="utf-8")
    assert manual.row(action) in text


def test_the_manuals_table_is_the_one_that_is_made_from_the_actions():
    text = manual.path().read_text(encoding="utf-8")
    assert manual.renewed(text) == text, "write it anew: python -m tui.core.manual"


@pytest.mark.parametrize(
    ("line", "name", "target", "form"),
    [
        ("scale chat 3", "scale", "chat", {"replica_count": "3"}),
        ("scale deployment chat 3", "scale", "chat", {"replica_count": "3"}),
        ("deployment scale chat --replica-count 3", "scale", "chat", {"replica_count": "3"}),
        ("scale chat --replica-count=3", "scale", "chat", {"replica_count": "3"}),
        ("delete chat", "delete", "chat", {}),
        ("delete deployments accounts/a/deployments/chat", "delete", "accounts/a/deployments/chat", {}),
        ("edit chat --max-replica-count 4", "update", "chat", {"max_replica_count": "4"}),
        ("update deployment chat --load-targets default=0.5", "update", "chat",
         {"load_target": "default", "load_target_value": "0.5"}),
        ("get deployment chat", "open", "chat", {}),
        ("open chat", "open", "chat", {}),
        ("create deployment smollm2 --deployment-id x", "create", "", {"base_model": "smollm2", "deployment_id": "x"}),
        ("ls nodes", "nodes", "", {}),
        ("usage", "costs", "", {}),
        ("model list", "models", "", {}),
        ("timeline chat", "timeline", "chat", {}),
        ("list audit-log", "audit", "", {}),
        ("scale", "scale", "", {}),
    ],
)  # fmt: skip
def test_a_line_is_read_as_the_command_line_reads_it(line, name, target, form):
    found = commands.parse(line, ACTIONS)
    assert (found.action.name, found.target, dict(found.form)) == (name, target, form)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("frobnicate", "no such command: frobnicate"),
        ("scale chat 3 4", "does not take"),
        ("scale chat --max-replica-count 3", "has no --max-replica-count here"),
        ("scale chat --replica-count", "needs a value"),
        ("nodes chat", "does not take"),
        ("scale --replica-count 3", "which deployment?"),
    ],
)
def test_a_line_that_means_nothing_is_told_why(line, told):
    assert told in commands.parse(line, ACTIONS)


def test_a_line_is_completed_with_the_deployments_it_may_mean():
    ids = ["chat", "chat-2", "judge"]
    assert commands.completions("scale ch", ACTIONS, ids) == ("scale chat", "scale chat-2")
    assert commands.completions("delete deployment ", ACTIONS, ids) == tuple(f"delete deployment {i}" for i in ids)
    assert commands.completions("nodes ", ACTIONS, ids) == ()
    assert commands.completions("scale chat ", ACTIONS, ids) == ()


def test_a_users_own_keys_take_the_place_of_the_others_everywhere():
    table = keys.remapped({"scale": ["="], "nodes": ["f2", "2"], "up": ["N"], "down": ["S"]})
    assert keys.shown(table, "scale") == "="
    assert keys.shown(table, "nodes") == "f2"
    assert keys.keymap(table) == {
        "scale": "equals_sign", "nodes": "f2,2", "table.up": "N", "events.up": "N", "table.down": "S",
        "events.down": "S",
    }  # fmt: skip
    assert keys.keymap(keys.TABLE) == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scael": ["x"]}, "no action is called so"),
        ({"scale": ["e"]}, "scale and update both have e"),
        ({"scale": ["ctrl+b"]}, "does not reach programs in every terminal"),
        ({"scale": ["hyper+x"]}, "is no key"),
        ({"scale": []}, "needs a key"),
    ],
)
def test_keys_that_cannot_be_are_refused_by_name(changes, told):
    with pytest.raises(InvalidArgument, match=told):
        keys.remapped(changes)


def test_two_actions_may_have_one_key_on_pages_of_their_own():
    both = keys.remapped({"show_reads": ["Y"], "show_deleted": ["Y"]})
    assert {a.name for a in both if "Y" in a.keys} == {"show_reads", "show_deleted"}


FILE = """
theme = "light"
symbols = "braille"
mouse = false
[keys]
delete = "X"
nodes = ["2", "f2"]
[contexts.production]
base-url = "https://firedeck.example.com"
account = "acme"
api-key-env = "PROD_KEY"
colour = "red"
[contexts.staging]
"""


def test_a_config_file_is_read_and_its_absence_is_the_defaults(tmp_path):
    file = tmp_path / "dashboard.toml"
    assert config.load(file) == config.Config()
    file.write_text(FILE)
    read = config.load(file)
    assert (read.theme, read.symbols, read.mouse) == ("light", "braille", False)
    assert read.keys == {"delete": ("X",), "nodes": ("2", "f2")}
    assert read.contexts["production"].prod, "a name that begins with prod is one"
    assert not read.contexts["staging"].prod


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("theme = ", "dashboard.toml: "),
        ("themes = 'x'", "themes is not known"),
        ("mouse = 1", "mouse must be true or false"),
        ("symbols = 'emoji'", "is not known"),
        ("keys = 1", "keys must be a section"),
        ("[keys]\nscale = 3", "must be a key or a list of keys"),
        ("[contexts.x]\nurl = 'a'", "url is not known"),
        ("[contexts.x]\ncolour = 'mauve'", "colour = 'mauve' is not known"),
        ("[contexts]\nx = 1", "must be a section"),
        ("theme = 1", "theme must be a text"),
    ],
)
def test_a_slip_in_the_config_file_is_named_with_the_file(tmp_path, text, told):
    file = tmp_path / "dashboard.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as refused:
        config.load(file)
    assert told in refused.value.message
    assert str(file) in refused.value.message
    assert refused.value.hint


def test_the_manual_fits_two_screens():
    lines = manual.path().read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 120
