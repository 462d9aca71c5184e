"""What the wire has and this engine does not offer: data sets, batches, evaluation and training. One table. Pure.

    data   COLLECTIONS   the resources
           OPERATIONS    the routes that they have, each with what it comes to: a list is empty, what is looked for
                         is not there, and nothing can be made
    near   `engine.access.rules` has who may ask, `engine.api.unoffered` answers

Programs that look whether there is such a thing go on, those that need one are told at once.
Source: Fireworks' OpenAPI-generated SDK 1.2.30; the google.api.http annotations of `gateway.Gateway`, for what the SDK
lacks (`splitDataset`, `debug`, and `evaluators` as the place where one is made).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_V1 = "/v1/accounts/{account}"
_HEAD = re.compile(r"[a-z]+")
_TRAINS = "no training runs here: give the job to an engine that has it"
_JUDGES = "no evaluation runs here: give it to an engine that has it"

Outcome = Literal["empty", "not found", "unimplemented"]


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be done to one of a collection: a method with a suffix, "" for none, and its query parameters."""

    method: str
    name: str = ""
    query: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """`plural` is what it is called in paths and pages, `kind` one of it. `remedy`: what to do without it.

    `verbs`: besides GET and DELETE. `made_at`: where POST makes one, by plurals; `named_by`: the parameter that has its
    id, "" where the body has it.
    """

    plural: str
    kind: str
    remedy: str
    verbs: tuple[Verb, ...] = ()
    made_at: tuple[str, ...] = ()
    named_by: str = ""

    @property
    def one(self) -> str:
        return self.kind[0].lower() + self.kind[1:]


@dataclass(frozen=True, slots=True)
class Operation:
    """A route; `action` is what the audit log calls it, `query` its parameters beside those of every list."""

    method: str
    path: str
    action: str
    outcome: Outcome
    query: tuple[str, ...]
    of: Collection


_CANCEL, _RESUME = Verb("POST", "cancel"), Verb("POST", "resume")

COLLECTIONS = (
    Collection(
        "datasets", "Dataset", "send requests one by one to /v1/chat/completions",
        (
            Verb("POST", "upload"), Verb("POST", "getUploadEndpoint"), Verb("POST", "validateUpload"),
            Verb("POST", "splitDataset"), Verb("GET", "getDownloadEndpoint", ("readMask", "downloadLineage")),
            Verb("PATCH", query=("updateMask",)),
        ),
    ),
    Collection(
        "batchInferenceJobs", "BatchInferenceJob", "send its requests one by one to /v1/chat/completions",
        named_by="batchInferenceJobId",
    ),
    Collection("evaluationJobs", "EvaluationJob", _JUDGES, (Verb("GET", "getExecutionLogEndpoint"),)),
    Collection(
        "evaluators", "Evaluator", _JUDGES,
        (
            Verb("POST", "getUploadEndpoint"), Verb("POST", "validateUpload"),
            Verb("GET", "getBuildLogEndpoint", ("readMask",)), Verb("GET", "getSourceCodeSignedUrl", ("readMask",)),
            Verb("PATCH", query=("updateMask", "prepareCodeUpload")),
        ),
        made_at=("evaluators", "evaluatorsV2"),
    ),
    Collection(
        "dpoJobs", "DpoJob", _TRAINS, (_CANCEL, _RESUME, Verb("GET", "getMetricsFileEndpoint")), named_by="dpoJobId"
    ),
    Collection(
        "supervisedFineTuningJobs", "SupervisedFineTuningJob", _TRAINS, (_CANCEL, _RESUME),
        named_by="supervisedFineTuningJobId",
    ),
    Collection(
        "reinforcementFineTuningJobs", "ReinforcementFineTuningJob", _TRAINS, (_CANCEL, _RESUME, Verb("POST", "debug")),
        named_by="reinforcementFineTuningJobId",
    ),
    Collection(
        "rlorTrainerJobs", "RlorTrainerJob", _TRAINS, (_CANCEL, _RESUME, Verb("POST", "executeTrainStep")),
        named_by="rlorTrainerJobId",
    ),
)  # fmt: skip


def _operations(of: Collection) -> Iterator[Operation]:
    every = f"{_V1}/{of.plural}"
    yield Operation("GET", every, f"List{of.kind}s", "empty", (), of)
    for place in of.made_at or (of.plural,):
        action = f"Create{of.kind}{place.removeprefix(of.plural)}"
        query = (of.named_by,) if of.named_by else ()
        yield Operation("POST", f"{_V1}/{place}", action, "unimplemented", query, of)
    # Suffixes come before the resource itself, whose id would match them.
    for verb in (*of.verbs, Verb("GET", query=("readMask",)), Verb("DELETE")):
        path = f"{every}/{{resource_id}}{':' if verb.name else ''}{verb.name}"
        yield Operation(verb.method, path, _named(verb, of.kind), "not found", verb.query, of)


def _named(verb: Verb, kind: str) -> str:
    """GetDatasetUploadEndpoint for `getUploadEndpoint`, UpdateDataset for PATCH."""
    if not verb.name:
        return {"GET": "Get", "PATCH": "Update", "DELETE": "Delete"}[verb.method] + kind
    head = _HEAD.match(verb.name)
    assert head is not None
    return head[0].title() + kind + verb.name[head.end() :].removeprefix(kind)


OPERATIONS = tuple(operation for collection in COLLECTIONS for operation in _operations(collection))
