"""TLS that is set up late, and verifies all the same."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from client.errors import Unavailable
from client.http import Transport

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


def nobodys_certificate(folder: Path) -> ssl.SSLContext:
    """That of a server whose certificate no authority has signed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answers every request with `{}`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"


async def test_for_an_engine_on_this_machine_no_authorities_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("authorities were read")

    monkeypatch.setattr(ssl, "create_default_context", refuse)
    async with serving() as url, Transport(url, "k") as transport:
        assert await transport.get("/v1") == {}


async def test_a_signed_url_that_leads_elsewhere_is_verified(tmp_path: Path) -> None:
    servers = serving(), serving(nobodys_certificate(tmp_path))
    async with servers[0] as plain, servers[1] as secret, Transport(plain, "k") as transport:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            async with transport.signed("GET", f"{secret}/file"):
                raise AssertionError("a stranger was believed")
        async with transport.signed("GET", f"{plain}/file") as answer:
            assert await answer.aread() == b"{}"


async def test_an_engine_that_is_asked_over_tls_is_verified(tmp_path: Path) -> None:
    async with serving(nobodys_certificate(tmp_path)) as secret, Transport(secret, "k") as transport:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await transport.send("GET", "/v1")


async def test_what_a_test_answers_itself_is_not_gone_around() -> None:
    mocked = httpx.MockTransport(lambda request: httpx.Response(200, json={"host": request.url.scheme}))
    transport = Transport("http://127.0.0.1:1", "k", transport=mocked)
    async with transport, transport.signed("GET", "https://127.0.0.1:1/file") as answer:
        assert await answer.aread() == b'{"host":"https"}'
