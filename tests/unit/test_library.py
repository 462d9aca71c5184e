"""What a model's name stands for: a bare id is the account's own model or the library's, and never a guess."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from client.errors import InvalidArgument
from client.types import Model, PreparedPrecision
from engine.library import Library
from engine.model_facts import with_prepared
from engine.model_files import Nominal
from engine.models.dimensions import Dimensions
from engine.preparing.records import Records
from engine.store.store import Store
from tests.processes import SMOLLM2
from tests.unit.test_models_gguf import build, keys, u32

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


async def made_before_experts_were_asked_for(store: Store, folder: Path, *experts: bytes) -> str:
    """A model as a former firedeck wrote it; its name."""
    file = folder / "own.gguf"
    file.write_bytes(build(keys(*experts)))
    made = await Library(store).create("local", "own", str(file), None, None, folder / "converted.gguf")
    details = made.base_model_details
    assert details is not None
    await store.put_model(made.model_copy(update={"base_model_details": details.model_copy(update={"moe": None})}))
    return made.name


@pytest.mark.parametrize(("experts", "moe"), [((), False), ((u32("llama.expert_count", 8),), True)])
async def test_an_older_model_is_told_apart_from_a_mixture_of_experts_once_by_its_file(
    tmp_path: Path, experts: tuple[bytes, ...], moe: bool
) -> None:
    store = await Store.open(tmp_path / "db")
    name = await made_before_experts_were_asked_for(store, tmp_path, *experts)
    library = Library(store)
    await library.load()
    (tmp_path / "own.gguf").unlink()  # another start asks nobody
    again = Library(store)
    await again.load()
    for found in (library.get(name), again.get(name)):
        assert found.base_model_details is not None
        assert found.base_model_details.moe is moe
    await store.close()


async def test_of_an_older_model_whose_file_is_another_one_now_nothing_is_said(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "db")
    name = await made_before_experts_were_asked_for(store, tmp_path)
    (tmp_path / "own.gguf").write_bytes(build(keys(u32("llama.expert_count", 8), u32("llama.more", 1))))
    library = Library(store)
    await library.load()
    found = library.get(name).base_model_details
    assert found is not None
    assert found.moe is None
    await store.close()


class Made:
    """Records of what was prepared, of any model the same."""

    def __init__(self, *precisions: str) -> None:
        self.precisions = precisions

    def of(self, name: str, digest: str | None) -> list[PreparedPrecision]:
        return [PreparedPrecision(precision=one, quantization="Q8_0", state="READY") for one in self.precisions]


async def test_what_was_prepared_is_no_part_of_what_is_kept_however_often_a_model_changes(tmp_path: Path) -> None:
    store, made = await Store.open(tmp_path / "db"), Made("FP8")
    library = Library(store, prepared=cast("Records", made))
    (tmp_path / "own.gguf").write_bytes(build())
    model = await library.create("local", "own", str(tmp_path / "own.gguf"), None, None, tmp_path / "converted.gguf")
    for text in ("once", "twice"):
        model = await library.put(library.get(model.name).model_copy(update={"description": text}))
        assert (model.description, (model.supported_precisions or []).count("FP8")) == (text, 1)
    made.precisions = ()  # its file is gone
    assert "FP8" not in (library.get(model.name).supported_precisions or [])
    former = with_prepared(library.get(model.name), Made("FP8").of("", ""))
    await store.put_model(former)  # as it was once kept
    again = Library(store, prepared=cast("Records", made))
    await again.load()
    assert "FP8" not in (again.get(model.name).supported_precisions or [])
    await store.close()
