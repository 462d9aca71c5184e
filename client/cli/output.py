"""What commands print: `Key: value` lines for one thing and tables for many, in firectl's form, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from client.cli import flags
from client.model_types import BaseModelDetails, ModelFile
from client.stages import known as known
from client.stages import local_time as local_time
from client.types import Model, Wire

Rows = Sequence[Sequence[str]]
W = TypeVar("W", bound=Wire)
QUIET = "quiet"  # the output of `--quiet`: what names each thing in other commands, and no more
SIMULATED = "SIMULATED: no model answers here"
_GIB_FROM = 1024 * 2**20  # bytes from which GiB read better than MiB


def machine_form(found: Wire | Sequence[Wire], output: str) -> str | None:
    """JSON, or flags, one thing a line; None where people are to read it."""
    if output == "json":
        return as_json(found)
    if output == "flag":
        return "\n".join(flags.of(one) for one in ([found] if isinstance(found, Wire) else found))
    return None


def as_json(items: Wire | Sequence[Wire]) -> str:
    wire: Any = items.to_wire() if isinstance(items, Wire) else [item.to_wire() for item in items]
    return json.dumps(wire, indent=2)


def show(
    found: W | Sequence[W], header: Sequence[str], row: Callable[[W], Sequence[str]], output: str, note: str = "",
    total: int | None = None, counted: bool = True, page: str = "",
) -> None:  # fmt: skip
    """One thing as lines, several as a table with their number (`total` of a part), unless they are a part and nobody
    has `counted` the whole, or as flags, each behind its name; `page`: which of how many they are; `note` is a last
    line of text.

    The first cell of a row is what names the thing in other commands.
    """
    if output == "flag" and not isinstance(found, Wire) and flags.are_settings():
        say("\n".join(f"{row(one)[0]} {flags.of(one)}".rstrip() for one in found))
        return
    if (told := machine_form(found, output)) is not None:
        say(told)
        return
    if output == QUIET:
        for one in [found] if isinstance(found, Wire) else found:
            say(row(one)[0])
        return
    if isinstance(found, Wire):
        text = lines(zip((title.title() for title in header), row(found), strict=True))
    else:
        rows = [row(one) for one in found]
        text = listing(header, rows, total, page) if counted else table(header, rows)
    say(text + (f"\n{note}" if note else ""))


def lines(pairs: Iterable[tuple[str, str]]) -> str:
    """firectl's `get`: one `Key: value` a line."""
    return "\n".join(f"{key}: {value}".rstrip() for key, value in pairs)


def listing(header: Sequence[str], rows: Rows, total: int | None = None, page: str = "Page 1 of 1") -> str:
    """firectl's `list`: a table, which page of how many it is, and how many there are."""
    size = f"Total size: {len(rows) if total is None else total}"
    return "\n".join(filter(None, (table(header, rows), page, size)))


def table(header: Sequence[str], rows: Rows) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    shown = [header, *rows]
    widths = [max(len(line[i]) for line in shown) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in shown)


MODEL_HEADER = ("NAME", "PARAMETERS", "PRECISION", "SIZE", "CONTEXT", "CHAT", "LICENCE", "ON DISK")


def model_row(m: Model) -> Sequence[str]:
    file, details = m.firedeck, m.base_model_details
    rank = f"LoRA, rank {m.peft_details.r}" if m.is_adapter and m.peft_details and m.peft_details.r else ""
    return (
        m.name,
        rank or parameters(details) or "-",
        (file.quantization if file else None) or "-",
        file_size(file),
        str(m.context_length or "-"),
        "yes" if m.use_hf_apply_chat_template else "no",
        (file.licence if file else None) or "-",
        "yes" if file and file.on_disk else "no",
    )


def say(text: str) -> None:
    click.echo(text)
    if context := click.get_current_context(silent=True):
        context.meta[SIMULATED] = context.meta.get(SIMULATED, False) or "SIMULATED" in text


def note_simulated() -> None:
    """On standard error, where things were shown and nothing of it says so."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(SIMULATED) is False:
        click.echo(SIMULATED, err=True)


def tell(text: str, output: str) -> None:
    """What came of it, for people: on standard error, unless they want it quiet."""
    if output != QUIET:
        click.echo(text, err=True)


def parameters(details: BaseModelDetails | None) -> str:
    """`135M`, `96K`; "" where nothing is known."""
    count = int(details.parameter_count or 0) if details else 0
    return f"{count / 1e6:.0f}M" if count >= 1e6 else f"{count / 1e3:.0f}K" if count else ""


def file_size(file: ModelFile | None) -> str:
    """That of a file which is not here yet and whose size nobody has told is about: `~4.5 GiB`."""
    if file is None or file.size_bytes is not None or file.expected_size_bytes is None:
        return size(file.size_bytes if file else None)
    return f"~{size(file.expected_size_bytes)}"


def size(count: int | None) -> str:
    """Bytes as `512 B`, `94 KiB`, `94 MiB`, `14.9 GiB`; `-` where nothing is known, which zero is not."""
    if count is None:
        return "-"
    if 0 < count < 2**20:
        return f"{count / 2**10:.0f} KiB" if count >= 2**10 else f"{count} B"
    return f"{count / 2**20:.0f} MiB" if count < _GIB_FROM else f"{count / 2**30:.1f} GiB"
