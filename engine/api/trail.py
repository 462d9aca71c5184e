"""Pure ASGI around the control plane: every request with a rule is written into the audit log.

A change is written down before its answer goes out; what it made belongs from then on to whose key it was. A dry run
changes nothing: it stands among the reads, under a name of its own (`DeleteDeploymentDryRun`).
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import replace
from urllib.parse import parse_qs

from client.access_types import ADMIN
from client.errors import FiredeckError
from client.names import LOCAL_ACCOUNT
from engine.access.rules import RULES, Rule
from engine.asgi import Message, Receive, Scope, Send, headers_of
from engine.house import House
from engine.keys import Principal
from engine.telemetry.audit import Seen, resource_of
from engine.telemetry.quoted import unquoted

log = logging.getLogger(__name__)

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
        if rule is None:
            return
        if caller is None:
            self._refused(scope, error)
            return
        headers = headers_of(scope)
        made = _made(rule, status, body)
        access = self._house.access
        note = access.audit.add if rule.changes else access.reads.note
        note(
            Seen(
                change=rule.changes, account=caller.account,
                principal=access.users.principal(caller.account, caller.user),
                method=scope["method"], message=rule.action, resource=made or resource_of(scope["path"]),
                code=error.name if error else "OK" if status < 400 else "INTERNAL",
                detail=unquoted(error.message) if error else "", admin=rule.least == ADMIN,
                key_id=caller.key_id, client_ip=(scope.get("client") or ("",))[0],
                user_agent=headers.get("user-agent", ""), owner=caller.user if made else None,
            )
        )  # fmt: skip

    def _refused(self, scope: Scope, error: FiredeckError | None) -> None:
        """Nobody may fill the log without a key: these are counted."""
        if error is not None:
            asked = scope.get("path_params", {}).get("account", "")
            known = asked in self._house.keyring.accounts()
            self._house.access.refusals.of_a_key(scope, error, asked if known else LOCAL_ACCOUNT)

    async def _commit(self) -> None:
        try:
            await self._house.access.audit.commit()
        except Exception as error:  # the change has been made: saying otherwise would be wrong
            log.warning("a change is acknowledged before its audit record is on disk: %s", error)


def _rule(scope: Scope) -> Rule | None:
    rule = RULES.get((scope["method"], getattr(scope.get("route"), "path", "")))
    if rule is not None and rule.changes and _only_asked(scope):
        return replace(rule, action=rule.action + "DryRun", changes=False)
    return rule


def _made(rule: Rule, status: int, body: bytes) -> str:
    """The name of what a request has made, "" when it made nothing."""
    if not rule.changes or not rule.action.startswith("Create") or status != 200:
        return ""
    with contextlib.suppress(ValueError):
        made = json.loads(body)
        return str(made.get("name", "")) if isinstance(made, dict) else ""
    return ""


def _only_asked(scope: Scope) -> bool:
    """Whether the request asked what would be made, and no more."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return any(query.get(switch, [""])[-1].lower() in _TRUE for switch in ("validateOnly", "dryRun"))
