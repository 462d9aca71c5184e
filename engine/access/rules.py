"""One table: every route, the least role that may use it, and the name under which the audit log knows it. Pure.

Roles and what each may are Fireworks' (https://docs.fireworks.ai/accounts/users): an inference user sees all resources
(not the weights behind them, nor where they lie), runs inference and manages keys of its own; a contributor also makes
resources and changes those it made; a user changes everybody's; an admin also manages users, their keys, quotas, and
reads the audit log.

A route that is not in the table is refused for everyone, so that a new one cannot be forgotten open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from client.access_types import ADMIN, CONTRIBUTOR, INFERENCE_USER, ROLES, USER
from client.errors import Internal, PermissionDenied
from client.names import LIBRARY_ACCOUNT, LOCAL_ACCOUNT
from engine.keys import Principal
from engine.unoffered import OPERATIONS, Operation

Route = tuple[str, str]  # method, path template

_V1 = "/v1/accounts/{account}"
_OWN = "/firedeck/v1/accounts/{account}"


@dataclass(frozen=True, slots=True)
class Rule:
    """`least` is the least role. `others`: the least role for what another user owns. `library`: any
    account's keys may do it to what the library's account has. `public`: so they may to what its owner has made public,
    which the route itself tells. `operated`: so may admins of the engine's own account, who operate it, and nobody
    else: it tells of what other accounts do there. `changes`: whether it changes anything, whatever its verb is."""

    action: str
    least: str
    others: str | None = None
    library: bool = False
    public: bool = False
    operated: bool = False
    changes: bool = True


def _read(action: str) -> Rule:
    return Rule(action, INFERENCE_USER, library=True, changes=False)


def _see(action: str, least: str = INFERENCE_USER, others: str | None = None) -> Rule:
    """Reading what the account keeps to itself."""
    return Rule(action, least, others=others, changes=False)


def _watch(action: str) -> Rule:
    """Reading what happens to a deployment: of a serverless one, who uses it and with what."""
    return Rule(action, INFERENCE_USER, operated=True, changes=False)


def _make(action: str) -> Rule:
    return Rule(action, CONTRIBUTOR)


def _change(action: str) -> Rule:
    return Rule(action, CONTRIBUTOR, others=USER)


def _unoffered(operation: Operation) -> Rule:
    """As for what is offered: what is made of it is refused to whoever might not make it."""
    if operation.method == "GET":
        content = operation.path.endswith(":getDownloadEndpoint")
        return _see(operation.action, CONTRIBUTOR if content else INFERENCE_USER)
    return _make(operation.action) if operation.outcome == "unimplemented" else _change(operation.action)


# Without a key: probes, scrapers, the documents of all routes, and files at signed addresses.
OPEN: frozenset[Route] = frozenset(
    {
        ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.json"),
        ("GET", "/firedeck/v1/openapi.json"), ("GET", "/firedeck/v1/inference/openapi.json"),
        ("GET", "/firedeck/v1/files/{ticket}"), ("PUT", "/firedeck/v1/files/{ticket}"),  # whose path is signed
    }
)  # fmt: skip

RULES: Mapping[Route, Rule] = {
    ("GET", "/v1/accounts"): _read("ListAccounts"),
    ("GET", _V1): _read("GetAccount"),
    ("GET", f"{_V1}/metrics"): _see("GetMetrics"),
    ("GET", "/verifyApiKey"): _read("VerifyApiKey"),
    ("GET", "/firedeck/v1/whoami"): _read("WhoAmI"),
    ("GET", f"{_V1}/models"): _read("ListModels"),
    ("GET", f"{_V1}/models/{{model_id}}"): replace(_read("GetModel"), public=True),
    ("POST", f"{_V1}/models"): _make("CreateModel"),
    ("PATCH", f"{_V1}/models/{{model_id}}"): _change("UpdateModel"),
    ("POST", f"{_V1}/models/{{model_id}}:prepare"): replace(_change("PrepareModel"), library=True),
    ("POST", f"{_V1}/models/{{model_id}}:import"): _change("ImportModel"),
    ("POST", f"{_V1}/models/{{model_id}}:getUploadEndpoint"): _change("GetModelUploadEndpoint"),
    ("GET", f"{_V1}/models/{{model_id}}:validateUpload"): _change("ValidateModelUpload"),
    ("GET", f"{_V1}/models/{{model_id}}:getDownloadEndpoint"): replace(
        _read("GetModelDownloadEndpoint"), least=CONTRIBUTOR
    ),
    ("DELETE", f"{_V1}/models/{{model_id}}"): _change("DeleteModel"),
    ("POST", "/v1/validateModelConfig"): _see("ValidateModelConfig", CONTRIBUTOR),
    ("POST", f"{_OWN}/models"): _make("CreateModel"),
    ("GET", f"{_V1}/deployments"): _read("ListDeployments"),
    ("GET", f"{_V1}/deployments/{{deployment_id}}:metrics"): _read("GetDeploymentMetrics"),
    ("POST", f"{_V1}/deployments"): _make("CreateDeployment"),
    ("GET", f"{_V1}/deployments/{{deployment_id}}"): _read("GetDeployment"),
    ("PATCH", f"{_V1}/deployments/{{deployment_id}}"): _change("UpdateDeployment"),
    ("PATCH", f"{_V1}/deployments/{{deployment_id}}:scale"): _change("ScaleDeployment"),
    ("DELETE", f"{_V1}/deployments/{{deployment_id}}"): _change("DeleteDeployment"),
    ("POST", f"{_V1}/deployments/{{deployment_id}}:undelete"): _change("UndeleteDeployment"),
    ("GET", f"{_V1}/deployedModels"): _read("ListDeployedModels"),
    ("POST", f"{_V1}/deployedModels"): _make("CreateDeployedModel"),
    ("GET", f"{_V1}/deployedModels/{{deployed_model_id}}"): _read("GetDeployedModel"),
    ("PATCH", f"{_V1}/deployedModels/{{deployed_model_id}}"): _change("UpdateDeployedModel"),
    ("DELETE", f"{_V1}/deployedModels/{{deployed_model_id}}"): _change("DeleteDeployedModel"),
    ("GET", f"{_V1}/deploymentShapes"): _read("ListDeploymentShapes"),
    ("GET", f"{_V1}/deploymentShapes/{{shape_id}}"): _read("GetDeploymentShape"),
    ("GET", f"{_V1}/deploymentShapes/{{shape_id}}/versions"): _read("ListDeploymentShapeVersions"),
    ("GET", f"{_V1}/deploymentShapes/{{shape_id}}/versions/{{version_id}}"): _read("GetDeploymentShapeVersion"),
    ("POST", f"{_V1}/deploymentShapeVersions:match"): _read("MatchDeploymentShapeVersions"),
    ("GET", "/firedeck/v1/fleet"): _read("GetFleet"),
    ("GET", "/firedeck/v1/fleet:watch"): _read("WatchFleet"),
    ("GET", "/firedeck/v1/nodes"): _read("ListNodes"),
    ("GET", "/firedeck/v1/events"): _read("ListEvents"),
    ("GET", f"{_OWN}/deployments/{{deployment_id}}"): _watch("GetDeploymentStatus"),
    ("GET", f"{_OWN}/deployments/{{deployment_id}}/history"): _watch("GetDeploymentHistory"),
    ("GET", f"{_OWN}/deployments/{{deployment_id}}/events"): _watch("ListDeploymentEvents"),
    ("GET", f"{_V1}/users"): _see("ListUsers"),
    ("GET", f"{_V1}/users/{{user_id}}"): _see("GetUser"),
    ("POST", f"{_V1}/users"): Rule("CreateUser", ADMIN),
    ("PATCH", f"{_V1}/users/{{user_id}}"): Rule("UpdateUser", ADMIN),
    ("DELETE", f"{_V1}/users/{{user_id}}"): Rule("DeleteUser", ADMIN),
    ("GET", f"{_V1}/users/{{user_id}}/apiKeys"): _see("ListApiKeys", others=ADMIN),
    ("POST", f"{_V1}/users/{{user_id}}/apiKeys"): Rule("CreateApiKey", INFERENCE_USER, others=ADMIN),
    ("POST", f"{_V1}/users/{{user_id}}/apiKeys:delete"): Rule("DeleteApiKey", INFERENCE_USER, others=ADMIN),
    ("GET", f"{_V1}/secrets"): _see("ListSecrets"),
    ("GET", f"{_V1}/secrets/{{secret_id}}"): _see("GetSecret"),
    ("POST", f"{_V1}/secrets"): _make("CreateSecret"),
    ("PATCH", f"{_V1}/secrets/{{secret_id}}"): _change("UpdateSecret"),
    ("DELETE", f"{_V1}/secrets/{{secret_id}}"): _change("DeleteSecret"),
    ("GET", f"{_V1}/quotas"): _see("ListQuotas"),
    ("GET", f"{_V1}/quotas/{{quota_id}}"): _see("GetQuota"),
    ("PATCH", f"{_V1}/quotas/{{quota_id}}"): Rule("UpdateQuota", ADMIN),
    ("DELETE", f"{_V1}/quotas/{{quota_id}}"): Rule("DeleteQuota", ADMIN),
    ("GET", f"{_OWN}/users/{{user_id}}/apiKeys/{{key_id}}/quotas"): _see("ListApiKeyQuotas", others=ADMIN),
    ("GET", f"{_OWN}/users/{{user_id}}/apiKeys/{{key_id}}/quotas/{{quota_id}}"): _see("GetApiKeyQuota", others=ADMIN),
    ("PATCH", f"{_OWN}/users/{{user_id}}/apiKeys/{{key_id}}/quotas/{{quota_id}}"): Rule("UpdateApiKeyQuota", ADMIN),
    ("DELETE", f"{_OWN}/users/{{user_id}}/apiKeys/{{key_id}}/quotas/{{quota_id}}"): Rule("DeleteApiKeyQuota", ADMIN),
    ("GET", f"{_OWN}/guards"): _see("ListGuards", ADMIN),
    ("GET", f"{_OWN}/guards/{{guard_id}}"): _see("GetGuard", ADMIN),
    ("POST", f"{_OWN}/guards"): Rule("CreateGuard", ADMIN),
    ("PATCH", f"{_OWN}/guards/{{guard_id}}"): Rule("UpdateGuard", ADMIN),
    ("DELETE", f"{_OWN}/guards/{{guard_id}}"): Rule("DeleteGuard", ADMIN),
    ("POST", f"{_OWN}/guards/{{guard_id}}:release"): Rule("ReleaseKey", ADMIN),
    ("GET", f"{_V1}/auditLogs"): _see("ListAuditLogs", ADMIN),
    ("GET", "/firedeck/v1/auditLogs:verify"): _see("VerifyAuditLogs", ADMIN),
    ("GET", f"{_OWN}/alerts"): _see("ListAlerts"),
    ("GET", f"{_OWN}/usage"): _see("GetUsage"),
    ("GET", f"{_OWN}/routers"): _see("ListRouters"),
    ("POST", f"{_OWN}/routers"): _make("CreateRouter"),
    ("GET", f"{_OWN}/routers/{{router_id}}"): _see("GetRouter"),
    ("PATCH", f"{_OWN}/routers/{{router_id}}"): _change("UpdateRouter"),
    ("DELETE", f"{_OWN}/routers/{{router_id}}"): _change("DeleteRouter"),
    ("POST", f"{_OWN}/routers/{{router_id}}:shift"): _change("ShiftRouter"),
    ("GET", f"{_OWN}/usage:tokens"): _see("GetTokenUsage"),
    ("GET", f"{_OWN}/requests"): _see("ListRequests"),
    ("GET", f"{_OWN}/requests/{{request_id}}"): _see("GetRequest"),
    **{(operation.method, operation.path): _unoffered(operation) for operation in OPERATIONS},
}

# Of a body that names what somebody else may own: a deployment that is to take an adapter, a model's former default.
LOAD_ADDON, TAKE_DEFAULT = _change("CreateDeployedModel"), _change("ChangeDefaultDeployedModel")

# The gateway's routes, below /inference/v1 and /v1: any role may infer, on all its account has and what is serverless.
INFERENCE = Rule("Infer", INFERENCE_USER)


def rule_of(method: str, path: str) -> Rule:
    """The rule of a route, by its path template; Internal for one that nobody has given a rule."""
    rule = RULES.get((method, path))
    if rule is None:
        raise Internal(
            f"{method} {path} has no rule of access", hint="it stays closed until engine.access.rules has one"
        )
    return rule


def authorise(
    caller: Principal, rule: Rule, account: str, *, owner: str | None = None, service: str | None = None
) -> None:
    """Raises PermissionDenied unless `caller` may do this in `account`. `owner` is the user whose resource it is,
    `service` the service account, which owns nothing, whose it is."""
    if not rule.public and not (rule.library and account == LIBRARY_ACCOUNT):
        caller.may(account, write=rule.changes)
    operator = rule.operated and account == LIBRARY_ACCOUNT and is_operator(caller)
    if account != caller.account and not (rule.library or operator):
        raise PermissionDenied(f"{rule.action} is for keys of account {account!r} alone", field="account")
    least = rule.others if rule.others and owner != caller.user else rule.least
    if rank(caller.role) >= rank(least):
        return
    whose = " on what another user owns" if least != rule.least else ""
    if whose and service is not None:
        whose = f" for the service account {service[:80]!r}"
    hint = f"use another key, or let an admin run: firedeck user update {caller.user} --role {least}"
    if least == ADMIN:  # nobody is made an admin for one action
        keys = service is not None and "ApiKey" in rule.action
        hint = f"{'keys of service accounts are made and deleted by admins: ' if keys else ''}ask an admin to do it"
    raise PermissionDenied(
        f"{rule.action}{whose} needs the role {least}; user {caller.user!r} is {caller.role}",
        hint=hint,
    )


def is_operator(caller: Principal) -> bool:
    """Whether it may see what all accounts do with what belongs to none of them."""
    return caller.account == LOCAL_ACCOUNT and caller.role == ADMIN


def rank(role: str) -> int:
    """Each role may all that those below it may; one that is not known may nothing."""
    return ROLES.index(role) if role in ROLES else -1
