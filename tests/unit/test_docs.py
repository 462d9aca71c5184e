"""README and reference: what is to be copied from them parses, and what they point at is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from client.cli.docs import page, topics
from client.cli.grammar import reorder
from client.cli.main import main

ROOT = Path(__file__).parents[2]
TEXTS = {"README": (ROOT / "README.md").read_text(encoding="utf-8")} | {name: page(name) for name in topics()}
LINKED = re.compile(r"\]\(([^)#]+)\)")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The lines of its blocks of shell that ask firedeck, without comments."""
    lines = [line.strip() for block in BLOCK.findall(text) for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.split(" ")[0] == "firedeck"]


COMMANDS = [(name, words) for name, text in TEXTS.items() for words in commands(text)]


def leaf(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = main
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]
    return command, words


def test_there_are_many() -> None:
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(("name", "words"), COMMANDS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(COMMANDS)])
def test_every_command_of_the_documentation_parses(name: str, words: list[str]) -> None:
    command, rest = leaf(reorder(words[1:]))
    try:
        command.make_context(command.name, rest, parent=click.Context(main, **main.context_settings))
    except click.BadParameter as slip:
        if "does not exist" not in slip.message:  # files of examples are nobody's
            raise


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_pointed_at_is_there(name: str) -> None:
    folder = ROOT if name == "README" else ROOT / "client" / "docs"
    for target in LINKED.findall(TEXTS[name]):
        assert "://" in target or (folder / target).exists(), target


def test_every_page_is_linked_from_the_readme_and_shown_by_the_command_line() -> None:
    listed = CliRunner().invoke(main, ["docs"]).output
    for name, title in topics().items():
        assert f"client/docs/{name}.md" in TEXTS["README"]
        assert f"{name} " in listed
        assert title in listed
    assert CliRunner().invoke(main, ["docs", "usage"]).output.strip() == page("usage").strip()


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README"].splitlines()) <= 200
