"""Every error that crosses the wire, as one small tree.

    FiredeckError
    ├── InvalidArgument        INVALID_ARGUMENT     400
    │   ├── FailedPrecondition FAILED_PRECONDITION  400
    │   │   └── AddonNotLoaded ADDON_NOT_LOADED     412
    │   ├── GuardRefused       GUARD_REFUSED        400
    │   ├── RequestTimeout     REQUEST_TIMEOUT      408
    │   ├── PayloadTooLarge    REQUEST_TOO_LARGE    413
    │   ├── HeadTooLarge       REQUEST_HEADER_FIELDS_TOO_LARGE 431
    │   ├── UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE  415
    │   └── MethodNotAllowed   METHOD_NOT_ALLOWED   405
    ├── Unauthenticated        UNAUTHENTICATED      401 (UNAUTHORIZED in the inference API, as documented)
    ├── PermissionDenied       PERMISSION_DENIED    403
    │   └── KeyRefused         KEY_REFUSED          403
    ├── NotFound               NOT_FOUND            404
    ├── AlreadyExists          ALREADY_EXISTS       409
    ├── ResourceExhausted      RESOURCE_EXHAUSTED   429
    │   └── SpendLimitExceeded MONTHLY_SPEND_LIMIT_EXCEEDED 402
    ├── Internal               INTERNAL             500
    ├── Unimplemented          UNIMPLEMENTED        501
    ├── Unavailable            UNAVAILABLE          503
    │   ├── ScalingUp          DEPLOYMENT_SCALING_UP
    │   └── BadGateway         BAD_GATEWAY          502
    └── DeadlineExceeded       DEADLINE_EXCEEDED    504

An error is raised where the fact is known, with the field at fault and what to do next, and is rendered in
one place: `control_plane_body` (google.rpc.Status JSON) or `inference_body` (OpenAI's envelope).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


class FiredeckError(Exception):
    """An error with a gRPC code, an HTTP status and a remedy.

    `message` says what is wrong, `field` names the offending field (wire spelling, or None), `hint` says what to
    do next (or None), `retry_after_s` is how long a client should wait before trying again (or None).
    """

    grpc: ClassVar[int] = 2
    name: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500
    inference_code: ClassVar[str | None] = None  # where the inference API has another word than `name`
    counted_as: str = ""  # of a refusal that is counted by more than `name`

    def __init__(
        self, message: str, *, field: str | None = None, hint: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint
        self.retry_after_s = retry_after_s

    def because(self, reason: str) -> Self:
        """The same error, with a word of few for who counts refusals."""
        self.counted_as = reason
        return self

    @property
    def text(self) -> str:
        """The message with its remedy, as people read it."""
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def control_plane_body(self) -> dict[str, Any]:
        """google.rpc.Status as JSON: `{"code", "message", "details"}`; the field rides in `details`.

        A detail is a google.protobuf.Any, which says of what type it is (google.rpc.BadRequest, error_details.proto).
        """
        violations = [{"field": self.field, "description": self.message}]
        details = [{"@type": BAD_REQUEST, "fieldViolations": violations}] if self.field else []
        return {"code": self.grpc, "message": self.text, "details": details}

    def inference_body(self, request_id: str = "") -> dict[str, Any]:
        """OpenAI's envelope, with Fireworks' `request_id`."""
        code = self.inference_code or self.name
        error = {"message": self.text, "type": "error", "code": code, "param": self.field}
        return {"error": error, "request_id": request_id}


class InvalidArgument(FiredeckError):
    grpc, name, status = 3, "INVALID_ARGUMENT", 400


class FailedPrecondition(InvalidArgument):
    grpc, name, status = 9, "FAILED_PRECONDITION", 400


class AddonNotLoaded(FailedPrecondition):
    """The documented answer where a LoRA adapter could not be loaded."""

    name, status = "ADDON_NOT_LOADED", 412


class GuardRefused(InvalidArgument):
    """firedeck's own: a guard of the account stands against what was asked, or against its answer."""

    name = "GUARD_REFUSED"


class RequestTimeout(InvalidArgument):
    name, status = "REQUEST_TIMEOUT", 408


class PayloadTooLarge(InvalidArgument):
    name, status = "REQUEST_TOO_LARGE", 413


class HeadTooLarge(InvalidArgument):
    name, status = "REQUEST_HEADER_FIELDS_TOO_LARGE", 431


class UnsupportedMediaType(InvalidArgument):
    name, status = "UNSUPPORTED_MEDIA_TYPE", 415


class MethodNotAllowed(InvalidArgument):
    name, status = "METHOD_NOT_ALLOWED", 405


class Unauthenticated(FiredeckError):
    grpc, name, status = 16, "UNAUTHENTICATED", 401
    inference_code = "UNAUTHORIZED"


class PermissionDenied(FiredeckError):
    grpc, name, status = 7, "PERMISSION_DENIED", 403


class KeyRefused(PermissionDenied):
    """firedeck's own: guards had to stop too many requests of this key; `retry_after_s` tells for how long."""

    name = "KEY_REFUSED"


class NotFound(FiredeckError):
    grpc, name, status = 5, "NOT_FOUND", 404


class AlreadyExists(FiredeckError):
    grpc, name, status = 6, "ALREADY_EXISTS", 409


class ResourceExhausted(FiredeckError):
    grpc, name, status = 8, "RESOURCE_EXHAUSTED", 429


class SpendLimitExceeded(ResourceExhausted):
    """The documented answer over an account's limits of spending: 402, which no SDK tries again by itself."""

    name, status = "MONTHLY_SPEND_LIMIT_EXCEEDED", 402


class Internal(FiredeckError):
    grpc, name, status = 13, "INTERNAL", 500


class Unimplemented(FiredeckError):
    grpc, name, status = 12, "UNIMPLEMENTED", 501


class Unavailable(FiredeckError):
    grpc, name, status = 14, "UNAVAILABLE", 503


class ScalingUp(Unavailable):
    """The documented answer of a deployment at zero whose cold policy is `reject`."""

    name = "DEPLOYMENT_SCALING_UP"


class BadGateway(Unavailable):
    """What answered for a model was no answer."""

    name, status = "BAD_GATEWAY", 502


class DeadlineExceeded(FiredeckError):
    grpc, name, status = 4, "DEADLINE_EXCEEDED", 504


class WaitedTooLong(DeadlineExceeded):
    """What was asked for had not come about in time: said here, where a DeadlineExceeded may be any gateway's 504."""


_BY_STATUS: dict[int, type[FiredeckError]] = {
    400: InvalidArgument,
    401: Unauthenticated,
    402: SpendLimitExceeded,
    403: PermissionDenied,
    404: NotFound,
    409: AlreadyExists,
    412: AddonNotLoaded,
    429: ResourceExhausted,
    408: RequestTimeout,
    501: Unimplemented,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}
_BY_NAME: dict[str, type[FiredeckError]] = {
    name: cls
    for cls in (
        InvalidArgument, FailedPrecondition, Unauthenticated, PermissionDenied, NotFound, AlreadyExists,
        ResourceExhausted, Internal, Unavailable, ScalingUp, DeadlineExceeded, AddonNotLoaded, SpendLimitExceeded,
        GuardRefused, KeyRefused, RequestTimeout, BadGateway, Unimplemented,
    )
    for name in (cls.name, cls.inference_code or cls.name)
}  # fmt: skip
_BY_GRPC: dict[int, type[FiredeckError]] = {
    cls.grpc: cls
    for cls in _BY_NAME.values()
    if cls not in (ScalingUp, AddonNotLoaded, SpendLimitExceeded, GuardRefused, KeyRefused, RequestTimeout, BadGateway)
}


def from_response(status: int, body: Any, retry_after_s: float | None = None) -> FiredeckError:
    """The error that an HTTP answer carries, whichever of the two envelopes it uses; never raises itself."""
    cls = _BY_STATUS.get(status, InvalidArgument if 400 <= status < 500 else Internal)
    message, field = f"HTTP {status}", None
    if isinstance(body, dict):
        inner = body.get("error")
        if isinstance(inner, dict):
            message = str(inner.get("message") or message)
            field = inner.get("param")
            cls = _BY_NAME.get(str(inner.get("code")), cls)
        elif "message" in body:
            message, code = str(body["message"]), body.get("code")
            cls = _BY_GRPC.get(code, cls) if isinstance(code, int) else cls
            field = _field_at_fault(body.get("details"))
    return cls(message, field=field if isinstance(field, str) else None, retry_after_s=retry_after_s)


def _field_at_fault(details: Any) -> Any:
    """The field of the first google.rpc.BadRequest among a google.rpc.Status' details."""
    for detail in details if isinstance(details, list) else ():
        violations = detail.get("fieldViolations") if isinstance(detail, dict) else None
        if isinstance(violations, list) and violations and isinstance(violations[0], dict):
            return violations[0].get("field")
    return None
