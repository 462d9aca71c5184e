"""`firedeck docs TOPIC`: the reference, page by page, as it lies in `client/docs`."""

from __future__ import annotations

from importlib.resources import files

import click

from client.cli import output as out

_PAGES = files("client") / "docs"
_ENDING = ".md"


def topics() -> dict[str, str]:
    """The title of each page, by its name."""
    names = sorted(page.name.removesuffix(_ENDING) for page in _PAGES.iterdir() if page.name.endswith(_ENDING))
    return {name: page(name).partition("\n")[0].removeprefix("# ") for name in names}


def page(topic: str) -> str:
    """Markdown."""
    return (_PAGES / f"{topic}{_ENDING}").read_text(encoding="utf-8")


@click.command()
@click.argument("topic", required=False, metavar="[TOPIC]", type=click.Choice(list(topics())))
def docs(topic: str | None) -> None:
    """The reference, as Markdown; without a TOPIC what there is."""
    if topic is None:
        out.say(out.table(("TOPIC", "WHAT IT IS ABOUT"), list(topics().items())))
    else:
        out.say(page(topic).rstrip("\n"))
