"""What a model's name stands for: a bare id is the account's own model or the library's, and never a guess."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client.errors import InvalidArgument
from client.types import Model
from engine.library import Library
from engine.model_files import Nominal
from engine.models.dimensions import Dimensions
from engine.store.store import Store
from tests.processes import SMOLLM2
from tests.unit.test_models_gguf import build

BARE = SMOLLM2.rpartition("/")[2]


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    store = await Store.open(tmp_path / "db")
    yield Library(store)
    await store.close()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (BARE, SMOLLM2),
        (SMOLLM2, SMOLLM2),
        (f"fireworks/{BARE}", SMOLLM2),
        (f"local/{BARE}", f"accounts/local/models/{BARE}"),
        ("unheard-of", "accounts/local/models/unheard-of"),
    ],
)
def test_a_name_stands_for_one_model(library: Library, text: str, meant: str) -> None:
    assert library.resolve(text, "local") == meant


async def test_a_bare_id_that_two_models_have_is_refused_and_names_both(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(build())
    await library.create("local", BARE, str(file), None, None, tmp_path / "converted.gguf")
    with pytest.raises(InvalidArgument, match=f"accounts/local/models/{BARE} or {SMOLLM2}"):
        library.resolve(BARE, "local")
    assert library.resolve(f"local/{BARE}", "local") == f"accounts/local/models/{BARE}"
    assert library.resolve(BARE, "somebody") == SMOLLM2


async def test_a_model_without_a_file_goes_by_its_bare_id_too(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "db")
    name = "accounts/fireworks/models/simulated-8b"
    library = Library(store, {name: Nominal(Model(name=name), Dimensions(weights_bytes=1))})
    assert library.resolve("simulated-8b", "local") == name
    await store.close()
