"""The end of a deployment: what is dropped for good, once, and nothing of it comes back."""

from __future__ import annotations

from client.errors import NotFound
from client.types import Deployment
from engine.fleet.deployed import DeployedModels
from engine.fleet.directory import Directory
from engine.fleet.keeper import Keeper
from engine.fleet.rooms import Rooms
from engine.telemetry import metrics


class Purge:
    """Drops deployments out of `keepers`, the directory, the store, the figures and the deployed models."""

    def __init__(
        self, rooms: Rooms, keepers: dict[str, Keeper], directory: Directory, deployed: DeployedModels
    ) -> None:
        self._rooms, self._keepers, self._directory, self._deployed = rooms, keepers, directory, deployed
        self._purging: set[str] = set()  # by name, from the first step to the last

    def check_not_begun(self, deployment: Deployment) -> None:
        """Raises NotFound while it is being dropped: whatever was written of it now would outlive it."""
        if deployment.name in self._purging:
            raise NotFound(f"deployment {deployment.name!r} is deleted for good", field="name")

    def check_stays(self, deployment: Deployment) -> None:
        """Raises NotFound where a deleted deployment can be undeleted no longer."""
        self.check_not_begun(deployment)
        if deployment.purge_time is not None and deployment.purge_time <= self._rooms.clock.wall():
            raise NotFound(f"deployment {deployment.name!r} is deleted for good", field="name", hint="create it anew")

    async def drop(self, keeper: Keeper) -> None:
        """End its replicas, then forget it; nothing to do where that is under way or done.

        Raises what the store raises: the deployment stays deleted, and is kept until the next sweep tries again.
        """
        name = keeper.name
        if name in self._purging or self._keepers.get(name) is not keeper:
            return
        self._purging.add(name)
        try:
            await keeper.stop()
            await self._drop(keeper)
        except Exception:
            keeper.start()  # what is left of its replicas still has to end
            raise
        finally:
            self._purging.discard(name)
        metrics.forget(name)
        await self._deployed.forget(name)

    async def _drop(self, keeper: Keeper) -> None:
        for replica in keeper.replicas:
            if replica.placed:
                self._rooms.driver.stop(replica.placed, force=True)
                self._rooms.driver.forget(replica.placed)
                self._rooms.line.lodgers.gone(replica.id)
                self._rooms.line.freed()
        for replica in keeper.replicas:
            await self._rooms.notes.replica_gone(replica.id)
        keeper.herald.forgotten = True  # before it is: what is announced from now on would outlive it
        try:
            await self._rooms.store.drop_deployment(keeper.name)
        except BaseException:
            keeper.herald.forgotten = False
            raise
        del self._keepers[keeper.name]
        self._directory.forget(keeper.name)
