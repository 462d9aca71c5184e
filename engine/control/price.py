"""What replicas and tokens cost. Pure: integers of milliseconds, micro-US-dollars an hour and parts of a dollar a
token, so that sums are exact.

A dedicated deployment is charged for each accelerator of each replica, for as long as the replica takes requests,
idle or not (https://docs.fireworks.ai/guides/ondemand-deployments: "billed by GPU-second"). Its tokens cost nothing
besides, unless a price list says so. Of a serverless one, which no caller owns, the tokens alone are charged, by the
size of the model (https://fireworks.ai/pricing).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

HOUR_MS = 3_600_000
MICRO = 1_000_000
TOKEN_UNITS = 10**10  # of a US dollar: what charges for tokens are counted in
CPU = "cpu"  # in a price list: a machine of which a replica takes no accelerator
UNDER_4B, TO_16B, OVER_16B, MOE_TO_56B, MOE_TO_176B = SIZES = ("<4B", "4B-16B", ">16B", "MoE 0B-56B", "MoE 56B-176B")


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """Units of 1e-10 US dollars a token."""

    prompt: int
    cached: int
    generated: int


def size_of(parameters: int | None, moe: bool | None) -> str | None:
    """The one of SIZES that a model is of, a mixture of experts (`moe`) by all its parameters; None where either is not
    known, and for mixtures beyond 176B, which have none."""
    if parameters is None or moe is None:
        return None
    if moe:
        return MOE_TO_56B if parameters <= 56e9 else MOE_TO_176B if parameters <= 176e9 else None
    return UNDER_4B if parameters < 4e9 else TO_16B if parameters <= 16e9 else OVER_16B


@dataclass(frozen=True, slots=True)
class Served:
    """What tokens are asked of: a model by its full name, how large it is, and whether a serverless deployment has it;
    None where something is not known."""

    model: str
    parameters: int | None = None
    moe: bool | None = None
    serverless: bool = False


@dataclass(frozen=True, slots=True)
class Bucket:
    """Models whose tokens have one price: those with a name like one of `models`, of at most `parameters_max`, of one
    of SIZES, and `serverless` or not; None: any."""

    price: TokenPrice
    models: tuple[str, ...] = ("*",)
    parameters_max: float | None = None
    size: str | None = None
    serverless: bool | None = None

    def holds(self, one: Served) -> bool:
        """A size that is not known is within no bound."""
        if not any(fnmatchcase(one.model, pattern) for pattern in self.models):
            return False
        if self.serverless not in (None, one.serverless) or self.size not in (None, size_of(one.parameters, one.moe)):
            return False
        return self.parameters_max is None or (one.parameters is not None and one.parameters <= self.parameters_max)


@dataclass(frozen=True, slots=True)
class PriceList:
    """`hours`: US dollars an hour of one accelerator by type, or of a whole machine under CPU."""

    hours: Mapping[str, float] = field(default_factory=dict)
    buckets: tuple[Bucket, ...] = ()

    def node_price(self, accelerator_type: str | None, accelerators: int) -> float | None:
        """An hour of a whole node, as a replica with accelerators of this type, or without any, is to pay for it; None
        where that is not listed."""
        if accelerator_type is None:
            return self.hours.get(CPU)
        price = self.hours.get(accelerator_type)
        return None if price is None else price * accelerators

    def tokens(self, served: Served) -> TokenPrice | None:
        """Of the first bucket that holds it; None where none does."""
        return next((one.price for one in self.buckets if one.holds(served)), None)


def micro_usd_per_hour(
    node_price: float | None, *, accelerators: int, of_accelerators: int, threads: int, of_threads: int
) -> int | None:
    """An hour of one replica on a node that costs `node_price` US dollars an hour; None where it has no price.

    A replica pays for its part of the node: of its accelerators, or where it has none, of the threads
    that it runs at once, `of_threads` (as many as it has cores, however many it was promised).
    """
    if node_price is None:
        return None
    part, whole = (accelerators, of_accelerators) if accelerators else (threads, of_threads)
    return round(node_price * MICRO * part / max(whole, part, 1))


@dataclass(slots=True)
class Totals:
    """Sums over the time of replicas. `charges`: milliseconds times micro-US-dollars an hour; `unpriced_ms` is the part
    of `replica_ms` that no price is known for; `token_charges` are in TOKEN_UNITS of a dollar."""

    replica_ms: int = 0
    accelerator_ms: int = 0
    unpriced_ms: int = 0
    simulated_ms: int = 0
    charges: int = 0
    token_charges: int = 0

    def add(self, ms: int, *, accelerators: int, price: int | None, simulated: bool) -> None:
        """`ms` of a replica with so many accelerators, at `price` micro-US-dollars an hour."""
        self.replica_ms += ms
        self.accelerator_ms += ms * accelerators
        self.simulated_ms += ms if simulated else 0
        self.unpriced_ms += ms if price is None else 0
        self.charges += ms * (price or 0)

    def join(self, other: Totals) -> None:
        self.replica_ms += other.replica_ms
        self.accelerator_ms += other.accelerator_ms
        self.unpriced_ms += other.unpriced_ms
        self.simulated_ms += other.simulated_ms
        self.charges += other.charges
        self.token_charges += other.token_charges

    @property
    def accelerator_hours(self) -> float:
        return self.accelerator_ms / HOUR_MS

    @property
    def usd(self) -> float | None:
        """US dollars; None where nothing of it has a price, which is not the same as 0."""
        if self.replica_ms and self.unpriced_ms == self.replica_ms and not self.token_charges:
            return None
        return self.charges / (HOUR_MS * MICRO) + self.token_charges / TOKEN_UNITS
