"""The registry of adapters: names, scales, who may be in memory, and what is never freed too early.

llama.cpp is replaced by a ledger here (tests/engine has the real one): it fails the test when an adapter is freed while
a context has it set, or twice, or when one that was freed is set.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument, MethodNotAllowed, NotFound
from engine.replica import adapter_routes, adapters
from engine.replica.adapters import Adapters
from engine.replica.job import AdapterUse
from engine.replica.llama import LoadError
from tests import adapter_files
from tests.unit.test_models_adapter import ones, pair

NAMES = ("a", "b", "c", "d")


@dataclass
class Ledger:
    """What llama.cpp would hold: adapters in memory and those set on the one context."""

    loaded: list[LedgerAdapter] = field(default_factory=list)
    on_context: list[tuple[LedgerAdapter, float]] = field(default_factory=list)
    refuses: bool = False
    loads: int = 0

    def set(self, _context: Any, uses: list[tuple[LedgerAdapter, float]]) -> None:
        assert all(one in self.loaded for one, _ in uses)
        self.on_context = list(uses)

    def load(self, _model: Any, path: str) -> LedgerAdapter:
        if self.refuses:
            raise LoadError("model arch and LoRA arch mismatch")
        self.loads += 1
        self.loaded.append(LedgerAdapter(self, hashlib.sha256(Path(path).read_bytes()).hexdigest()))
        return self.loaded[-1]


@dataclass(eq=False)
class LedgerAdapter:
    ledger: Ledger
    digest: str

    def close(self) -> None:
        assert all(self is not one for one, _ in self.ledger.on_context), "freed while a context has it set"
        self.ledger.loaded.remove(self)


class LedgerContext:
    def synchronize(self) -> None:
        pass


CONTEXT: Any = LedgerContext()


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = Ledger()
    monkeypatch.setattr(adapters, "Adapter", ledger.load)
    monkeypatch.setattr(adapters, "set_adapters", ledger.set)
    return ledger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A base model's file and the adapters a, b, c and d, each of its own content."""
    adapter_files.write(tmp_path / "base.gguf", [("blk.0.attn_q.weight", ones(64, 32))])
    for number, name in enumerate(NAMES):
        adapter_files.write(tmp_path / f"{name}.gguf", pair(), alpha=float(number + 1))
    return tmp_path


def registry(folder: Path, *, max_cached: int = 2, names: tuple[str, ...] = NAMES) -> Adapters:
    model: Any = None
    made = Adapters(model, folder / "base.gguf", max_cached=max_cached)
    for name in names:
        made.register(name, folder / f"{name}.gguf")
    return made


def states(made: Adapters) -> dict[str, str]:
    return {info.name: info.state for info in made.infos()}


def use(made: Adapters, *names: str, scale: float = 1.0) -> tuple[AdapterUse, ...]:
    return made.resolve([(name, scale) for name in names])


def digests(wanted: tuple[AdapterUse, ...]) -> set[str]:
    return {one.digest for one in wanted}


@pytest.mark.parametrize("name", ["a", "accounts/local/models/tone", "x" * 200, "v1.2_b-3:4@5"])
def test_resource_names_are_names_of_adapters(folder: Path, name: str) -> None:
    assert registry(folder, names=()).register(name, folder / "a.gguf").name == name


@pytest.mark.parametrize("name", ["", "x" * 201, "/a", "a b", "a\n", "a\x1b[2J", "ä", "..", "a%2F"])
def test_other_names_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="is no name for an adapter"):
        registry(folder, names=()).register(name, folder / "a.gguf")


def test_a_relative_path_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="not an absolute path"):
        registry(folder, names=()).register("a", Path("a.gguf"))


def test_a_refused_file_leaves_the_name_as_it_was(folder: Path) -> None:
    made = registry(folder, names=("a",))
    with pytest.raises(InvalidArgument):
        made.register("a", folder / "base.gguf")
    assert states(made) == {"a": "registered"}


def test_a_replica_that_keeps_no_adapters_takes_none(folder: Path) -> None:
    with pytest.raises(FailedPrecondition, match="takes no adapters"):
        registry(folder, max_cached=0)


def test_what_a_request_names_is_sorted_and_scale_0_drops_out(folder: Path) -> None:
    made = registry(folder)
    wanted = made.resolve([("b", 0.5), ("a", 2), ("c", 0)])
    assert [(one.name, one.scale) for one in wanted] == [("a", 2.0), ("b", 0.5)]
    assert made.resolve([("a", 0.0)]) == made.resolve([]) == ()


def test_an_unknown_name_is_not_found_whatever_its_scale(folder: Path) -> None:
    with pytest.raises(NotFound, match="no adapter 'x'"):
        registry(folder).resolve([("x", 0.0)])


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -float("inf"), 101.0, -1e300])
def test_a_scale_that_is_no_sane_number_is_refused(folder: Path, scale: float) -> None:
    with pytest.raises(InvalidArgument, match="must be within"):
        registry(folder).resolve([("a", scale)])


def test_a_name_given_twice_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="named twice"):
        registry(folder).resolve([("a", 1.0), ("a", 0.5)])


def test_more_adapters_than_fit_in_memory_are_refused_at_once(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="3 adapters at once are more than the 2 kept"):
        use(registry(folder), "a", "b", "c")


async def ask(made: Adapters, method: str, path: str, body: Any = None) -> dict[str, Any]:
    return await adapter_routes.answer(made, method, path, b"" if body is None else json.dumps(body).encode())


async def test_adapters_are_put_listed_and_deleted_by_name(folder: Path) -> None:
    made = registry(folder, names=())
    told = await ask(made, "PUT", "/adapters/accounts/a/models/tone", {"path": str(folder / "a.gguf")})
    assert (told["name"], told["rank"], told["state"], told["last_used"]) == (
        "accounts/a/models/tone", 4, "registered", None,
    )  # fmt: skip
    assert await ask(made, "GET", "/adapters") == {"adapters": [told]}
    assert await ask(made, "DELETE", "/adapters/accounts/a/models/tone") == {}
    assert await ask(made, "GET", "/adapters") == {"adapters": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("POST", "/adapters", None, MethodNotAllowed),
        ("GET", "/adapters/a", None, MethodNotAllowed),
        ("PUT", "/adapters", {"path": "/x"}, MethodNotAllowed),
        ("PUT", "/adapters/x", {"path": 3}, InvalidArgument),
        ("PUT", "/adapters/x", ["/x"], InvalidArgument),
        ("PUT", "/adapters/x", {"path": "/there/is/none.gguf"}, InvalidArgument),
        ("PUT", "/adapters/x", {"path": "/with\0nul"}, InvalidArgument),
        ("PUT", "/adapters/x", {}, InvalidArgument),
        ("DELETE", "/adapters/x", None, NotFound),
    ],
)
async def test_what_cannot_be_done_with_an_adapter_is_said(
    folder: Path, method: str, path: str, body: Any, kind: type[FiredeckError]
) -> None:
    with pytest.raises(kind):
        await ask(registry(folder), method, path, body)


def test_only_the_paths_of_adapters_are_served() -> None:
    assert [adapter_routes.serves(path) for path in ("/adapters", "/adapters/a/b", "/adaptersx", "/health")] == [
        True, True, False, False,
    ]  # fmt: skip
