"""Which models are deployed where: the base of each deployment, and the LoRA adapters beside it.

A record is written first and then acted on: the deployment's `Addons` bring every replica to it. A base has a record
too, made with its deployment, so that `default` says where a bare model name goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from client.addon_types import DeployedModel, DeployedModelSpec
from client.errors import AlreadyExists, FailedPrecondition, NotFound
from client.names import Name, random_id
from client.types import Deployment, Model
from engine import deployed_rules
from engine.control.addons import DEPLOYED, DEPLOYING, UNDEPLOYING
from engine.fleet import addon_route
from engine.fleet.addon_care import AddonCare
from engine.fleet.addon_uses import AddonUses, Former
from engine.fleet.addons import Addon
from engine.fleet.checks import check_room_for, check_share
from engine.fleet.deployed_book import Book, account_of
from engine.fleet.directory import Directory
from engine.fleet.keeper import Keeper
from engine.fleet.leaving import Leaving
from engine.fleet.rooms import Rooms
from engine.serverless import is_shared

MODEL_ID_CHARS = 54  # of a generated id; the rest is a hyphen and eight random characters


class DeployedModels:
    """All records by name; what can be asked for is in the `directory` too. `keeper_of` finds the keeper of a
    deployment, or raises NotFound; for `idle_s` see `AddonCare`."""

    def __init__(
        self, rooms: Rooms, keeper_of: Callable[[str], Keeper], directory: Directory, idle_s: float | None = None
    ) -> None:
        self._rooms = rooms
        self._keeper_of = keeper_of
        self.book = Book(rooms, keeper_of, directory)
        self.uses = AddonUses(rooms)
        self.care = AddonCare(self.uses, self.book, keeper_of, self._put_back, self._unload_if, idle_s)
        self._changing = asyncio.Lock()  # from what a change is made of until it is written: none undoes another
        self.leaving = Leaving(self.book, self.uses, keeper_of, self._changing)

    async def load(self) -> None:
        """What an earlier engine wrote; their deployments must be there already."""
        await self.book.load()
        await self.uses.load([record for record in self.book if self.book.is_addon(record)])
        for record in self.book:
            self._want(record)
        for deployment in {record.deployment or "" for record in self.book if not self.book.lives(record)}:
            await self.withdraw(deployment)  # an engine may have ended between a delete and what follows from it
        self.leaving.start()
        self.care.start()

    async def close(self) -> None:
        await self.care.close()
        await self.leaving.close()

    def all(self, account: str | None = None) -> list[DeployedModel]:
        """What is deployed on living deployments, as it is now, in the order in which it was made."""
        shown = (self.book.shown(r) for r in self.book if account is None or account_of(r.name) == account)
        return [record for record in shown if record is not None]

    def get(self, name: str) -> DeployedModel:
        record = self.book.records.get(name)
        shown = self.book.shown(record) if record else None
        if shown is None:
            raise NotFound(
                f"deployed model {name!r} does not exist", field="name", hint="`firedeck deployed-model list` shows all"
            )
        return shown

    def of_model(self, model: str) -> list[DeployedModel]:
        return [record for record in self.all() if record.model == model]

    def addons_on(self, deployment: str) -> list[DeployedModel]:
        """The adapters on a deployment, be they being unloaded; the base is none."""
        return self.book.addons_on(deployment)

    def adapters_on(self, deployment: str, account: str | None = None) -> list[Model]:
        """The models of those adapters, or of those that an account loaded, but for what is no adapter any more."""
        library = self._rooms.library
        standing = [r for r in self.book.standing_on(deployment) if account in (None, account_of(r.name))]
        models = [library.get(r.model, "model") for r in standing if r.model and library.has(r.model)]
        return [model for model in models if model.is_adapter]

    async def add_base(self, keeper: Keeper, by: str, made: Deployment | None = None) -> None:
        """The record of a deployment's own model; the first deployment of a model is its default. `made`: the
        deployment is new, and is written down with it, so that there is none without the other."""
        async with self._changing:
            base, spec = keeper.deployment.base_model or "", DeployedModel(public=is_shared(keeper.name))
            await self._add(account_of(keeper.name), keeper, base, spec, by, made)

    def serves_base(self, keeper: Keeper) -> bool:
        """Whether a deployment's own model has its record."""
        return any(r.model == keeper.deployment.base_model for r in self.book.of(keeper.name))

    async def create(self, account: str, spec: DeployedModel, *, by: str, replace_merged: bool) -> DeployedModel:
        """Load an adapter onto a deployment of the account, or onto a serverless one, for the account alone: DEPLOYING,
        then DEPLOYED or FAILED. On a deployment that takes one at a time the former may have its place back."""
        keeper, model = await self._checked(account, spec)
        async with self._changing:
            merged = self._merged(keeper, replace=replace_merged)
            serving = addon_route.merged_on(self.book, keeper) if keeper.serves() else None
            oldest = merged[0] if merged else None  # the one that has served, where no replica does now
            former = next((r for r in merged if r.model == serving), oldest)
            record = await self._load(account, keeper, model, spec, by)
            self._take_place(record, merged, self._former(former) if former else None)
        return self.get(record.name)

    async def _put_back(self, account: str, spec: DeployedModel, still: Callable[[], bool]) -> bool:
        """`AddonCare`'s way: what somebody does meanwhile goes before it."""
        keeper, model = await self._checked(account, spec)
        async with self._changing:
            if not still():
                return False
            merged = self._merged(keeper, replace=True)
            by = "nobody, for the errors of the one that took its place"
            self._take_place(await self._load(account, keeper, model, spec, by), merged, None)
        return True

    async def _checked(self, account: str, spec: DeployedModel) -> tuple[Keeper, Model]:
        """Where an adapter is to be loaded, and its model, if that may be."""
        deployed_rules.check_new(spec)
        model = self._rooms.library.get(self._rooms.library.resolve(spec.model or "", account, "model"), "model")
        deployed_rules.check_owner(model, account, "model")
        keeper = self._keeper_of(str(Name.of(spec.deployment or "", "deployments", account, "deployment")))
        if account_of(keeper.name) != account and not is_shared(keeper.name):
            raise NotFound(f"deployment {keeper.name!r} does not exist", field="deployment")
        deployed_rules.check_kept_apart(spec, keeper.name)
        deployed_rules.check_fits(model, keeper.deployment)
        self._check_absent(model.name, keeper)
        await self._rooms.library.files.check_adapter(model)
        return keeper, model

    async def _load(self, account: str, keeper: Keeper, model: Model, spec: DeployedModel, by: str) -> DeployedModel:
        withdrawn = self._check_absent(model.name, keeper)
        check_share(keeper.deployment, account, [*self.adapters_on(keeper.name, account), model])
        check_room_for(keeper.deployment, [*self.adapters_on(keeper.name), model])
        return await self._add(account, keeper, model.name, spec, by, gone=withdrawn)

    def _take_place(self, record: DeployedModel, merged: Sequence[DeployedModel], former: Former | None) -> None:
        """What `merged` took the place of has none to come back to any more: whoever loaded this one chose it."""
        self.uses.add(record, former)
        for replaced in merged:
            self.uses.of(replaced).former = None
        if merged:
            self.leaving.unsettled.set()  # they go once it is there

    def _check_absent(self, model: str, keeper: Keeper) -> DeployedModel | None:
        """AlreadyExists if it is on the deployment; its record if it is being unloaded and replicas still keep it for
        the requests that run with it: then it can stay."""
        there = next((r for r in self.book.of(keeper.name) if r.model == model), None)
        if there is None:
            return None
        if there.state != UNDEPLOYING:
            raise AlreadyExists(f"{model} is on {keeper.name} already", field="model", hint="unload it first")
        if model not in keeper.addons.wanted:
            raise AlreadyExists(
                f"{model} is being unloaded from {keeper.name}", field="model", hint="load it again in a moment"
            )
        return there

    async def update(self, name: str, changes: DeployedModel, paths: frozenset[str] | None) -> DeployedModel:
        """Change `default`, `public`, `displayName` or `description`."""
        async with self._changing:
            return await self._update(name, changes, paths)

    async def _update(self, name: str, changes: DeployedModel, paths: frozenset[str] | None) -> DeployedModel:
        current = self.book.records[self.get(name).name]
        deployed_rules.check_kept_apart(changes, current.deployment or "")
        changed = deployed_rules.updated(current, changes, paths).model_copy(
            update={"update_time": self._rooms.clock.wall()}
        )
        if changed.state == UNDEPLOYING:
            raise FailedPrecondition(f"{name} is being unloaded", field="name")
        if changed.default is False and current.default:
            raise FailedPrecondition(
                f"{name} is the default of its model", field="default", hint="make another one the default instead"
            )
        await (self.book.put_default(changed) if changed.default else self.book.put(changed))
        return self.get(name)

    async def delete(self, name: str, *, by: str) -> None:
        """Take a model off its deployment: UNDEPLOYING, then gone. A base goes with its deployment."""
        shown = self.get(name)
        keeper = self._keeper_of(shown.deployment or "")
        if shown.model == keeper.deployment.base_model:
            raise FailedPrecondition(
                f"{shown.model} is the base model of {keeper.name}", field="name", hint="delete the deployment"
            )
        async with self._changing:
            self.get(name)  # somebody else may have been quicker
            await self.leaving.withdraw(self.book.records[name], keeper)
        await keeper.announce("Normal", "AddonWithdrawn", f"by {by}: {shown.model}")

    async def _unload_if(self, name: str, still: Callable[[], bool]) -> bool:
        """`AddonCare`'s way: no request comes between what `still` sees and the end of the adapter."""
        async with self._changing:
            record = self.book.records.get(name)
            if record is None or not still():
                return False
            await self.leaving.withdraw(record, self._keeper_of(record.deployment or ""))
        return True

    async def forget(self, deployment: str) -> None:
        """A deployment is gone for good, and its records with it."""
        async with self._changing:
            gone = self.book.of(deployment)
            for record in gone:
                self.book.strike(record)
                self.uses.drop(record)
            for record in gone:
                await self.book.hand_on(record)

    async def withdraw(self, deployment: str) -> None:
        """A deployment was deleted and may be undeleted: others stand in where it is the default. Its own records keep
        the mark, unless somebody takes it meanwhile."""
        async with self._changing:
            for record in self.book.of(deployment):
                if not self.book.lives(record):  # else it was brought back meanwhile
                    await self.book.hand_on(record)

    async def bring_back(self, deployment: str) -> None:
        """A deployment was undeleted: it is the default again of what it was, and of what has no other."""
        async with self._changing:
            for record in self.book.of(deployment):
                self.uses.touch(record)
                same = self.book.same(record.model or "", account_of(record.name))
                alone = not any(r.default for r in same if self.book.lives(r))
                if record.state != UNDEPLOYING and (record.default or alone):
                    await self.book.put_default(record.model_copy(update={"default": True}))

    def addons(self, account: str) -> list[DeployedModel]:
        """The account's adapters that can be asked for now."""
        return [r for r in self.all(account) if r.state == DEPLOYED and not self.book.is_base(r)]

    def route(self, offer: str | None, keeper: Keeper) -> str | None:
        """The adapter that a request for this record runs with, as `addon_route` has it."""
        return addon_route.route(self.book, offer, keeper)

    def _former(self, record: DeployedModel) -> Former:
        """What another one takes the place of now."""
        said = {field: getattr(record, field) for field in DeployedModelSpec.model_fields}
        return Former(DeployedModel(**said), self.uses.of(record).outcomes, self._rooms.clock.monotonic())

    async def _add(
        self, account: str, keeper: Keeper, model: str, spec: DeployedModel, by: str,
        made: Deployment | None = None, gone: DeployedModel | None = None,
    ) -> DeployedModel:  # fmt: skip
        now = self._rooms.clock.wall()
        new_id = f"{model.rpartition('/')[2][:MODEL_ID_CHARS]}-{random_id()}"
        others = any(r.default for r in self.book.same(model, account) if self.book.lives(r) and r is not gone)
        record = spec.model_copy(
            update={
                "name": f"accounts/{account}/deployedModels/{new_id}", "model": model, "deployment": keeper.name,
                "display_name": spec.display_name or new_id[:63], "default": bool(spec.default) or not others,
                "public": bool(spec.public), "serverless": is_shared(keeper.name), "state": DEPLOYING,
                "created_by": by, "create_time": now, "update_time": now,
            }
        )  # fmt: skip
        await (self.book.put_default if record.default else self.book.put)(record, of=made, gone=gone)
        if gone is not None:
            await self.book.hand_on(gone)
        self._want(record)
        keeper.look_soon()
        return record

    def _merged(self, keeper: Keeper, *, replace: bool) -> Sequence[DeployedModel]:
        """The adapters that a new one pushes out of a hot-reload deployment, which takes one at a time."""
        if not keeper.deployment.enable_hot_reload_latest_addon:
            return ()
        standing = self.book.standing_on(keeper.name)
        if standing and not replace:
            raise FailedPrecondition(
                f"{keeper.name} takes one adapter at a time and has {standing[0].model}",
                field="model",
                hint="replaceMergedAddon=true puts this one in its place",
            )
        return standing

    def _want(self, record: DeployedModel) -> None:
        """Let the replicas of the deployment hold it, if it is an adapter that is to stay."""
        try:
            keeper = self._keeper_of(record.deployment or "")
            model = self._rooms.library.get(record.model or "", "model")
        except NotFound:
            return
        if model.is_adapter and record.state != UNDEPLOYING and model.name != keeper.deployment.base_model:
            file = model.firedeck
            assert file is not None
            keeper.addons.wanted[model.name] = Addon(self._rooms.library.files.file_of(model.name), file.digest or "")
