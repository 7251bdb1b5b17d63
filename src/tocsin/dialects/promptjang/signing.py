"""Checking the signature of an event, with every secret that counts now."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from tocsin.core.clock import Clock
from tocsin.core.destination import Destination
from tocsin.core.errors import NotAuthenticated
from tocsin.core.identifiers import DestinationId
from tocsin.core.signature import sign_promptjang
from tocsin.pipeline.destinations import Destinations

_SIGNATURE_CHARACTERS = 64
_TIMESTAMP_CHARACTERS_MAX = 12
"""Enough for the year 33658; a longer number is refused before it is read."""

_DIGITS = frozenset("0123456789")
_NEVER_MS = 1 << 62


def check_signature(
    *,
    signature: str | None,
    timestamp: str | None,
    body: bytes,
    secrets: Iterable[str],
    now_ms: int,
    tolerance_s: int,
) -> tuple[str, str]:
    """Return signature and timestamp, once one of the secrets has made the one for the other and the body.

    Every fault has the same answer, so that it tells nothing.

    Args:
        signature: 64 lower-case hex digits.
        timestamp: unix seconds in ASCII digits.
        secrets: an empty one is passed over, since anybody could sign with it.
        tolerance_s: how old, or how far ahead, the timestamp may be, inclusive.

    Raises:
        NotAuthenticated: missing, malformed, stale or wrong.
    """
    if (
        signature is None
        or timestamp is None
        or len(signature) != _SIGNATURE_CHARACTERS
        or not signature.isascii()
        or not 0 < len(timestamp) <= _TIMESTAMP_CHARACTERS_MAX
        or not _DIGITS.issuperset(timestamp)
        or abs(now_ms // 1000 - int(timestamp)) > tolerance_s
    ):
        raise _refusal()
    for secret in secrets:
        if secret and hmac.compare_digest(sign_promptjang(secret, timestamp, body), signature):
            return signature, timestamp
    raise _refusal()


def _refusal() -> NotAuthenticated:
    return NotAuthenticated("Invalid signature", code="invalid_signature")


class OpenSecrets:
    """The endpoints' live secrets, opened once for each revision, since opening costs more than checking.

    Args:
        kept_max: endpoints whose secrets are kept; beyond it the one kept longest is dropped.
    """

    def __init__(self, destinations: Destinations, clock: Clock, *, kept_max: int) -> None:
        self._destinations = destinations
        self._clock = clock
        self._kept_max = kept_max
        self._kept: dict[DestinationId, tuple[int, int, tuple[str, ...]]] = {}

    def of(self, endpoint: Destination) -> tuple[str, ...]:
        """Return the secrets that count now, newest first."""
        now_ms = self._clock.now_ms()
        kept = self._kept.get(endpoint.id)
        if kept is not None and kept[0] == endpoint.revision and now_ms < kept[1]:
            return kept[2]
        secrets = tuple(self._destinations.secrets_of(endpoint))
        expiries = [each.expires_ms for each in endpoint.secrets if each.expires_ms is not None]
        until_ms = min((expires_ms for expires_ms in expiries if expires_ms > now_ms), default=_NEVER_MS)
        self._kept.pop(endpoint.id, None)
        while self._kept and len(self._kept) >= self._kept_max:
            del self._kept[next(iter(self._kept))]
        self._kept[endpoint.id] = (endpoint.revision, until_ms, secrets)
        return secrets
