"""Every model that can be deployed: the library's (catalogue) and the users' own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path

from client.errors import AlreadyExists, FiredeckError, InvalidArgument, NotFound, PermissionDenied
from client.names import LIBRARY_ACCOUNT, Name
from client.types import Model
from engine import deprecation
from engine.deployed_rules import check_owner
from engine.model_facts import completed, lacks_facts, listed, with_file_state, with_prepared, without_prepared
from engine.model_files import ModelFiles, Nominal
from engine.models import catalogue
from engine.models.catalogue import Entry
from engine.preparing import sources
from engine.preparing.merged import Merged
from engine.preparing.records import Records
from engine.store.store import Store


def _as_it_is(model: Model) -> Model:
    return model


class Library:
    """Models by full name. Catalogue models are always listed, whether their file is here yet or not.

    `nominal` ones have no file at all: only a driver that reads none can run them. `prepared` are the files of models
    in other precisions than their own, `merged` adapters in the weights of their bases; `files` brings them all.
    """

    def __init__(
        self, store: Store, nominal: Mapping[str, Nominal] | None = None, prepared: Records | None = None,
        merged: Merged | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._nominal = dict(nominal or {})
        self._prepared = prepared
        self._entries: dict[str, Entry] = {entry.name: entry for entry in catalogue.library()}
        self.files = ModelFiles(self, self._entries, self._nominal, prepared, merged)
        self._own: dict[str, Model] = {}
        self._being_made: set[str] = set()  # files are hashed for minutes: nobody else may take the name meanwhile

    async def load(self) -> None:
        self._own = {model.name: without_prepared(model) for model in await self._store.models()}
        lacking = [model for model in self._own.values() if lacks_facts(model)]
        for model in await asyncio.to_thread(lambda: [completed(one) for one in lacking]):
            self._own[model.name] = model
            if not lacks_facts(model):
                with suppress(FiredeckError):  # what a full disk does not take now, the next start makes good
                    await self._store.put_model(model)

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
        self, account: str, model_id: str, file: str, display_name: str | None, base_model: str | None, converted: Path,
        described: Callable[[Model], Model] = _as_it_is,
    ) -> Model:  # fmt: skip
        """Make a GGUF file on this machine a model, or an adapter of `base_model`; of a folder that PEFT or
        transformers have saved, the GGUF file `converted` is made. `described` adds what no file says before it is
        kept. InvalidArgument and FailedPrecondition say why a file cannot be served."""
        name = self._free_name(account, model_id)
        if not Path(file).is_absolute():
            raise InvalidArgument(f"file {file[:200]!r} must be an absolute path", field="file")
        with self._making(name):
            now = datetime.now(UTC)
            declared = Model(
                name=name, display_name=display_name, kind="CUSTOM_MODEL", create_time=now, update_time=now
            )
            if not await asyncio.to_thread(Path(file).is_dir):
                return await self.put(described(await self.files.checked(declared, Path(file), base_model)))
            try:
                files = await asyncio.to_thread(sources.files_in, Path(file))
                await self.files.converted(declared, files, base_model, converted)
                return await self.put(described(await self.files.checked(declared, converted, base_model)))
            except FiredeckError:
                await asyncio.to_thread(converted.unlink, missing_ok=True)
                raise

    async def put(self, model: Model) -> Model:
        """Keep a new or changed model of a user; the model as it is seen then."""
        kept = without_prepared(model)
        await self._store.put_model(kept)
        self._own[kept.name] = kept
        return self.get(kept.name)

    async def delete(self, name: str) -> None:
        """Forget a user's model; its file stays where it is."""
        self.check_delete(name)
        await self._store.drop_model(name)
        self._own.pop(name, None)
        await self.files.forget(name)

    def check_delete(self, name: str) -> None:
        """Raises what `delete` would."""
        if name in self._entries or name in self._nominal:
            raise PermissionDenied(f"{name} belongs to the library and cannot be deleted")
        self.get(name)

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
