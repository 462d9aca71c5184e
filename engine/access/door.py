"""What keeps web pages away from an engine that their reader's browser can reach. Pure.

A page can send requests to this machine's loopback, and through DNS rebinding even read the answers. So every request
must name a host that the engine goes by, none may come from another site, and bodies must be of a type that a form or a
page cannot send without asking first (a preflight, which is never granted: no CORS header is ever sent).

Sources: https://fetch.spec.whatwg.org (Origin, simple content types), https://owasp.org (CSRF), RFC 9110 section 7.2.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import ClassVar

from client.errors import FiredeckError, InvalidArgument, PermissionDenied, UnsupportedMediaType

JSON = "application/json"
FILES = "/firedeck/v1/files/"  # uploads of any type: their URL is signed
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_ELSEWHERE = frozenset({"cross-site", "same-site"})  # of Sec-Fetch-Site; the others are same-origin and none
_TOLD = frozenset({b"host", b"origin", b"sec-fetch-site", b"content-type", b"content-length", b"transfer-encoding"})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(FiredeckError):
    """What the door turned away; `reason` is the word by which the audit log knows it."""

    reason: ClassVar[str]


class HostMissing(Refused, InvalidArgument):
    reason = "RefuseHost"


class ForeignHost(Refused, PermissionDenied):
    reason = "RefuseHost"


class ForeignPage(Refused, PermissionDenied):
    reason = "RefuseOrigin"


class NotJson(Refused, UnsupportedMediaType):
    reason = "RefuseContentType"


class Door:
    """`listening`: the address or name that the engine listens on; `names`: by which others it is known besides."""

    def __init__(self, listening: str, names: Iterable[str] = ()) -> None:
        self._address = _address(listening)
        self._names = {name.lower().rstrip(".") for name in (*names, listening)}

    def check(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises ForeignHost or ForeignPage for a host that is not ours or a page of another site, NotJson for a body
        of another type, HostMissing for a request without one single host."""
        told = [(name, value.decode("latin-1").strip()) for name, value in headers if name in _TOLD]
        hosts = [value for name, value in told if name == b"host"]
        if len(hosts) != 1:
            raise HostMissing("the request must have one Host header", field="Host", hint="send Host: HOST:PORT")
        given = dict(told)
        self._check_host(hosts[0])
        _check_origin(method, hosts[0], given.get(b"origin"), given.get(b"sec-fetch-site", ""))
        if method not in _WITHOUT_BODY and not path.startswith(FILES):
            _check_type(given)

    def _check_host(self, host: str) -> None:
        name = _name(host)
        address = _address(name)
        if name not in self._names and not (self._is_ours(address) if address else _is_loopback(name)):
            raise ForeignHost(
                f"this engine does not go by the host name {name[:80]!r}", field="Host",
                hint="use http://127.0.0.1:PORT, or start it with firedeck serve --allow-host NAME",
            )  # fmt: skip

    def _is_ours(self, address: Address) -> bool:
        """Loopback, what the engine listens on, and any address where it listens on all of this machine's."""
        everywhere = self._address is not None and self._address.is_unspecified
        return address.is_loopback or address == self._address or everywhere


def _is_loopback(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")  # RFC 6761


def _check_origin(method: str, host: str, origin: str | None, site: str) -> None:
    foreign = origin is not None and origin.lower().partition("://")[2] != host.lower()
    if foreign or (method not in _WITHOUT_BODY and site.lower() in _ELSEWHERE):
        raise ForeignPage(
            "requests from web pages of other sites are refused", field="Origin",
            hint="call the engine from a program, not from a page in a browser",
        )  # fmt: skip


def _check_type(given: dict[bytes, str]) -> None:
    """A request without a body need not say what type it has."""
    kind = given.get(b"content-type", "").partition(";")[0].strip().lower()
    empty = given.get(b"content-length", "0") == "0" and b"transfer-encoding" not in given
    if kind != JSON and (kind or not empty):
        raise NotJson(
            f"the body must be {JSON}" + (f", not {kind[:80]!r}" if kind else ""), field="Content-Type",
            hint=f"send the header Content-Type: {JSON}",
        )  # fmt: skip


def _name(host: str) -> str:
    """The host of `HOST:PORT`, without port, brackets and the root's dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
