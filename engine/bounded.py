"""Answers of replicas about themselves, as far as anybody keeps them: one that goes mad may write without end."""

from __future__ import annotations

import httpx

REPORT_BYTES_MAX = 4 << 20


class TooLong(httpx.RemoteProtocolError):
    """The answer does not end where it must."""


async def read(response: httpx.Response, most: int) -> bytes:
    """The body, of which the stream is still open. TooLong past `most` bytes."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > most:
            raise TooLong(f"an answer of over {most} bytes")
    return bytes(body)
