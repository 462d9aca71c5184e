"""The engine's own key, and what it is used for: sealing secrets and chaining the audit log.

At rest a secret is encrypted and authenticated with AES-256-GCM, its name as associated data, a fresh nonce of 96 bit
each time (NIST SP 800-38D; the `cryptography` package). The key lies beside the database, in `secrets.key` with mode
0600. So a copy of the database alone gives nothing away, and no file but that key opens it; who can read the whole
folder as the engine's own user can open everything.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from client.errors import FailedPrecondition
from engine.files import write_whole
from engine.keys import read_private

SEAL_KEY_FILE = "secrets.key"
KEY_BYTES = 32
_NONCE = 12


class Sealer:
    """Seals bytes under a name: moved to another name, they no longer open."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(_derived(key, b"secrets: encryption"))
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
            write_whole(file, text + "\n")
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
        return nonce + self._cipher.encrypt(nonce, value.encode(), name.encode())

    def open(self, name: str, sealed: bytes) -> str:
        """The value, or FailedPrecondition when it was sealed with another key or for another name."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode()).decode()
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise FailedPrecondition(
                f"{name} cannot be opened with this engine's {SEAL_KEY_FILE}",
                hint="put the file back that belongs to this database, or set the value again",
            ) from None


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, purpose, "sha256")
