"""All deployments of this engine, and the verbs that change them.

A verb validates, writes the declaration, wakes the keeper, and returns; keepers do the rest.
"""

from __future__ import annotations

import asyncio
from functools import partial

from client.errors import AlreadyExists, FailedPrecondition, NotFound
from client.names import LIBRARY_ACCOUNT, LOCAL_ACCOUNT, Name, check_id, random_id
from client.types import SIMULATED_CLUSTER, UNDELETE_WITHIN, Deployment, ReplicaStats
from engine.control.alerts import Alerts
from engine.control.lifecycle import UPDATING
from engine.deprecation import check_deployable
from engine.fleet import ending
from engine.fleet.checks import (
    check_hosts_nothing,
    check_living,
    check_routed_to_by_none,
    check_takes_its_addons,
    check_unused,
)
from engine.fleet.deployed import DeployedModels
from engine.fleet.difference import counted, counts, difference
from engine.fleet.directory import Deployed, Directory
from engine.fleet.hardware import Hardware, cores_each, hardware_of
from engine.fleet.keeper import Keeper
from engine.fleet.plans import Plans
from engine.fleet.purge import Purge
from engine.fleet.rooms import Rooms
from engine.fleet.routers import Routers
from engine.fleet.scaling import first_count
from engine.fleet.settings import Settings
from engine.fleet.sweep import Sweep
from engine.fleet.takeover import restore, take_over
from engine.published_shapes import PublishedShapes
from engine.shape_files import ShapeFiles
from engine.shapes import NO_OPTIONS, WriteOptions


class Fleet:
    """The deployments by full name."""

    def __init__(self, rooms: Rooms, settings: Settings) -> None:
        self.rooms = rooms
        self.settings = settings
        self.alerts: Alerts = {}  # as they were judged last
        self.hardware = Hardware()  # as it was looked at last
        self._keepers: dict[str, Keeper] = {}
        shape_files = ShapeFiles(settings.shapes, rooms.clock, PublishedShapes(rooms.store))
        self.plans = Plans(rooms.driver, rooms.library, settings.limits, shape_files)
        self.directory = Directory()  # what requests may ask for
        self.deployed = DeployedModels(rooms, self.get, self.directory, settings.unload_addons_after_s)
        self.routers = Routers(rooms, self.get)
        self._purge = Purge(rooms, self._keepers, self.directory, self.deployed)
        self._sweep = Sweep(rooms.clock, self._purge.drop, self.delete)

    async def open(self) -> None:
        """Bring back what was declared, take over replicas that still live, clean up the rest."""
        await self.plans.open()  # first: it may refuse
        await self.rooms.driver.open()
        self.hardware = hardware_of(self.rooms.driver.nodes())
        await self.rooms.lived.open()
        for stored in await self.rooms.store.deployments():
            restore(self.keep(stored.deployment), stored, self.rooms.lived)
        await self.deployed.load()
        await self.routers.load()
        for name, doc in (await self.rooms.store.served_settings()).items():
            if name in self._keepers:
                self._keepers[name].rollout.restore(doc)
        await take_over(self.rooms, self._keepers, await self.rooms.store.replicas())
        for keeper in self._keepers.values():
            keeper.start()
        self._sweep.start(self.sweep)

    async def close(self) -> None:
        """Stop keeping and end every replica: a clean shutdown leaves no process behind."""
        await self._sweep.close()
        await self.routers.close()
        await self.deployed.close()
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers.values()))
        placed = [r.placed for k in self._keepers.values() for r in k.replicas if r.placed]
        await ending.end(self.rooms.driver, placed, self.rooms.clock)
        await self.rooms.notes.close()
        await self.rooms.lived.beat()
        self.rooms.driver.close()

    def keepers(self, account: str | None = None) -> list[Keeper]:
        if account is None:
            return list(self._keepers.values())
        prefix = f"accounts/{account}/"
        return [keeper for name, keeper in self._keepers.items() if name.startswith(prefix)]

    def seen_by(self, account: str | None, *, whole: bool) -> list[Keeper]:
        """What a dashboard of an account shows; to admins (`whole`) of the engine's own the serverless ones too."""
        shared = self.keepers(LIBRARY_ACCOUNT) if whole and account == LOCAL_ACCOUNT else []
        return [*self.keepers(account), *shared]

    def get(self, name: str) -> Keeper:
        """The keeper of a deployment, soft-deleted ones included, or NotFound."""
        keeper = self._keepers.get(name)
        if keeper is None:
            raise NotFound(
                f"deployment {name!r} does not exist", field="name", hint="`firedeck deployment list` shows all"
            )
        return keeper

    async def create(
        self,
        account: str,
        spec: Deployment,
        deployment_id: str | None,
        *,
        by: str,
        validate_only: bool = False,
        options: WriteOptions = NO_OPTIONS,
    ) -> Deployment:
        """A new deployment, CREATING; with `validate_only` what it would be."""
        name = Name(account, "deployments", check_id(deployment_id or random_id(), "deploymentId"))
        self._check_free(name)
        whole = await self.plans.whole(spec, name, options)
        self._check_free(name)  # somebody else may have been quicker meanwhile
        now = self.rooms.clock.wall()
        check_deployable(self.rooms.library.get(whole.base_model or ""), now.date())
        made = whole.model_copy(
            update={
                "state": "CREATING", "create_time": now, "update_time": now, "created_by": by,
                "desired_replica_count": first_count(whole), "replica_count": 0, "replica_stats": ReplicaStats(),
                "cluster": SIMULATED_CLUSTER if self.rooms.driver.simulated else None,
            }
        )  # fmt: skip
        if validate_only:
            return made
        keeper = self.keep(made)
        in_use = partial(self.deployed.add_base, keeper, by)  # one without the other would be found by no bare name
        try:
            await keeper.record.begin(in_use if options.auto_deploy else self.rooms.store.put_deployment)
        except BaseException:
            del self._keepers[str(name)]
            self.directory.forget(str(name))
            raise
        keeper.begin(first_count(made))
        await keeper.announce("Normal", "Created", f"by {by}: {made.base_model}, {counts(made)}")
        if missing := self.plans.to_fetch(made):
            await keeper.announce("Normal", "FilesMissing", missing)
        keeper.start()
        return made

    async def update(
        self,
        name: str,
        changes: Deployment,
        mask: frozenset[str] | None,
        *,
        by: str,
        validate_only: bool = False,
        options: WriteOptions = NO_OPTIONS,
    ) -> Deployment:
        """The deployment with the changed fields; with `validate_only` UPDATING where replicas would be replaced."""
        keeper = self._living(name)
        await self.plans.prepare(keeper.deployment, changes)

        def changed(current: Deployment) -> Deployment:
            check_living(current)  # it may have been deleted meanwhile
            new = self.plans.changed(current, changes, mask, options)
            hosted, merged = self.deployed.addons_on(name), bool(current.enable_hot_reload_latest_addon)
            check_takes_its_addons(new, hosted, self.deployed.adapters_on(name), was_merged=merged)
            return new.model_copy(update={"update_time": self.rooms.clock.wall()})

        if validate_only:
            planned = changed(keeper.deployment)
            return planned.model_copy(update={"state": UPDATING}) if keeper.would_replace(planned) else planned
        former = keeper.deployment
        declared = await keeper.declare(changed)
        keeper.meter.used()
        keeper.retry_now()
        await keeper.announce("Normal", "Updated", f"by {by}: {difference(former, declared)}")
        return declared

    async def scale(self, name: str, count: int, *, by: str) -> None:
        """Want `count` replicas now. Outside min and max is refused, not clamped silently."""
        keeper = self.check_scale(name, count)

        def wanted(current: Deployment) -> Deployment:
            check_living(current)  # it may have been deleted meanwhile
            # With its time: to write what is there already asks nothing of the disk, and one that is full has to refuse
            # what could not be put into the audit log either.
            return current.model_copy(update={"desired_replica_count": count, "update_time": self.rooms.clock.wall()})

        await keeper.declare(wanted)
        keeper.scale_to(count)
        keeper.retry_now()
        await keeper.announce("Normal", "ScaleRequested", f"by {by}: {counted(count)}")

    def check_scale(self, name: str, count: int) -> Keeper:
        """The one that would be scaled; raises what `scale` would."""
        keeper = self._living(name)
        low, high = keeper.deployment.min_replica_count or 0, keeper.deployment.max_replica_count or 0
        if not low <= count <= high:
            raise FailedPrecondition(
                f"replicaCount {count} is outside {low} to {high}",
                field="replicaCount",
                hint="change minReplicaCount or maxReplicaCount first: firedeck deployment update",
            )
        return keeper

    def check_delete(self, name: str, *, hard: bool, ignore_checks: bool) -> None:
        """Raises what `delete` would."""
        keeper = self.get(name)
        if keeper.deleted and not hard:
            raise NotFound(f"deployment {name!r} is deleted already", field="name", hint="undelete it, or hard=true")
        if not ignore_checks and not keeper.deleted:
            check_routed_to_by_none(name, self.routers.users_of(name))
            check_unused(keeper, self.rooms.clock.wall())
            check_hosts_nothing(name, self.deployed.addons_on(name))

    async def delete(self, name: str, *, by: str, hard: bool, ignore_checks: bool) -> None:
        """Soft: kept for undelete until its purge time. Hard: gone once its replicas have ended."""
        self.check_delete(name, hard=hard, ignore_checks=ignore_checks)
        keeper, now = self.get(name), self.rooms.clock.wall()
        times = {"delete_time": now, "purge_time": now if hard else now + UNDELETE_WITHIN, "state": "DELETING"}

        def gone(current: Deployment) -> Deployment:
            self._purge.check_not_begun(current)
            return current.model_copy(update=times)

        if not keeper.deleted:
            await keeper.declare(gone)
            self.directory.hide(name)  # all of it before anything is waited for: somebody may bring it back
            keeper.meter.used()  # it is kept for undelete from now on
            keeper.lobby.refuse(NotFound(f"deployment {name!r} was deleted", field="model"))
            await self.deployed.withdraw(name)
            await keeper.announce("Normal", "Deleted", f"by {by}" + (", for good" if hard else ", can be undeleted"))
        else:
            await keeper.declare(gone)  # should the purge fail, the sweep tries it again
        if hard:
            await self._purge.drop(keeper)

    async def undelete(self, name: str, *, by: str) -> Deployment:
        keeper = self.get(name)
        if not keeper.deleted:
            raise FailedPrecondition(f"deployment {name!r} is not deleted", field="name")
        self.rooms.library.get(keeper.deployment.base_model or "")  # it may have been deleted meanwhile
        self.plans.check_draft(keeper.deployment)
        back = {"delete_time": None, "purge_time": None, "state": "CREATING", "update_time": self.rooms.clock.wall()}

        def restored(current: Deployment) -> Deployment:
            self._purge.check_stays(current)
            return current.model_copy(update=back)

        declared = await keeper.declare(restored)
        self.directory.deploy(Deployed(name, declared.base_model or ""))
        keeper.fresh_start()
        keeper.begin(first_count(declared))
        await self.deployed.bring_back(name)
        await keeper.announce("Normal", "Undeleted", f"by {by}")
        return declared

    def uses(self, model: str) -> list[str]:
        """The living deployments of a model, as their base or their draft model."""
        living = [k for k in self._keepers.values() if not k.deleted]
        return [k.name for k in living if model in (k.deployment.base_model, k.deployment.draft_model)]

    def keep(self, deployment: Deployment) -> Keeper:
        """A keeper for a deployment, not started yet."""
        keeper = self._keepers[deployment.name] = Keeper(deployment, self.rooms, self._cores_each)
        self.directory.deploy(Deployed(keeper.name, deployment.base_model or ""))
        if keeper.deleted:
            self.directory.hide(keeper.name)
        return keeper

    def _cores_each(self) -> int:
        replicas = sum(keeper.deployment.max_replica_count or 0 for keeper in self.keepers() if not keeper.deleted)
        return cores_each(self.rooms.driver.nodes(), replicas)

    def _check_free(self, name: Name) -> None:
        if str(name) in self._keepers:
            raise AlreadyExists(
                f"deployment {str(name)!r} already exists", field="deploymentId", hint="choose another id"
            )

    def _living(self, name: str) -> Keeper:
        keeper = self.get(name)
        check_living(keeper.deployment)
        return keeper

    async def sweep(self) -> None:
        """Look at the nodes, let go what goes by itself (`engine.fleet.sweep`), unload adapters that nobody uses."""
        self.hardware = hardware_of(self.rooms.driver.nodes())
        await self.rooms.lived.beat()
        await self._sweep.all(self.keepers())
        await self.deployed.care.sweep()
