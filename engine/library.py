"""Every model that can be deployed: the library's (catalogue) and the users' own files, and the files behind them."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from client.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from client.names import LIBRARY_ACCOUNT, Name
from client.types import BaseModelDetails, Model, ModelFile
from engine.models import catalogue, dimensions, fetch, own_models
from engine.models.catalogue import Entry
from engine.models.dimensions import Dimensions
from engine.store.store import Store

Progress = Callable[[float | None], None]  # 0 to 1, or None while unknown


@dataclass(frozen=True, slots=True)
class Nominal:
    """A model without a file, for simulated replicas: what it is listed as, and what it would take."""

    model: Model
    dimensions: Dimensions


class Library:
    """Models by full name. Catalogue models are always listed, whether their file is here yet or not.

    `nominal` ones have no file at all: only a driver that reads none can run them.
    """

    def __init__(self, store: Store, nominal: Mapping[str, Nominal] | None = None) -> None:
        self._store = store
        self._nominal = dict(nominal or {})
        self._entries: dict[str, Entry] = {entry.name: entry for entry in catalogue.library()}
        self._own: dict[str, Model] = {}
        self._being_made: set[str] = set()  # files are hashed for minutes: nobody else may take the name meanwhile
        self._fetching: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self) -> None:
        self._own = {model.name: model for model in await self._store.models()}

    def list(self, account: str) -> list[Model]:
        if account == LIBRARY_ACCOUNT:
            return [*map(_listed, self._entries.values()), *(known.model for known in self._nominal.values())]
        mine = f"accounts/{account}/"
        return [_with_file_state(model) for name, model in self._own.items() if name.startswith(mine)]

    def get(self, name: str, field: str = "baseModel") -> Model:
        """The model, or NotFound naming the `field` that asked for it."""
        if name in self._entries:
            return _listed(self._entries[name])
        if name in self._nominal:
            return self._nominal[name].model
        if name in self._own:
            return _with_file_state(self._own[name])
        raise NotFound(f"model {name!r} does not exist", field=field, hint="`firedeck model list` shows all")

    def resolve(self, text: str, account: str, field: str = "baseModel") -> str:
        """The full name that `text` stands for, whether there is such a model or not. A bare id may be the account's
        own or the library's: InvalidArgument when it is both."""
        name = str(Name.of(text, "models", account, field))
        if "/" in text:
            return name
        library = str(Name(LIBRARY_ACCOUNT, "models", text))
        if name in self._own and library in self._entries:
            raise InvalidArgument(f"{text!r} may be {name} or {library}", field=field, hint="write the full name")
        return library if library in self._entries else name

    async def create(self, account: str, model_id: str, file: str, display_name: str | None) -> Model:
        """Register a GGUF file on this machine. Raises InvalidArgument for a file that cannot be served."""
        name = str(Name.of(model_id, "models", account, "modelId"))
        if account == LIBRARY_ACCOUNT:
            raise PermissionDenied(f"account {LIBRARY_ACCOUNT!r} owns the library; create models in your own account")
        if name in self._own or name in self._being_made:
            raise AlreadyExists(f"model {name!r} already exists", field="modelId", hint="choose another id")
        if not Path(file).is_absolute():
            raise InvalidArgument(f"file {file[:200]!r} must be an absolute path", field="file")
        self._being_made.add(name)
        try:
            checked = await asyncio.to_thread(own_models.check, file)
            model = _registered(name, checked, display_name)
            await self._store.put_model(model)
        finally:
            self._being_made.discard(name)
        self._own[name] = model
        return model

    async def delete(self, name: str) -> None:
        """Forget a user's model; its file stays where it is."""
        if name in self._entries or name in self._nominal:
            raise PermissionDenied(f"{name} belongs to the library and cannot be deleted")
        self.get(name)
        await self._store.drop_model(name)
        self._own.pop(name, None)

    def present(self, name: str) -> bool:
        """Whether the model's file is on disk."""
        entry = self._entries.get(name)
        return fetch.is_present(entry) if entry else Path(self._file(name)).exists()

    def dimensions(self, name: str) -> Dimensions:
        """What decides how much memory the model takes; only its size while its file is not here, or no GGUF file.

        Reads the file's header the first time, some milliseconds: call it from a thread."""
        if name in self._nominal:
            return self._nominal[name].dimensions
        entry = self._entries.get(name)
        details = self.get(name).firedeck
        try:
            path = fetch.path_of(entry) if entry else Path(self._file(name))
            seen = path.stat()
            return _dimensions(path, seen.st_mtime_ns, seen.st_size)
        except (OSError, InvalidArgument):  # the replica that loads it says what is wrong with it
            return Dimensions(weights_bytes=(details.size_bytes if details else None) or 0)

    async def bring(self, name: str, progress: Progress) -> Path:
        """The path of the model's file, fetched into the cache first when it is not there. Cancelling stops it."""
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

    def _own_path(self, name: str) -> Path:
        path = Path(self._file(name))
        if not path.exists():
            raise FailedPrecondition(f"{path} is gone", field="baseModel", hint="put the model's file back")
        return path

    def _file(self, name: str) -> str:
        details = self.get(name).firedeck
        return (details.file if details else None) or ""


@lru_cache(maxsize=64)
def _dimensions(path: Path, changed_ns: int, size_bytes: int) -> Dimensions:
    return dimensions.read(path)


def _listed(entry: Entry) -> Model:
    return Model(
        name=entry.name,
        display_name=entry.display_name,
        description=entry.description,
        context_length=entry.context_length,
        public=True,
        use_hf_apply_chat_template=entry.supports_chat,
        supports_tools=entry.supports_chat,
        base_model_details=BaseModelDetails(
            parameter_count=str(entry.parameter_count) if entry.parameter_count else None, model_type=entry.architecture
        ),
        firedeck=ModelFile(
            file=str(fetch.path_of(entry)), size_bytes=entry.size_bytes, digest=entry.sha256,
            quantization=entry.quantization, architecture=entry.architecture, licence=entry.license,
            on_disk=fetch.is_present(entry),
        ),
    )  # fmt: skip


def _with_file_state(model: Model) -> Model:
    """The model as it is now: its file may have been moved away since it was registered."""
    file = model.firedeck
    if file is None or not file.file:
        return model
    return model.model_copy(update={"firedeck": file.model_copy(update={"on_disk": Path(file.file).exists()})})


def _registered(name: str, checked: own_models.OwnModel, display_name: str | None) -> Model:
    info, now = checked.info, datetime.now(UTC)
    return Model(
        name=name,
        display_name=display_name or info.name or name.rpartition("/")[2],
        kind="CUSTOM_MODEL",
        create_time=now,
        update_time=now,
        context_length=info.context_length,
        use_hf_apply_chat_template=info.has_chat_template,
        supports_tools=info.has_chat_template,
        base_model_details=BaseModelDetails(
            parameter_count=str(info.parameter_count), model_type=info.architecture
        ),
        firedeck=ModelFile(
            file=str(checked.path), size_bytes=info.size_bytes, digest=checked.sha256,
            quantization=info.quantization, architecture=info.architecture, licence=info.license, on_disk=True,
        ),
    )  # fmt: skip
