"""Secrets at rest: sealed with a key from the settings, opened only in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tocsin.core.destination import Destination
from tocsin.core.errors import TocsinError
from tocsin.transports.protocol import LiveSecret, Target

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class SealBroken(TocsinError):
    """A sealed secret does not open with this key."""

    code = "seal_broken"


class Vault:
    """Seals and opens secrets with AES-256-GCM, each bound to the place where it is kept.

    Args:
        key: 32 bytes.
        entropy: returns that many random bytes.
    """

    def __init__(self, key: bytes, entropy: Callable[[int], bytes]) -> None:
        self._cipher = AESGCM(key)
        self._entropy = entropy

    def seal(self, secret: bytes, place: bytes) -> bytes:
        """Return ``secret`` sealed; it opens only with the same ``place``."""
        nonce = self._entropy(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            SealBroken: another key or another place, or a damaged text.
        """
        if not sealed.startswith(_VERSION) or len(sealed) <= 1 + _NONCE_BYTES:
            raise SealBroken("a stored secret is damaged, or was sealed by a newer version")
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, text, place)
        except InvalidTag as error:
            raise SealBroken(
                "a stored secret does not open; is TOCSIN_SECRET_KEY the one it was sealed with?"
            ) from error

    def target(self, destination: Destination) -> Target:
        """Return a destination with its secrets opened."""
        place = destination.organisation_id + destination.id
        address: dict[str, Any] = {}
        if destination.sealed_address is not None:
            address = msgspec.json.decode(self.open(destination.sealed_address, place), type=dict[str, Any])
        secrets = tuple(
            LiveSecret(self.open(each.sealed, place).decode(), each.expires_ms) for each in destination.secrets
        )
        return Target(destination, secrets, address)
