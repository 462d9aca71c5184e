"""Errors: one tree, two envelopes, and the same error on both ends of the wire."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, json_format, message_factory, text_format
from hypothesis import given
from hypothesis import strategies as st

from client import errors
from client.errors import FiredeckError, InvalidArgument, ScalingUp, Unavailable, from_response
from tests.arbitrary import JSON

TREE = {
    errors.InvalidArgument: (3, "INVALID_ARGUMENT", 400),
    errors.GuardRefused: (3, "GUARD_REFUSED", 400),
    errors.KeyRefused: (7, "KEY_REFUSED", 403),
    errors.FailedPrecondition: (9, "FAILED_PRECONDITION", 400),
    errors.Unauthenticated: (16, "UNAUTHENTICATED", 401),
    errors.PermissionDenied: (7, "PERMISSION_DENIED", 403),
    errors.NotFound: (5, "NOT_FOUND", 404),
    errors.AlreadyExists: (6, "ALREADY_EXISTS", 409),
    errors.ResourceExhausted: (8, "RESOURCE_EXHAUSTED", 429),
    errors.SpendLimitExceeded: (8, "MONTHLY_SPEND_LIMIT_EXCEEDED", 402),
    errors.Internal: (13, "INTERNAL", 500),
    errors.Unavailable: (14, "UNAVAILABLE", 503),
    errors.ScalingUp: (14, "DEPLOYMENT_SCALING_UP", 503),
    errors.DeadlineExceeded: (4, "DEADLINE_EXCEEDED", 504),
}
INFERENCE_CODES = {errors.Unauthenticated: "UNAUTHORIZED"}  # https://docs.fireworks.ai (inference error codes)
ENVELOPES = st.fixed_dictionaries(
    {}, optional={"error": JSON, "message": JSON, "code": JSON, "details": JSON, "detail": JSON}
)


@pytest.mark.parametrize(("cls", "figures"), TREE.items())
def test_each_error_has_the_code_and_status_of_google_rpc(cls, figures):
    assert (cls.grpc, cls.name, cls.status) == figures


@pytest.mark.parametrize("cls", TREE)
def test_the_inference_envelope_brings_the_very_same_error_back(cls):
    sent = cls("no", field="model", hint="do this", retry_after_s=5)
    body = sent.inference_body("req-1")
    assert body == {
        "error": {
            "message": "no (do this)",
            "type": "error",
            "code": INFERENCE_CODES.get(cls, cls.name),
            "param": "model",
        },
        "request_id": "req-1",
    }
    got = from_response(cls.status, body, 5.0)
    assert (type(got), got.message, got.field, got.retry_after_s) == (cls, "no (do this)", "model", 5.0)


@pytest.mark.parametrize("cls", TREE)
def test_the_control_plane_envelope_brings_the_same_error_back(cls):
    body = cls("no", field="maxReplicaCount").control_plane_body()
    violations = [{"field": "maxReplicaCount", "description": "no"}]
    [detail] = body.pop("details")
    assert body == {"code": cls.grpc, "message": "no"}
    assert detail == {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
    body["details"] = [detail]
    got = from_response(cls.status, body)
    told_by_code = {ScalingUp: Unavailable, errors.SpendLimitExceeded: errors.ResourceExhausted}
    told_by_code |= {errors.GuardRefused: InvalidArgument, errors.KeyRefused: errors.PermissionDenied}
    assert type(got) is told_by_code.get(cls, cls)
    assert (got.message, got.field) == ("no", "maxReplicaCount")


def test_protobufs_own_reader_takes_the_details():
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    text = """
        name: "status.proto" package: "google.rpc" syntax: "proto3" dependency: "google/protobuf/any.proto"
        message_type { name: "Status"
            field { name: "code" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }
            field { name: "message" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
            field { name: "details" number: 3 type: TYPE_MESSAGE type_name: ".google.protobuf.Any"
                    label: LABEL_REPEATED }
        }
        message_type { name: "BadRequest"
            nested_type { name: "FieldViolation"
                field { name: "field" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
                field { name: "description" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
            }
            field { name: "field_violations" json_name: "fieldViolations" number: 1 type: TYPE_MESSAGE
                    type_name: ".google.rpc.BadRequest.FieldViolation" label: LABEL_REPEATED }
        }
    """  # google/rpc/status.proto and error_details.proto, as far as they matter here
    pool.Add(text_format.Parse(text, descriptor_pb2.FileDescriptorProto()))
    status, told = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.rpc.{name}"))
        for name in ("Status", "BadRequest")
    )
    body = InvalidArgument("no", field="maxReplicaCount").control_plane_body()
    read = json_format.ParseDict(body, status(), descriptor_pool=pool)
    assert read.details[0].Is(told.DESCRIPTOR)
    detail = told.FromString(read.details[0].value)
    assert [(v.field, v.description) for v in detail.field_violations] == [("maxReplicaCount", "no")]


def test_an_error_without_a_field_has_empty_details_as_the_live_service_has():
    assert errors.NotFound("resource not found").control_plane_body() == {
        "code": 5, "message": "resource not found", "details": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "cls"),
    [(401, errors.Unauthenticated), (404, errors.NotFound), (502, Unavailable), (500, errors.Internal)],
)
@pytest.mark.parametrize("body", [None, "<html>", [], {}, 5, {"detail": "Not Found"}])
def test_an_answer_in_no_known_envelope_is_told_by_its_status(status, cls, body):
    got = from_response(status, body)
    assert type(got) is cls
    assert str(status) in got.message or got.message == "Not Found"


@given(st.integers(100, 599), JSON | ENVELOPES)
def test_reading_an_error_never_fails_itself(status, body):
    got = from_response(status, body)
    assert isinstance(got, FiredeckError)
    assert isinstance(got.message, str)
    assert got.field is None or isinstance(got.field, str)


@pytest.mark.parametrize("status", [405, 412, 413, 422])
def test_any_other_4xx_is_the_callers_error_not_the_servers(status):
    assert isinstance(from_response(status, {"detail": [{"msg": "bad"}]}), InvalidArgument)
