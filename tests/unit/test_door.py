"""Which requests come in at all: by host, origin and type of body."""

from __future__ import annotations

import contextlib

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from client.errors import InvalidArgument, PermissionDenied, UnsupportedMediaType
from engine.access.door import FILES, Door
from engine.cli import serve

HOME = Door("127.0.0.1")
LOOPBACK = ["127.0.0.1", "127.0.0.1:8700", "127.9.8.7:1", "localhost", "LocalHost:9000", "a.localhost", "[::1]:8700"]
FOREIGN = [
    "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil-localhost", "0.0.0.0:8700", "10.0.0.5",
    "2130706433", "0x7f.1", "[::ffff:127.0.0.1]:1", "", ":8700", "[", "user@localhost", "localhost@evil.example", "é",
]  # fmt: skip


def headers(**given: str) -> list[tuple[bytes, bytes]]:
    whole = {"host": "127.0.0.1:8700"} | {name.replace("_", "-"): value for name, value in given.items()}
    return [(name.encode(), value.encode("latin-1")) for name, value in whole.items()]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_name_of_loopback_is_ours(host, method):
    HOME.check(method, "/v1/models", headers(host=host))


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_no_other_host_is_and_the_refusal_says_how_to_make_it_one(host, method):
    with pytest.raises(PermissionDenied, match="host name") as refused:
        HOME.check(method, "/v1/models", headers(host=host))
    assert "--allow-host" in refused.value.text


def test_a_request_has_one_host():
    for hosts in ([], [(b"host", b"localhost"), (b"host", b"localhost")]):
        with pytest.raises(InvalidArgument, match="Host"):
            HOME.check("GET", "/", hosts)


@pytest.mark.parametrize(
    ("listening", "names", "host", "ours"),
    [
        ("10.0.0.5", (), "10.0.0.5:8700", True), ("10.0.0.5", (), "10.0.0.6", False),
        ("fd00::5", (), "[FD00::5]", True),
        ("0.0.0.0", (), "192.168.1.9:80", True), ("::", (), "[fd00::7]:8700", True), ("::", (), "10.0.0.5", True),
        ("0.0.0.0", (), "gpu-box", False), ("0.0.0.0", ("GPU-box", "llm.example."), "gpu-box:8700", True),
        ("127.0.0.1", ("llm.example",), "llm.example.", True), ("127.0.0.1", ("llm.example",), "x.llm.example", False),
        ("127.0.0.1", ("203.0.113.7", "FD00::9"), "203.0.113.7:80", True),
        ("127.0.0.1", ("FD00::9",), "[fd00::9]", True),
        ("gpu-box", (), "gpu-box:8700", True), ("127.0.0.1", (), "10.0.0.5", False),
    ],
)  # fmt: skip
def test_what_it_listens_on_and_the_names_it_was_given_are_ours_besides(listening, names, host, ours):
    door = Door(listening, names)
    if ours:
        door.check("GET", "/", headers(host=host))
    else:
        with pytest.raises(PermissionDenied):
            door.check("GET", "/", headers(host=host))


@pytest.mark.parametrize("name", ["http://gpu-box", "gpu-box:8700", "gpu-box/", ""])
def test_a_name_that_could_never_match_is_refused_at_the_start(name):
    shown = CliRunner().invoke(serve, ["--allow-host", name])
    assert shown.exit_code == 2
    assert "without scheme, port and path" in shown.output


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1", "http://localhost:8700", "file://",
        "", "http://127.0.0.1:8700.evil.example", "chrome-extension://abc",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_page_of_another_site_is_refused_whatever_it_asks(origin, method):
    with pytest.raises(PermissionDenied, match="other sites"):
        HOME.check(method, "/v1/models", headers(origin=origin))


def test_a_page_of_our_own_and_a_program_are_not():
    for method in ("GET", "POST"):
        HOME.check(method, "/", headers(origin="http://127.0.0.1:8700"))
        for site in ("same-origin", "none"):
            HOME.check(method, "/", headers(sec_fetch_site=site))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_where_a_browser_tells_no_origin_it_tells_the_site(site):
    HOME.check("GET", "/", headers(sec_fetch_site=site))  # a link that somebody followed
    with pytest.raises(PermissionDenied, match="other sites"):
        HOME.check("DELETE", "/", headers(sec_fetch_site=site))


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;"])
def test_json_by_any_spelling_is_taken(kind):
    HOME.check("POST", "/", headers(content_type=kind, content_length="2"))


SIMPLE = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain;application/json",
]


@pytest.mark.parametrize("kind", [*SIMPLE, "application/jsonp", "application/xml", ""])
@pytest.mark.parametrize("size", [{"content_length": "2"}, {"transfer_encoding": "chunked"}])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW"])
def test_a_body_of_another_type_or_of_none_is_refused_with_the_header_to_send(kind, size, method):
    typed = {"content_type": kind} if kind else {}
    with pytest.raises(UnsupportedMediaType) as refused:
        HOME.check(method, "/", headers(**typed, **size))
    assert (refused.value.status, refused.value.field) == (415, "Content-Type")
    assert "Content-Type: application/json" in refused.value.text


def test_no_body_needs_no_type_but_may_not_have_a_form_s():
    HOME.check("DELETE", "/", headers())
    HOME.check("POST", "/", headers(content_length="0"))
    for kind in SIMPLE:
        with pytest.raises(UnsupportedMediaType):
            HOME.check("POST", "/", headers(content_type=kind, content_length="0"))


def test_files_are_of_any_type_and_their_senders_no_other_sites():
    octets = {"content_type": "application/octet-stream", "content_length": "5"}
    HOME.check("PUT", FILES + "ticket", headers(**octets))
    with pytest.raises(PermissionDenied):
        HOME.check("PUT", FILES + "ticket", headers(**octets, origin="https://evil.example"))


_names = st.sampled_from(["host", "origin", "content-type", "content-length", "sec-fetch-site", "x"])


@given(st.sampled_from(["GET", "POST"]), st.lists(st.tuples(_names, st.text(max_size=20)), max_size=6))
def test_whatever_the_headers_hold_the_answer_is_yes_or_a_refusal_of_ours(method, given_headers):
    raw = [(name.encode(), value.encode("utf-8", "replace")) for name, value in given_headers]
    with contextlib.suppress(InvalidArgument, PermissionDenied):
        HOME.check(method, "/", raw)
