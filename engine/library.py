"""Every model that can be deployed: the library's (catalogue) and the users' own files, and the files behind them."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from client.errors import AlreadyExists, FailedPrecondition, FiredeckError, InvalidArgument, NotFound, PermissionDenied
from client.names import LIBRARY_ACCOUNT, Name
from client.types import Model
from engine import deprecation
from engine.deployed_rules import check_owner
from engine.model_facts import listed, of_adapter, of_base, with_file_state, with_prepared
from engine.models import catalogue, dimensions, fetch, peft
from engine.models.catalogue import Entry
from engine.models.dimensions import Dimensions
from engine.precision import check as check_prepared
from engine.precision import variant
from engine.preparing import sources
from engine.preparing.checks import Checks
from engine.preparing.merged import Merged
from engine.preparing.records import Records
from engine.store.store import Store

Progress = Callable[[float | None], None]  # 0 to 1, or None while unknown


@dataclass(frozen=True, slots=True)
class Nominal:
    """A model without a file, for simulated replicas: what it is listed as, and what it would take."""

    model: Model
    dimensions: Dimensions


class Library:
    """Models by full name. Catalogue models are always listed, whether their file is here yet or not.

    `nominal` ones have no file at all: only a driver that reads none can run them. `prepared` are the files of models
    in other precisions than their own, `merged` adapters in the weights of their bases.
    """

    def __init__(
        self, store: Store, nominal: Mapping[str, Nominal] | None = None, prepared: Records | None = None,
        merged: Merged | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._nominal = dict(nominal or {})
        self._prepared, self._merged = prepared, merged
        self._entries: dict[str, Entry] = {entry.name: entry for entry in catalogue.library()}
        self._checks = Checks()
        self._own: dict[str, Model] = {}
        self._being_made: set[str] = set()  # files are hashed for minutes: nobody else may take the name meanwhile
        self._fetching: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self) -> None:
        self._own = {model.name: model for model in await self._store.models()}

    def list(self, account: str) -> list[Model]:
        names = (*self._entries, *self._nominal) if account == LIBRARY_ACCOUNT else tuple(self._own)
        return [self.get(name) for name in names if name.startswith(f"accounts/{account}/")]

    def get(self, name: str, field: str = "baseModel") -> Model:
        """The model, or NotFound naming the `field` that asked for it."""
        if name in self._entries:
            return self._with_prepared(listed(self._entries[name]))
        if name in self._nominal:
            return self._nominal[name].model
        if name in self._own:
            return self._with_prepared(with_file_state(self._own[name]))
        raise NotFound(f"model {name!r} does not exist", field=field, hint="`firedeck model list` shows all")

    def served(self, name: str, field: str = "baseModel") -> Model:
        """The model whose facts hold for what is served of `name`: of an adapter its base."""
        model = self.get(name, field)
        return self.get(model.peft_details.base_model, field) if model.is_adapter and model.peft_details else model

    def has(self, name: str) -> bool:
        """Whether there is such a model."""
        return name in self._entries or name in self._nominal or name in self._own

    def resolve(self, text: str, account: str, field: str = "baseModel") -> str:
        """The full name that `text` stands for, whether there is such a model or not. A bare id may be the account's
        own or the library's: InvalidArgument when it is both."""
        name = str(Name.of(text, "models", account, field))
        if "/" in text:
            return name
        library = str(Name(LIBRARY_ACCOUNT, "models", text))
        is_library = library in self._entries or library in self._nominal
        if name in self._own and is_library:
            raise InvalidArgument(f"{text!r} may be {name} or {library}", field=field, hint="write the full name")
        return library if is_library else name

    def deprecated_on(self, name: str) -> date | None:
        """From when on nobody deploys it anew; None for no such day. Looks at no file."""
        return deprecation.day_of(self._own[name].deprecation_date) if name in self._own else None

    def is_public(self, name: str) -> bool:
        """Whether accounts other than its owner may see and use it."""
        return bool(self._own[name].public) if name in self._own else self.has(name)

    async def declare(self, account: str, model_id: str, spec: Model) -> Model:
        """A model whose files are still to be uploaded: UPLOADING."""
        name = self._free_name(account, model_id)
        with self._making(name):
            details, now = spec.peft_details, datetime.now(UTC)
            if details is not None:
                base = self.resolve(details.base_model, account, "peftDetails.baseModel")
                check_owner(self.get(base, "peftDetails.baseModel"), account, "peftDetails.baseModel")
                spec = spec.with_base(base)
            shown = {"name": name, "display_name": spec.display_name or model_id, "state": "UPLOADING"}
            return await self.put(spec.model_copy(update={**shown, "create_time": now, "update_time": now}))

    async def create(
        self, account: str, model_id: str, file: str, display_name: str | None, base_model: str | None, converted: Path
    ) -> Model:
        """Make a GGUF file on this machine a model, or an adapter of `base_model`; of a folder that PEFT or
        transformers have saved, the GGUF file `converted` is made. InvalidArgument and FailedPrecondition say why a
        file cannot be served."""
        name = self._free_name(account, model_id)
        if not Path(file).is_absolute():
            raise InvalidArgument(f"file {file[:200]!r} must be an absolute path", field="file")
        with self._making(name):
            now = datetime.now(UTC)
            declared = Model(
                name=name, display_name=display_name, kind="CUSTOM_MODEL", create_time=now, update_time=now
            )
            if not await asyncio.to_thread(Path(file).is_dir):
                return await self.put(await self.checked(declared, Path(file), base_model))
            try:
                files = await asyncio.to_thread(sources.files_in, Path(file))
                await self.converted(declared, files, base_model, converted)
                return await self.put(await self.checked(declared, converted, base_model))
            except FiredeckError:
                await asyncio.to_thread(converted.unlink, missing_ok=True)
                raise

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
            return await sources.converted(files, target, declared.display_name or declared.id)
        base = await self._base_file(self._base_of(peft.CONFIG, base_model, declared.name.split("/")[1]))

        await self._checks.of_peft(files, base, target)
        return [name for name in files if name not in (peft.CONFIG, peft.WEIGHTS)]

    def _base_of(self, file: str, base_model: str | None, account: str) -> str:
        """The full name of the base that an adapter is said to be for, which the account may use."""
        if base_model is None:
            raise InvalidArgument(
                f"{file} is a LoRA adapter", field="baseModel", hint="say which model it was trained on"
            )
        base = self.resolve(base_model, account)
        check_owner(self.get(base), account, "baseModel")
        return base

    async def check_adapter(self, model: Model) -> None:
        """Whether an adapter's file is there, is what it was, and still fits its base. Reads the whole file."""
        assert model.peft_details is not None
        base = await self._base_file(model.peft_details.base_model)
        if not self.file_of(model.name).exists():
            raise FailedPrecondition(f"the file of {model.name} is gone", field="model", hint="put it back")
        found = await self._checks.adapter(self.file_of(model.name), base)
        if model.firedeck is None or found.facts.digest != model.firedeck.digest:
            changed = f"the file of {model.name} has changed since the model was made"
            raise FailedPrecondition(changed, field="model", hint="make the model again")

    async def put(self, model: Model) -> Model:
        """Keep a new or changed model of a user."""
        await self._store.put_model(model)
        self._own[model.name] = model
        return model

    async def delete(self, name: str) -> None:
        """Forget a user's model; its file stays where it is."""
        if name in self._entries or name in self._nominal:
            raise PermissionDenied(f"{name} belongs to the library and cannot be deleted")
        self.get(name)
        await self._store.drop_model(name)
        self._own.pop(name, None)
        if self._merged is not None:
            await asyncio.to_thread(self._merged.forget, name)

    def present(self, name: str, precision: str | None = None) -> bool:
        """Whether what is served of the model is on disk; see `bring`."""
        other = self._other(name, precision)
        entry = None if other else self._entries.get(name)
        return fetch.is_present(entry) if entry else (other or self.file_of(name)).exists()

    def file_of(self, name: str) -> Path:
        """Where the model's own file lies, or would lie."""
        details = self.get(name).firedeck
        return Path((details.file if details else None) or "")

    def dimensions(self, name: str, precision: str | None = None) -> Dimensions:
        """What decides how much memory the model takes; only its size while its file is not here, or no GGUF file.

        Reads the file's header the first time, some milliseconds: call it from a thread."""
        if name in self._nominal:
            return self._nominal[name].dimensions
        model = self.get(name)
        try:
            return dimensions.remembered(self._other(name, precision) or self.file_of(name))
        except (OSError, InvalidArgument):  # the replica that loads it says what is wrong with it
            if model.is_adapter:
                return self.dimensions(self.served(name).name)
            entry = self._entries.get(name)
            told = (model.firedeck.size_bytes if model.firedeck else None) or 0
            return Dimensions(weights_bytes=entry.expected_bytes if entry else told)

    async def bring(self, name: str, progress: Progress, precision: str | None = None) -> Path:
        """The path of the file that the model is served by: its own, fetched into the cache first when it is not there;
        that of a precision; of an adapter that of its base with the adapter merged into it, made first. Cancelling
        stops it. FailedPrecondition for a precision whose file is gone, with the command that prepares it."""
        if (other := self._other(name, precision)) is not None:
            check_prepared(self.get(name), precision)
            return await self._with_adapter(self.get(name), other) if self.get(name).is_adapter else other
        entry = self._entries.get(name)
        if entry is None:
            return self._own_path(name)
        cancel = threading.Event()

        def tell(done: int, total: int | None, stage: str) -> None:
            progress(done / total if total else None)

        # One thread a model: ten replicas that wait for one download must not fill the pool.
        async with self._fetching[name]:
            try:
                return await asyncio.to_thread(fetch.fetch, entry, tell, cancel)
            finally:
                cancel.set()

    async def _base_file(self, base: str) -> Path:
        model = self.get(base)
        if model.is_adapter or model.state != "READY":
            raise FailedPrecondition(f"{base} is no base model that is ready", field="baseModel")
        return await self.bring(base, lambda part: None)

    def _other(self, name: str, precision: str | None) -> Path | None:
        """The file that the model is served by where that is not its own."""
        model = self.get(name)
        if model.is_adapter:
            return self._merged.path(model, self.served(name)) if self._merged else None
        other = variant(precision, model.firedeck.quantization if model.firedeck else None)
        return self._prepared.path(name, other) if other and self._prepared else None

    async def _with_adapter(self, model: Model, target: Path) -> Path:
        """The merged file of an adapter, made when it is not there."""
        assert self._merged is not None
        async with self._fetching[model.name]:
            await self.check_adapter(model)
            base = await self._base_file(self.served(model.name).name)
            await self._merged.make(base, self.file_of(model.name), target)
        return target

    def _with_prepared(self, model: Model) -> Model:
        file = model.firedeck
        return with_prepared(model, self._prepared.of(model.name, file.digest)) if self._prepared and file else model

    def _free_name(self, account: str, model_id: str) -> str:
        name = Name.of(model_id, "models", account, "modelId")
        if account == LIBRARY_ACCOUNT:
            raise PermissionDenied(f"account {LIBRARY_ACCOUNT!r} owns the library; create models in your own account")
        if name.account != account:
            raise InvalidArgument(f"modelId {model_id[:80]!r} is of another account", field="modelId")
        if str(name) in self._own or str(name) in self._being_made:
            raise AlreadyExists(f"model {str(name)!r} already exists", field="modelId", hint="choose another id")
        return str(name)

    @contextmanager
    def _making(self, name: str) -> Iterator[None]:
        self._being_made.add(name)
        try:
            yield
        finally:
            self._being_made.discard(name)

    def _own_path(self, name: str) -> Path:
        path = self.file_of(name)
        if not path.exists():
            raise FailedPrecondition(f"the file of {name} is gone", field="baseModel", hint="put the model's file back")
        return path
