"""The files behind the models: what is in one, where it lies, and how it gets here."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from client.errors import FailedPrecondition, InvalidArgument
from client.types import Model
from engine.deployed_rules import check_owner
from engine.model_facts import of_adapter, of_base
from engine.model_rules import conversation_of
from engine.models import customized, dimensions, fetch, peft
from engine.models.catalogue import Entry
from engine.models.dimensions import Dimensions
from engine.precision import check as check_prepared
from engine.precision import variant
from engine.preparing import sources
from engine.preparing.checks import Checks
from engine.preparing.merged import Merged
from engine.preparing.records import Records

DOWNLOADS_AT_ONCE = 8
Progress = Callable[[float | None], None]  # 0 to 1, or None while unknown


@dataclass(frozen=True, slots=True)
class Nominal:
    """A model without a file, for simulated replicas: what it is listed as, and what it would take."""

    model: Model
    dimensions: Dimensions


class Models(Protocol):
    """What is known of models by their names; see `engine.library.Library`."""

    def get(self, name: str, field: str = "baseModel") -> Model: ...

    def served(self, name: str, field: str = "baseModel") -> Model: ...

    def resolve(self, text: str, account: str, field: str = "baseModel") -> str: ...


class ModelFiles:
    """The files of `models`: those of `entries` are fetched, those of users stay where they are, `nominal` ones have
    none. `prepared` and `merged` are files that were made of others; see `Library`."""

    def __init__(
        self, models: Models, entries: Mapping[str, Entry], nominal: Mapping[str, Nominal], prepared: Records | None,
        merged: Merged | None,
    ) -> None:  # fmt: skip
        self._models, self._entries, self._nominal = models, entries, nominal
        self._prepared, self._merged = prepared, merged
        self._checks, self._start_checks = Checks(), Checks()  # what users send must not hold up starts of replicas
        self._fetching: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Of their own: they take hours where a hub is slow, and in the common pool everything else would wait for them.
        self._downloads = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download")

    async def checked(self, declared: Model, file: Path, base_model: str | None) -> Model:
        """`declared`, READY, with what its file says. Reads the whole file, in a limited process."""
        account = declared.name.split("/")[1]
        model = await self._checks.model(file, is_meant=base_model is None)
        if model is not None:
            return of_base(declared, model, datetime.now(UTC))
        base = self._base_of(file.name, base_model, account)
        checked = await self._checks.adapter(file, await self._base_file(base))
        return of_adapter(declared.with_base(base), checked, datetime.now(UTC))

    async def converted(
        self, declared: Model, files: Mapping[str, Path], base_model: str | None, target: Path
    ) -> Sequence[str]:
        """Make the GGUF file `target` of a base model's files as transformers save them, or of an adapter's as PEFT
        does; the names of those that were not used."""
        if sources.holds_base(files):
            if base_model is not None:
                raise InvalidArgument("these files are no adapter's", field="baseModel", hint="leave baseModel out")
            talk = conversation_of(declared)
            return await sources.converted(files, target, declared.display_name or declared.id, talk)
        await asyncio.to_thread(customized.check_unused, files, declared.conversation_config, "an adapter")
        base = await self._base_file(self._base_of(peft.CONFIG, base_model, declared.name.split("/")[1]))
        await self._checks.of_peft(files, base, target)
        return [name for name in files if name not in (peft.CONFIG, peft.WEIGHTS, customized.NAME)]

    def _base_of(self, file: str, base_model: str | None, account: str) -> str:
        """The full name of the base that an adapter is said to be for, which the account may use."""
        if base_model is None:
            raise InvalidArgument(
                f"{file} is a LoRA adapter", field="baseModel", hint="name the model that it was trained on: baseModel"
            )
        base = self._models.resolve(base_model, account)
        check_owner(self._models.get(base), account, "baseModel")
        return base

    async def check_adapter(self, model: Model) -> None:
        """Whether an adapter's file is there, is what it was, and still fits its base. Reads the whole file."""
        await self._check_adapter(model, self._checks)

    async def _check_adapter(self, model: Model, checks: Checks) -> None:
        assert model.peft_details is not None
        base = await self._base_file(model.peft_details.base_model)
        if not self.file_of(model.name).exists():
            raise FailedPrecondition(f"the file of {model.name} is gone", field="model", hint="put it back")
        found = await checks.adapter(self.file_of(model.name), base)
        if model.firedeck is None or found.facts.digest != model.firedeck.digest:
            changed = f"the file of {model.name} has changed since the model was made"
            raise FailedPrecondition(changed, field="model", hint="make the model again")

    def present(self, name: str, precision: str | None = None) -> bool:
        """Whether what is served of the model is on disk; see `bring`."""
        other = self._other(name, precision)
        entry = None if other else self._entries.get(name)
        return fetch.is_present(entry) if entry else (other or self.file_of(name)).exists()

    def to_fetch(self, name: str, precision: str | None = None) -> Entry | None:
        """The library's model whose file is fetched before anything is served of `name`; None where it is here, or
        what is served is another file."""
        model = self._models.get(name)
        if model.is_adapter:
            return self.to_fetch(self._models.served(name).name)
        entry = None if self._other(name, precision) else self._entries.get(name)
        return entry if entry and not fetch.is_present(entry) else None

    def file_of(self, name: str) -> Path:
        """Where the model's own file lies, or would lie."""
        details = self._models.get(name).firedeck
        return Path((details.file if details else None) or "")

    def dimensions(self, name: str, precision: str | None = None) -> Dimensions:
        """What decides how much memory the model takes: while its file is not here by what the library knows of it, of
        a user's whose file is gone or no GGUF file only its size.

        Reads the file's header the first time, some milliseconds: call it from a thread."""
        if name in self._nominal:
            return self._nominal[name].dimensions
        model = self._models.get(name)
        try:
            return dimensions.remembered(self._other(name, precision) or self.file_of(name))
        except (OSError, InvalidArgument):  # the replica that loads it says what is wrong with it
            if model.is_adapter:
                return self.dimensions(self._models.served(name).name)
            entry = self._entries.get(name)
            told = (model.firedeck.size_bytes if model.firedeck else None) or 0
            return dimensions.expected(entry) if entry else Dimensions(weights_bytes=told)

    async def bring(self, name: str, progress: Progress, precision: str | None = None) -> Path:
        """The path of the file that the model is served by: its own, fetched into the cache first when it is not there;
        that of a precision; of an adapter that of its base with the adapter merged into it, made first. Cancelling
        stops it. FailedPrecondition for a precision whose file is gone, with the command that prepares it."""
        if (other := self._other(name, precision)) is not None:
            check_prepared(self._models.get(name), precision)
            return (
                await self._with_adapter(self._models.get(name), other) if self._models.get(name).is_adapter else other
            )
        entry = self._entries.get(name)
        if entry is None:
            return self._own_path(name)
        cancel = threading.Event()

        def tell(done: int, total: int | None, stage: str) -> None:
            progress(done / total if total else None)

        # One thread a model: ten replicas that wait for one download must not fill the pool.
        async with self._fetching[name]:
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._downloads, fetch.fetch, entry, tell, cancel)
            finally:
                cancel.set()

    async def _base_file(self, base: str) -> Path:
        model = self._models.get(base)
        if model.is_adapter or model.state != "READY":
            raise FailedPrecondition(f"{base} is no base model that is ready", field="baseModel")
        return await self.bring(base, lambda part: None)

    def _other(self, name: str, precision: str | None) -> Path | None:
        """The file that the model is served by where that is not its own."""
        model = self._models.get(name)
        if model.is_adapter:
            return self._merged.path(model, self._models.served(name)) if self._merged else None
        other = variant(precision, model.firedeck.quantization if model.firedeck else None)
        return self._prepared.path(name, other) if other and self._prepared else None

    async def _with_adapter(self, model: Model, target: Path) -> Path:
        """The merged file of an adapter, made when it is not there."""
        assert self._merged is not None
        async with self._fetching[model.name]:
            await self._check_adapter(model, self._start_checks)
            base = await self._base_file(self._models.served(model.name).name)
            await self._merged.make(base, self.file_of(model.name), target)
        return target

    def _own_path(self, name: str) -> Path:
        path = self.file_of(name)
        if not path.exists():
            raise FailedPrecondition(f"the file of {name} is gone", field="baseModel", hint="put the model's file back")
        return path

    async def forget(self, name: str) -> None:
        """Drop what was made of a model that is deleted."""
        if self._merged is not None:
            await asyncio.to_thread(self._merged.forget, name)
