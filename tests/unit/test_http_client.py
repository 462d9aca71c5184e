"""The way to an engine: keys, errors, retries and event streams, over a transport that answers from a script."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import errors
from client import http as http_room
from client.config import Context
from client.http import RETRIES, Transport, retry_wait_s
from client.resources import Client
from client.types import AutoscalingPolicy, DeploymentSpec


@pytest.fixture(autouse=True)
def _no_waiting_between_tries(monkeypatch):
    monkeypatch.setattr(http_room, "RETRY_FIRST_WAIT_S", 0.0)


class Script:
    """Answers in turn (the last one again and again) and keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.transport = Transport("http://engine/", "fd_secret", transport=httpx.MockTransport(self._answer))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self) -> Client:
        return Client(Context("http://engine", "fd_secret", "local"), self.transport)


class Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: list[bytes], fails: bool = False) -> None:
        self.pieces, self.fails = pieces, fails

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.fails:
            raise httpx.ReadError("connection reset")


def stream(*pieces: bytes, fails: bool = False) -> Script:
    return Script(httpx.Response(200, stream=Pieces(list(pieces), fails)))


async def events(script: Script) -> list:
    return [event async for event in script.transport.events("POST", "/x", body={})]


OK = httpx.Response(200, json={"ok": True})


async def test_every_request_carries_the_key_and_json_in_and_out():
    script = Script(OK)
    assert await script.transport.send("POST", "/v1/x", query={"a": True, "b": None, "n": 0}, body={"q": "ä"}) == {
        "ok": True
    }
    [request] = script.requests
    assert request.headers["authorization"] == "Bearer fd_secret"
    assert str(request.url) == "http://engine/v1/x?a=true&n=0"
    assert json.loads(request.content) == {"q": "ä"}


async def test_an_empty_answer_is_none():
    assert await Script(httpx.Response(200)).transport.send("DELETE", "/x") is None


def test_the_key_is_not_shown_by_repr():
    assert "fd_secret" not in repr(Transport("http://x", "fd_secret"))
    assert "fd_secret" not in repr(Context("http://x", "fd_secret"))


ENVELOPES = {
    "inference": lambda e: e.inference_body("r1"),
    "control plane": lambda e: e.control_plane_body(),
}


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize(
    "cls", [errors.InvalidArgument, errors.FailedPrecondition, errors.Unauthenticated, errors.PermissionDenied,
            errors.NotFound, errors.AlreadyExists, errors.ResourceExhausted, errors.Internal, errors.DeadlineExceeded],
)  # fmt: skip
async def test_an_error_of_the_engine_is_raised_as_the_same_error_here(cls, envelope):
    body = ENVELOPES[envelope](cls("no", field="f", hint="do"))
    script = Script(httpx.Response(cls.status, json=body, headers={"retry-after": "7"}))
    with pytest.raises(errors.FiredeckError) as raised:
        await script.transport.send("POST", "/x")
    got = raised.value
    assert (type(got), got.message, got.field, got.retry_after_s) == (cls, "no (do)", "f", 7.0)


@pytest.mark.parametrize("retry_after", ["", "soon", "²", "-1", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_retry_after_that_is_no_number_of_seconds_is_passed_over(retry_after):
    answer = httpx.Response(429, json={}, headers=[(b"retry-after", retry_after.encode("latin-1"))])
    with pytest.raises(errors.ResourceExhausted) as raised:
        await Script(answer).transport.send("POST", "/x")
    assert raised.value.retry_after_s is None


@pytest.mark.parametrize("content", [b"<html>", b"\xff\xfe\xfd", b"{", b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 404, 500])
async def test_an_answer_that_is_not_json_is_still_one_of_our_errors(content, status):
    with pytest.raises(errors.FiredeckError):
        await Script(httpx.Response(status, content=content)).transport.send("POST", "/x")


@pytest.mark.parametrize("attempt", range(RETRIES))
def test_retries_wait_twice_as_long_each_time_and_not_all_alike(monkeypatch, attempt):
    monkeypatch.setattr(http_room, "RETRY_FIRST_WAIT_S", 0.2)
    waits = [retry_wait_s(attempt) for _ in range(100)]
    assert 0.1 * 2**attempt <= min(waits) < max(waits) <= 0.2 * 2**attempt


TRANSIENT = [
    httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"),
    httpx.Response(502), httpx.Response(503), httpx.Response(504),
]  # fmt: skip


@pytest.mark.parametrize("failure", TRANSIENT, ids=str)
async def test_a_get_is_tried_twice_more_after_connection_errors_and_502_503_504(failure):
    assert RETRIES == 2
    script = Script(failure, failure, OK)
    assert await script.transport.get("/x") == {"ok": True}
    assert len(script.requests) == 3
    script = Script(failure)
    with pytest.raises((errors.Unavailable, errors.DeadlineExceeded)):
        await script.transport.get("/x")
    assert len(script.requests) == 3


@pytest.mark.parametrize("failure", TRANSIENT, ids=str)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_a_change_is_sent_once_whatever_happens(method, failure):
    script = Script(failure, OK)
    with pytest.raises(errors.FiredeckError):
        await script.transport.send(method, "/x")
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500])
async def test_a_get_that_was_answered_is_not_tried_again(status):
    script = Script(httpx.Response(status, json={}), OK)
    with pytest.raises(errors.FiredeckError):
        await script.transport.get("/x")
    assert len(script.requests) == 1


async def test_an_engine_that_is_not_there_is_unavailable_with_what_to_do():
    with pytest.raises(errors.Unavailable, match="http://engine") as raised:
        await Script(httpx.ConnectError("refused")).transport.send("POST", "/x")
    assert "firedeck serve" in (raised.value.hint or "")


@pytest.mark.parametrize("url", ["http://x:port", "http://127.0.0.1:8700x"])
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(errors.InvalidArgument):
        Transport(url, "key")


def test_a_key_that_no_header_can_carry_is_refused_without_showing_it():
    with pytest.raises(errors.InvalidArgument) as refused:
        Transport("http://x", "clé-secrète\u2028")
    assert "secr" not in refused.value.text


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b'data: {"a": 1}\n\ndata: [DONE]\n\n', [{"a": 1}]),
        (b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"late": 1}\n\n', [{"a": 1}]),
        (b'data:{"a": 1}\n\n', [{"a": 1}]),
        (b'data: {"a": 1}\r\n\r\n', [{"a": 1}]),
        (b': ping\n\ndata: {"a": 1}\n: ping\n\n: ping\n\n', [{"a": 1}]),
        (b'event: message\nid: 7\nretry: 5\ndata: {"a": 1}\n\n', [{"a": 1}]),
        (b"event: ping\n\n", []),
        (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
        (b'data: {"a": 1}\n', []),  # cut short: the event was never ended
        (b"", []),
        ('data: {"a": "\u2028 \x85 \x0c \u2029 \x1d ß"}\n\n'.encode(), None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_an_event_stream_is_read_as_the_standard_says_in_any_cut(raw, read, size):
    if read is None:
        raw = raw.replace(b"\x0c", b"").replace(b"\x1d", b"")  # control characters must be escaped in JSON
        read = [{"a": "\u2028 \x85  \u2029  ß"}]
    pieces = [raw[i : i + size] for i in range(0, len(raw), size)]
    assert await events(stream(*pieces)) == read


TEXTS = st.dictionaries(st.just("a"), st.text(max_size=12) | st.integers())


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=5), st.integers(1, 9), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_whatever_json_was_sent_comes_out_in_order(bodies, size, newline, ascii_only):
    import asyncio

    raw = "".join(f"data: {json.dumps(b, ensure_ascii=ascii_only)}{newline * 2}" for b in bodies).encode()
    assert asyncio.run(events(stream(*(raw[i : i + size] for i in range(0, len(raw), size))))) == bodies


@pytest.mark.parametrize("error", [errors.Internal("broke", hint="again"), errors.Unavailable("gone")])
async def test_an_error_event_ends_the_stream_as_that_error_after_what_came_before(error):
    raw = b'data: {"a": 1}\n\ndata: ' + json.dumps(error.inference_body()).encode() + b"\n\n"
    stream_of_events = stream(raw).transport.events("POST", "/x")
    assert await anext(stream_of_events) == {"a": 1}
    with pytest.raises(type(error), match=error.message):
        await anext(stream_of_events)


async def test_a_stream_that_breaks_off_is_unavailable():
    with pytest.raises(errors.Unavailable):
        await events(stream(b'data: {"a": 1}\n\n', fails=True))


async def test_a_stream_that_is_refused_is_that_error():
    body = errors.ScalingUp("cold", retry_after_s=5).inference_body()
    script = Script(httpx.Response(503, json=body, headers={"retry-after": "5"}))
    with pytest.raises(errors.ScalingUp) as raised:
        await events(script)
    assert raised.value.retry_after_s == 5
    assert len(script.requests) == 1


async def test_garbage_in_a_stream_is_one_of_our_errors():
    with pytest.raises(errors.FiredeckError):
        await events(stream(b"data: {\n\n"))


def answer(*ids: str, token: str = "") -> httpx.Response:
    found = [{"name": f"accounts/local/deployments/{i}"} for i in ids]
    return httpx.Response(200, json={"deployments": found, "nextPageToken": token, "totalSize": 3})


@pytest.mark.parametrize("asked", [{"page_size": 2}, {"page_token": "1"}])
async def test_a_page_that_is_asked_for_comes_alone_with_the_way_to_the_next(asked):
    script = Script(answer("a", "b", token="2"))
    found = await script.client().deployments.list(**asked)
    assert [d.id for d in found] == ["a", "b"]
    assert (found.total_size, found.next_page_token) == (3, "2")


async def test_a_limit_cuts_the_last_page_and_names_no_next_one():
    def records(*ids: str, token: str = "") -> httpx.Response:
        found = [{"id": i} for i in ids]
        return httpx.Response(200, json={"auditLogs": found, "nextPageToken": token, "totalSize": 9})

    for last in ("4", ""):
        script = Script(records("a", "b", token="2"), records("c", "d", token=last))
        found = await script.client().audit_logs.list(limit=3)
        assert [one.id for one in found] == ["a", "b", "c"]
        assert (found.total_size, found.next_page_token) == (9, "")


async def test_a_list_is_read_to_its_last_page():
    script = Script(answer("a", "b", token="2"), answer("c"))
    assert [d.id for d in await script.client().deployments.list(show_deleted=True)] == ["a", "b", "c"]
    assert [dict(r.url.params).get("pageToken") for r in script.requests] == ["", "2"]
    assert all(dict(r.url.params)["showDeleted"] == "true" for r in script.requests)


async def test_an_update_sends_only_what_was_set():
    script = Script(httpx.Response(200, json={"name": "accounts/local/deployments/chat"}))
    spec = DeploymentSpec(max_replica_count=0, autoscaling_policy=AutoscalingPolicy(scale_up_window="90s"))
    await script.client().deployments.update("chat", spec)
    [request] = script.requests
    assert (request.method, request.url.path) == ("PATCH", "/v1/accounts/local/deployments/chat")
    assert json.loads(request.content) == {"maxReplicaCount": 0, "autoscalingPolicy": {"scaleUpWindow": "90s"}}


@pytest.mark.parametrize("name", ["chat", "local/chat", "accounts/local/deployments/chat"])
async def test_scaling_reaches_the_same_deployment_by_every_form_of_its_name(name):
    script = Script(httpx.Response(200, json={}))
    await script.client().deployments.scale(name, 2)
    [request] = script.requests
    assert request.url.raw_path == b"/v1/accounts/local/deployments/chat:scale"
    assert json.loads(request.content) == {"replicaCount": 2}


@pytest.mark.parametrize("name", ["../x", "a/b/c", "", "accounts/local/models/m", "x?y", "x#y"])
async def test_a_name_that_is_none_never_leaves_this_machine(name):
    script = Script(OK)
    with pytest.raises(errors.InvalidArgument):
        await script.client().deployments.delete(name)
    assert script.requests == []


@pytest.mark.parametrize(
    ("url", "base"),
    [("http://h:1/inference/v1", "http://h:1"), ("http://h:1/v1/", "http://h:1"), ("http://h:1/inference", "http://h:1"),
     ("http://h:1/", "http://h:1"), ("http://h:1", "http://h:1")],
)  # fmt: skip
def test_a_base_url_made_for_the_sdks_works_here_too(url, base):
    assert Context.resolve(url, "k").base_url == base


def test_arguments_go_before_the_environment_and_that_before_the_local_engines_files(monkeypatch, tmp_path):
    for name in ("FIREWORKS_BASE_URL", "FIREWORKS_API_KEY", "FIREDECK_API_KEY", "FIREWORKS_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    assert Context.resolve() == Context("http://127.0.0.1:8700", "", "local")
    (tmp_path / "engine.url").write_text("http://127.0.0.1:9000\n")
    (tmp_path / "admin.key").write_text("from-file\n")
    assert Context.resolve() == Context("http://127.0.0.1:9000", "from-file", "local")
    monkeypatch.setenv("FIREDECK_API_KEY", "ours")
    monkeypatch.setenv("FIREWORKS_BASE_URL", "http://env")
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", "alice")
    assert Context.resolve() == Context("http://env", "ours", "alice")
    monkeypatch.setenv("FIREWORKS_API_KEY", "theirs")
    assert Context.resolve().api_key == "ours"
    assert Context.resolve("http://arg", "arg", "bob") == Context("http://arg", "arg", "bob")


@pytest.fixture
def local(monkeypatch, tmp_path):
    """The folder of a local engine that has a key, and nothing in the environment."""
    for name in ("FIREWORKS_BASE_URL", "FIREWORKS_API_KEY", "FIREDECK_API_KEY", "FIREWORKS_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    (tmp_path / "admin.key").write_text("from-file\n")
    return tmp_path


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:8700", "http://elsewhere"])
@pytest.mark.parametrize(
    ("option", "ours", "theirs", "used"),
    [
        ("o", "a", "b", "o"), ("o", "", "", "o"), (None, "a", "b", "a"), (None, "a", "", "a"), (None, "", "b", "b"),
        ("", "a", "b", ""), ("", "", "", ""),
    ],
)  # fmt: skip
def test_a_key_that_was_given_is_always_the_one_used(monkeypatch, local, url, option, ours, theirs, used):
    monkeypatch.setenv("FIREDECK_API_KEY", ours)
    monkeypatch.setenv("FIREWORKS_API_KEY", theirs)
    assert Context.resolve(url, option).api_key == used
    monkeypatch.setenv("FIREWORKS_BASE_URL", "http://env")
    assert Context.resolve(url, option).api_key == used


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"FIREWORKS_API_KEY": "b"}, "_API_KEY; for the local engine's own: env -u FIREWORKS_API_KEY firedeck"),
        ({"FIREDECK_API_KEY": "a"}, "variable FIREDECK_API_KEY; for the local engine's own: env -u FIREDECK_API_KEY "),
        ({"FIREDECK_API_KEY": "a", "FIREWORKS_API_KEY": "b"}, "env -u FIREDECK_API_KEY -u FIREWORKS_API_KEY firedeck"),
        ({"FIREWORKS_API_KEY": "b"}, "or FIREDECK_API_KEY=$(cat {file})"), ({}, "the key is that of {file}; an engine"),
    ],
)  # fmt: skip
async def test_who_is_refused_learns_where_the_key_came_from_and_the_way_to_the_engines_own(
    monkeypatch, local, given, told
):
    for name, key in given.items():
        monkeypatch.setenv(name, key)
    context = Context.resolve()
    refusal = httpx.Response(401, json={"code": 16, "message": "no", "details": []})
    transport = Transport(
        context.base_url, context.api_key, key_note=context.key_note,
        transport=httpx.MockTransport(lambda request: refusal),
    )  # fmt: skip
    async with Client(context, transport) as client:
        with pytest.raises(errors.Unauthenticated) as refused:
            await client.users.whoami()
    assert told.format(file=local / "admin.key") in refused.value.text
    assert "from-file" not in refused.value.text


def test_a_key_that_is_for_elsewhere_is_told_no_way_to_the_local_engines(monkeypatch, local):
    monkeypatch.setenv("FIREWORKS_API_KEY", "b")
    assert Context.resolve("http://elsewhere").key_note == "the key is that of the variable FIREWORKS_API_KEY"
    assert Context.resolve("http://elsewhere", "k").key_note == "the key is that of --api-key"


def test_the_local_engines_key_goes_to_it_alone(local):
    assert Context.resolve().api_key == "from-file"
    assert Context.resolve("http://elsewhere").api_key == ""


def test_who_has_no_key_at_all_is_told_how_a_command_is_given_one(local):
    told = Context.resolve("http://elsewhere").key_note
    assert "--api-key" in told
    assert "firedeck signin --base-url" in told
    assert Context.resolve("http://127.0.0.1:8700/inference/v1").api_key == "from-file"


@pytest.mark.parametrize("url", ["foo", "foo:8700", "ftp://foo", "localhost:8700"])
def test_what_is_no_url_of_an_engine_is_told_before_it_is_asked(url):
    with pytest.raises(errors.InvalidArgument, match="is not a URL") as refused:
        Transport(url, "k")
    assert refused.value.hint == "write http://HOST:PORT"


async def test_who_gets_no_answer_is_told_of_the_simulated_fleet_of_the_same_folder(tmp_path, monkeypatch):
    for name in ("FIREWORKS_BASE_URL", "FIREWORKS_API_KEY", "FIREDECK_API_KEY", "FIREDECK_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    assert not Context.resolve().absent_note
    (tmp_path / "simulated").mkdir()
    (tmp_path / "simulated" / "engine.url").write_text("http://127.0.0.1:9700\n")
    assert not Context.resolve("http://elsewhere", "k").absent_note
    (tmp_path / "engine.url").write_text("http://127.0.0.1:9\n")
    async with Client(Context.resolve()) as client:
        with pytest.raises(errors.Unavailable) as absent:
            await client.deployments.list()
    assert f"http://127.0.0.1:9700: FIREDECK_DATA_DIR={tmp_path}/simulated" in (absent.value.hint or "")
