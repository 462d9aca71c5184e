"""The engine's own key, and what it is used for: sealing secrets and chaining the audit log.

At rest a secret is encrypted and authenticated: a keystream of SHAKE-256 over (key, nonce) and a tag of HMAC-SHA256
over (name, nonce, ciphertext), encrypt then MAC, a fresh nonce of 128 bit each time (NIST SP 800-185 uses the sponge as
a keyed function in the same way). The key lies beside the database, in `secrets.key` with mode 0600. So a copy of the
database alone gives nothing away, and no file but that key opens it; who can read the whole folder as the engine's
own user can open everything.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from client.errors import FailedPrecondition
from engine.keys import read_private, write_private

SEAL_KEY_FILE = "secrets.key"
KEY_BYTES = 32
_NONCE = 16
_TAG = 32


class Sealer:
    """Seals bytes under a name: moved to another name, they no longer open."""

    def __init__(self, key: bytes) -> None:
        self._encryption = _derived(key, b"secrets: encryption")
        self._authentication = _derived(key, b"secrets: authentication")
        self.chain_key = _derived(key, b"audit log: chain")

    def __repr__(self) -> str:
        return "Sealer(***)"

    @classmethod
    def of(cls, data_dir: Path) -> Sealer:
        """With the key in `DIR/secrets.key`, made at the first start (mode 0600)."""
        file = data_dir / SEAL_KEY_FILE
        text = read_private(file)
        if not text:
            text = secrets.token_hex(KEY_BYTES)
            write_private(file, text)
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise FailedPrecondition(
                f"{file} does not hold a key of {KEY_BYTES} bytes", hint="restore it from the backup of this folder"
            )
        return cls(key)

    def seal(self, name: str, value: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        hidden = self._mixed(nonce, value.encode())
        return nonce + hidden + self._tag(name, nonce + hidden)

    def open(self, name: str, sealed: bytes) -> str:
        """The value, or FailedPrecondition when it was sealed with another key or for another name."""
        body, tag = sealed[:-_TAG], sealed[-_TAG:]
        if not hmac.compare_digest(tag, self._tag(name, body)):
            raise FailedPrecondition(
                f"{name} cannot be opened with this engine's {SEAL_KEY_FILE}",
                hint="put the file back that belongs to this database, or set the value again",
            )
        return self._mixed(body[:_NONCE], body[_NONCE:]).decode()

    def _mixed(self, nonce: bytes, data: bytes) -> bytes:
        stream = hashlib.shake_256(self._encryption + nonce).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))

    def _tag(self, name: str, body: bytes) -> bytes:
        return hmac.digest(self._authentication, name.encode() + b"\x00" + body, "sha256")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, purpose, "sha256")
