"""What model strings may stand for, as an index: no request walks over a fleet to find its deployment. Pure.

    data   Deployed    a living deployment, and the model it serves
           Offer       a deployed model that can be asked for: which model on which deployment
           Directory   all of them, by name, by deployment, and by account and model
    verbs  deploy, hide, forget      a deployment is made or brought back, deleted, gone for good
           offer, withdraw           a deployed model is there or has changed, and is not to be asked for any more
    near   `Fleet` and `DeployedModels` keep it, `engine.gateway.resolve` reads it

All names are in full. Whatever can be asked for in several ways is found oldest first; a deployment that was undeleted
is as old as it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployment as routing sees it: its name and the model it serves."""

    name: str
    model: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A deployed model as routing sees it: which model on which deployment. A `public` one is for every account."""

    name: str
    model: str
    deployment: str
    default: bool = False
    public: bool = False


class Directory:
    """Of all accounts. What is of another account is not there, unless it is public."""

    def __init__(self) -> None:
        self._numbers = count()
        self._ages: dict[str, int] = {}
        self._deployments: dict[str, Deployed] = {}  # the living ones
        self._offers: dict[str, Offer] = {}
        self._of = _Shelves[Deployed](self._ages)  # by account
        self._serving = _Shelves[Deployed](self._ages)  # by account and model
        self._on = _Shelves[Offer](self._ages)  # by deployment, be that deleted
        self._meant = _Shelves[Offer](self._ages)  # by account (None: every one), model, and whether it is a default

    def deploy(self, one: Deployed) -> None:
        """It lives, from now on or again, with what is deployed on it."""
        self._ages.setdefault(one.name, next(self._numbers))
        self._deployments[one.name] = one
        self._of.put(_account(one.name), one.name, one)
        self._serving.put((_account(one.name), one.model), one.name, one)
        for offer in self._on.all(one.name):
            self._shelve(offer)

    def hide(self, name: str) -> None:
        """It is deleted, and may be brought back."""
        one = self._deployments.pop(name, None)
        if one is None:
            return
        self._of.drop(_account(name), name)
        self._serving.drop((_account(name), one.model), name)
        for offer in self._on.all(name):
            self._unshelve(offer)

    def forget(self, name: str) -> None:
        """It is gone; what was on it is withdrawn on its own."""
        self.hide(name)
        self._ages.pop(name, None)

    def offer(self, one: Offer) -> None:
        """It can be asked for, as it is now."""
        self._ages.setdefault(one.name, next(self._numbers))
        former = self._offers.get(one.name)
        if former is not None:
            self._unshelve(former)
        self._offers[one.name] = one
        self._on.put(one.deployment, one.name, one)
        if one.deployment in self._deployments:
            self._shelve(one)

    def withdraw(self, name: str) -> None:
        one = self._offers.pop(name, None)
        if one is not None:
            self._unshelve(one)
            self._on.drop(one.deployment, name)
            del self._ages[name]

    # What an account may ask for:

    def deployment(self, name: str, account: str) -> Deployed | None:
        return self._deployments.get(name) if _account(name) == account else None

    def some(self, account: str, most: int) -> list[Deployed]:
        """Its oldest deployments."""
        return list(islice(self._of.all(account), most))

    def serving(self, model: str, account: str) -> Deployed | None:
        """The account's oldest deployment of a model."""
        return self._serving.first((account, model))

    def named(self, name: str, account: str) -> Offer | None:
        """The deployed model of this name."""
        one = self._offers.get(name)
        return one if one is not None and self._is_for(one, account) else None

    def on(self, deployment: str, model: str, account: str) -> Offer | None:
        """The deployed model of this model on a deployment."""
        return next((o for o in self._on.all(deployment) if o.model == model and self._is_for(o, account)), None)

    def meant(self, model: str, account: str, *, default: bool) -> Offer | None:
        """Of the model's defaults, or of the others, the account's oldest, or else the oldest public one."""
        return self._meant.first((account, model, default)) or self._meant.first((None, model, default))

    def names_on(self, deployment: str) -> list[str]:
        """What is deployed there, and not withdrawn."""
        return [offer.name for offer in self._on.all(deployment)]

    def _is_for(self, one: Offer, account: str) -> bool:
        return one.deployment in self._deployments and (one.public or _account(one.name) == account)

    def _shelve(self, one: Offer) -> None:
        for key in _keys(one):
            self._meant.put(key, one.name, one)

    def _unshelve(self, one: Offer) -> None:
        for key in _keys(one):
            self._meant.drop(key, one.name)


class _Shelves(Generic[T]):
    """Named entries below keys, oldest first."""

    def __init__(self, ages: dict[str, int]) -> None:
        self._ages = ages
        # Of a plain dict the first entry is found after a look at all places that were vacated before it.
        self._below: dict[Hashable, OrderedDict[str, T]] = {}

    def put(self, key: Hashable, name: str, entry: T) -> None:
        entries = self._below.setdefault(key, OrderedDict())
        newest = next(reversed(entries), name)
        entries[name] = entry
        if self._ages[name] < self._ages[newest]:  # it has come back, or an older one has changed
            for other in sorted(entries, key=self._ages.__getitem__):
                entries.move_to_end(other)

    def drop(self, key: Hashable, name: str) -> None:
        entries = self._below.get(key)
        if entries is not None:
            entries.pop(name, None)
            if not entries:
                del self._below[key]

    def first(self, key: Hashable) -> T | None:
        return next(iter(self.all(key)), None)

    def all(self, key: Hashable) -> Iterable[T]:
        return self._below[key].values() if key in self._below else ()


def _keys(one: Offer) -> Iterator[Hashable]:
    yield _account(one.name), one.model, one.default
    if one.public:
        yield None, one.model, one.default


def _account(name: str) -> str:
    return name.split("/")[1]
