"""Pure ASGI around the control plane: every request with a rule is written into the audit log.

A change is written down before its answer goes out; what it made belongs from then on to whose key it was.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from urllib.parse import parse_qs

from client.access_types import ADMIN
from client.errors import FiredeckError, ResourceExhausted
from engine.access.rules import RULES, Rule
from engine.asgi import Message, Receive, Scope, Send, headers_of
from engine.house import House
from engine.keys import Principal
from engine.telemetry.audit import Seen

log = logging.getLogger(__name__)

_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})  # as the routes read a switch


class AuditTrail:
    """Wraps an ASGI application whose routes have rules."""

    def __init__(self, app: object, house: House) -> None:
        self._app = app
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # type: ignore[operator]
            return
        held: list[Message] = []

        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                rule = _rule(scope)
                if rule is not None and rule.changes:
                    held.append(message)
                    return
                self._record(scope, message["status"], b"")
            elif held:
                self._record(scope, held[0]["status"], message.get("body", b""))
                await self._commit()
                await send(held.pop())
            await send(message)

        scope.setdefault("state", {})
        await self._app(scope, receive, recorded)  # type: ignore[operator]

    def _record(self, scope: Scope, status: int, body: bytes) -> None:
        rule = _rule(scope)
        caller: Principal | None = scope["state"].get("principal")
        error: FiredeckError | None = scope["state"].get("error")
        account = caller.account if caller else scope.get("path_params", {}).get("account", "")
        # Nobody may fill the log without a key: strangers count only so far as they are answered at all.
        stranger = caller is None and (_throttled(error) or account not in self._house.keyring.accounts())
        if rule is None or stranger:
            return
        headers = headers_of(scope)
        made = _made(scope, rule, status, body)
        self._house.access.audit.add(
            Seen(
                change=rule.changes and caller is not None, account=account,
                principal=self._house.access.users.principal(caller.account, caller.user) if caller else "",
                method=scope["method"], message=rule.action, resource=made or _resource(scope),
                code=error.name if error else "OK" if status < 400 else "INTERNAL",
                detail=_unquoted(error.message) if error else "", admin=rule.least == ADMIN,
                key_id=caller.key_id if caller else "", client_ip=(scope.get("client") or ("",))[0],
                user_agent=headers.get("user-agent", ""), owner=caller.user if caller and made else None,
            )
        )  # fmt: skip

    async def _commit(self) -> None:
        try:
            await self._house.access.audit.commit()
        except Exception as error:  # the change has been made: saying otherwise would be wrong
            log.warning("a change is acknowledged before its audit record is on disk: %s", error)


def _unquoted(message: str) -> str:
    """An error's text without what it quotes of the request: a secret may have been put there by mistake."""
    return _QUOTED.sub("'...'", message)


def _rule(scope: Scope) -> Rule | None:
    return RULES.get((scope["method"], getattr(scope.get("route"), "path", "")))


def _throttled(error: FiredeckError | None) -> bool:
    return isinstance(error, ResourceExhausted)


def _made(scope: Scope, rule: Rule, status: int, body: bytes) -> str:
    """The name of what a request has made, "" when it made nothing."""
    if not rule.action.startswith("Create") or status != 200 or _only_asked(scope):
        return ""
    with contextlib.suppress(ValueError):
        made = json.loads(body)
        return str(made.get("name", "")) if isinstance(made, dict) else ""
    return ""


def _only_asked(scope: Scope) -> bool:
    """Whether the request asked what would be made, and no more."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return any(query.get(switch, [""])[-1].lower() in _TRUE for switch in ("validateOnly", "dryRun"))


def _resource(scope: Scope) -> str:
    """The path's resource: `accounts/local/deployments/chat`, without version and verb."""
    path: str = scope["path"].removeprefix("/firedeck").removeprefix("/v1").removeprefix("/")
    head, slash, last = path.rpartition("/")
    return head + slash + last.partition(":")[0]
