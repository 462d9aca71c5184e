"""The records of which models are deployed where: as they are written, as they are shown, and which is the default.

The default of a model is where its bare name goes. There is one as long as any of its records can be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from client.addon_types import DeployedModel
from client.errors import NotFound
from client.types import Deployment, Status
from engine.control.addons import UNDEPLOYING
from engine.fleet.deployed_state import state_of
from engine.fleet.directory import Directory, Offer
from engine.fleet.keeper import Keeper
from engine.fleet.rooms import Rooms


class Book:
    """All records by name, in the order in which they were made; what can be asked for is in the `directory` too.
    `keeper_of` finds the keeper of a deployment, or raises NotFound. Changes are for one at a time."""

    def __init__(self, rooms: Rooms, keeper_of: Callable[[str], Keeper], directory: Directory) -> None:
        self.records: dict[str, DeployedModel] = {}
        self._store = rooms.store
        self._keeper_of = keeper_of
        self._directory = directory

    def __iter__(self) -> Iterator[DeployedModel]:
        return iter(list(self.records.values()))

    async def load(self) -> None:
        """What an earlier engine wrote."""
        self._take(*await self._store.deployed_models())

    def of(self, deployment: str) -> list[DeployedModel]:
        return [record for record in self if record.deployment == deployment]

    def addons_on(self, deployment: str) -> list[DeployedModel]:
        """The adapters beside its base, be they being unloaded."""
        base = self._keeper_of(deployment).deployment.base_model
        return [r for r in self.of(deployment) if r.model != base]

    def standing_on(self, deployment: str) -> list[DeployedModel]:
        """Those of them that are to stay, the newest last."""
        return [r for r in self.addons_on(deployment) if r.state != UNDEPLOYING]

    def offered_on(self, deployment: str) -> list[DeployedModel]:
        """What can be asked for there: by the index, for requests ask this."""
        return [self.records[name] for name in self._directory.names_on(deployment)]

    def shown(self, record: DeployedModel) -> DeployedModel | None:
        """The record as it is now; None while its deployment is deleted, or gone."""
        try:
            keeper = self._keeper_of(record.deployment or "")
        except NotFound:
            return None
        if keeper.deleted:
            return None
        state, why = state_of(record, keeper)
        status = Status(code="FAILED_PRECONDITION", message=why[:900]) if why else Status()
        return record.model_copy(update={"state": state, "status": status})

    def same(self, model: str, account: str) -> list[DeployedModel]:
        """All records of a model in an account."""
        return [r for r in self if r.model == model and account_of(r.name) == account]

    def lives(self, record: DeployedModel) -> bool:
        """Whether its deployment is there and not deleted."""
        try:
            return not self._keeper_of(record.deployment or "").deleted
        except NotFound:
            return False

    def is_base(self, record: DeployedModel) -> bool:
        """Whether it is its deployment's own model, not an adapter beside it."""
        return record.model == self._keeper_of(record.deployment or "").deployment.base_model

    def is_addon(self, record: DeployedModel) -> bool:
        """Whether it is an adapter, of a deployment that is there, maybe deleted."""
        try:
            return not self.is_base(record)
        except NotFound:
            return False

    def is_held(self, record: DeployedModel) -> bool:
        """Whether a replica has it in memory."""
        try:
            keeper = self._keeper_of(record.deployment or "")
        except NotFound:
            return False
        return keeper.addons.holds(record.model or "", keeper.replicas)

    async def put(
        self, *records: DeployedModel, of: Deployment | None = None, gone: DeployedModel | None = None
    ) -> None:
        """All of them or none, on disk first; `of`: the deployment that is made with them, `gone`: what goes by it."""
        await self._store.put_deployed_models(*records, of=of, gone=gone)
        if gone is not None:
            self.strike(gone)
        self._take(*records)

    async def withdraw(self, record: DeployedModel) -> None:
        """From now on nobody finds it: UNDEPLOYING, until it is dropped."""
        self._take(record.model_copy(update={"state": UNDEPLOYING}))
        try:
            await self._store.put_deployed_models(self.records[record.name])
        except BaseException:
            self._take(record)
            raise

    def strike(self, record: DeployedModel) -> None:
        """It is gone from the disk already."""
        self.records.pop(record.name, None)
        self._directory.withdraw(record.name)

    async def drop(self, record: DeployedModel) -> None:
        """It is gone, and another one the default in its place."""
        await self._store.drop_deployed_model(record.name)
        self.strike(record)
        await self.hand_on(record)

    async def put_default(
        self, record: DeployedModel, of: Deployment | None = None, gone: DeployedModel | None = None
    ) -> None:
        """It becomes the default of its model, and the former one is none any more; `of` and `gone` as in `put`."""
        same = [r for r in self.same(record.model or "", account_of(record.name)) if r.name != record.name]
        demoted = [r.model_copy(update={"default": False}) for r in same if r.default and r is not gone]
        await self.put(record, *demoted, of=of, gone=gone)

    async def hand_on(self, gone: DeployedModel) -> None:
        """The oldest of those that can be asked becomes the default in place of one that went."""
        same = self.same(gone.model or "", account_of(gone.name))
        left = [r for r in same if r.name != gone.name and r.state != UNDEPLOYING and self.lives(r)]
        if gone.default and left and not any(r.default for r in left):
            await self.put(left[0].model_copy(update={"default": True}))

    def _take(self, *records: DeployedModel) -> None:
        for r in records:
            self.records[r.name] = r
            if r.state == UNDEPLOYING:
                self._directory.withdraw(r.name)
            else:
                offer = Offer(r.name, r.model or "", r.deployment or "", bool(r.default), bool(r.public))
                self._directory.offer(offer)


def account_of(name: str) -> str:
    return name.split("/")[1]
