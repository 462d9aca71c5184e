"""Who is turned away before anybody is known: bad keys and pages of other sites, in the audit log without filling it.

Of each reason, account, key and client address the first refusal is recorded at once, then one record a minute with the
number of those since, until a minute goes by without any. So many are told apart as `REMEMBERED_MAX`; what comes from
further addresses is counted together, by reason and account. They have a trail of their own: a flood pushes nothing
else out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from client.errors import FiredeckError
from client.names import LOCAL_ACCOUNT
from engine.access.door import FILES, Refused
from engine.access.sweeping import Sweeper
from engine.asgi import Scope, headers_of
from engine.clock import Clock
from engine.keys import KeyRefused
from engine.telemetry.audit import Seen, resource_of
from engine.telemetry.quoted import unquoted

MINUTE_S = 60.0
REMEMBERED_MAX = 256

_Who = tuple[str, str, str, str]  # reason, account, address, key


@dataclass(slots=True)
class _Minute:
    """What was refused since `began`, besides `first`, which has been recorded."""

    first: Seen
    began: float
    more: int = 0


class Refusals:
    """`add` takes what is to be recorded. Open with `open()`, end with `await close()`."""

    def __init__(self, add: Callable[[Seen], None], clock: Clock) -> None:
        self._add = add
        self._clock = clock
        self._minutes: dict[_Who, _Minute] = {}
        self._sweeper = Sweeper(self.sweep, clock, "sum up what was refused")

    def open(self) -> None:
        self._sweeper.open()

    async def close(self) -> None:
        """What was counted so far is recorded."""
        await self._sweeper.close()
        for minute in self._minutes.values():
            self._sum_up(minute)
        self._minutes.clear()

    def at_the_door(self, scope: Scope, error: Refused) -> None:
        """A request that `engine.access.door` refused: on behalf of the engine's own account."""
        self._note(_seen(scope, error.reason, error, LOCAL_ACCOUNT))

    def of_a_key(self, scope: Scope, error: FiredeckError, account: str = LOCAL_ACCOUNT) -> None:
        """A request without a good key, by the error of `Keyring.identify`; a known key is its own account's matter."""
        why = error if isinstance(error, KeyRefused) else error.__cause__  # told to slow down because of it
        if not isinstance(why, KeyRefused):
            return  # a fault of the engine, which its own log tells
        if why.record is not None:
            account = why.record.account
        seen = _seen(scope, why.reason, error, account)
        self._note(replace(seen, key_id=why.record.id) if why.record else seen)

    def _note(self, seen: Seen) -> None:
        who = (seen.message, seen.account, seen.client_ip, seen.key_id)
        if who not in self._minutes and len(self._minutes) >= REMEMBERED_MAX:
            crowd = _summary(seen, f"{seen.detail}; from more than {REMEMBERED_MAX} addresses: the further ones as one")
            seen = replace(crowd, client_ip="", key_id="")
            who = (seen.message, seen.account, "", "")
        if who in self._minutes:
            self._minutes[who].more += 1
            return
        self._minutes[who] = _Minute(seen, self._clock.monotonic())
        self._add(seen)

    def sweep(self) -> None:
        """Sum up every minute that is over; where nothing came in it, the next refusal is a first one again."""
        now = self._clock.monotonic()
        over = [who for who, minute in self._minutes.items() if minute.began + MINUTE_S <= now]
        for who in over:
            minute = self._minutes.pop(who)
            if minute.more:
                self._sum_up(minute)
                self._minutes[who] = _Minute(minute.first, now)

    def _sum_up(self, minute: _Minute) -> None:
        if minute.more:
            seconds = self._clock.monotonic() - minute.began
            self._add(_summary(minute.first, f"{minute.more} more in {seconds:.0f} s"))


def _seen(scope: Scope, reason: str, error: FiredeckError, account: str) -> Seen:
    path: str = scope["path"]
    return Seen(
        change=False, refused=True, account=account, principal="", method=scope["method"], message=reason,
        resource=resource_of(FILES if path.startswith(FILES) else path),  # behind it comes a ticket, which lets in
        code=error.name, detail=unquoted(error.message), admin=False, key_id="",
        client_ip=(scope.get("client") or ("",))[0], user_agent=headers_of(scope).get("user-agent", ""),
    )  # fmt: skip


def _summary(seen: Seen, detail: str) -> Seen:
    """Without what may differ from one request to the next."""
    return replace(seen, method="", resource="", user_agent="", detail=detail)
