"""Signatures of what goes out and of what comes in."""

from __future__ import annotations

import base64
import binascii
import hmac

SECRET_PREFIX = "whsec_"  # noqa: S105  the public prefix of every secret
SECRET_BYTES = 32
SECRET_BYTES_MIN = 24
"""The shortest secret that is taken, in bytes after decoding; Standard Webhooks allows 24 to 64."""
SECRET_BYTES_MAX = 64


def make_secret(entropy: bytes) -> str:
    """Return a secret as Standard Webhooks writes it: ``whsec_`` and base64 of these random bytes."""
    assert SECRET_BYTES_MIN <= len(entropy) <= SECRET_BYTES_MAX
    return SECRET_PREFIX + base64.b64encode(entropy).decode()


def standard_key(secret: str) -> bytes | None:
    """Return the key bytes of a ``whsec_`` secret, or None where it is not one of 24 to 64 bytes.

    Source: Standard Webhooks specification, section "Signature scheme".
    """
    if not secret.startswith(SECRET_PREFIX):
        return None
    try:
        key = base64.b64decode(secret[len(SECRET_PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX else None


class StandardSigner:
    """Signs as Standard Webhooks has it with one key, which is made ready once: that takes as long as signing."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")

    def sign(self, message_id: str, timestamp_s: int, body: bytes) -> str:
        """Return one value of ``webhook-signature``: ``v1,`` and base64 of HMAC-SHA256 over ``id.timestamp.body``."""
        keyed = self._keyed.copy()
        keyed.update(b"%b.%d.%b" % (message_id.encode(), timestamp_s, body))
        return "v1," + base64.b64encode(keyed.digest()).decode()


def sign_standard(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return what a signer with this key makes of it."""
    return StandardSigner(key).sign(message_id, timestamp_s, body)


def sign_promptjang(secret: str, timestamp: str, body: bytes) -> str:
    """Return ``X-PJ-Signature``: lower-case hex of HMAC-SHA256 over ``timestamp.body``.

    The key is the whole secret string, ``whsec_`` included.
    """
    return hmac.digest(secret.encode(), timestamp.encode() + b"." + body, "sha256").hex()


def equal(given: str, expected: str) -> bool:
    """Return whether two signatures are the same, in time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
