"""HTTP header fields: which names and values are sound, which hold secrets, and what ``Retry-After`` says."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

from tocsin.core.destination import MASK

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that frame the message or belong to the connection, which are the client's own."""
_RESERVED_PREFIXES = ("webhook-", "x-pj-", "ce-")
"""Fields that say what the event is and who signed it."""

_SECRET = re.compile(r"cookie|key|token|secret|passw|credential|session|signature|auth(?!or(?!i))")
"""Names that tell of a credential; ``auth`` as in authorization, not as in author."""
_SHOWN = frozenset({"webhook-signature", "x-pj-signature", "www-authenticate"})
"""Our own signatures prove one body at one time and open nothing else, and an operator who asks why a receiver
refuses one has to see it. A challenge is no credential."""

_SECONDS = re.compile(r"[0-9]{1,10}")
_DATE_LENGTH_MAX = 40


def header_fault(name: str, value: str) -> str | None:
    """Return why an operator may not have this header sent, or None.

    The name must be a token and none of those that Tocsin sets, the value printable ASCII with spaces, at most
    4096 characters.

    Source: RFC 9110, sections 5.1 and 5.5.
    """
    if _TOKEN.fullmatch(name) is None:
        return "the name is not a token"
    lowered = name.lower()
    if lowered in _RESERVED or lowered.startswith(_RESERVED_PREFIXES):
        return "the name is reserved"
    if _VALUE.fullmatch(value) is None:
        return "the value holds a character that is not allowed, or is too long"
    return None


@lru_cache(maxsize=1024)
def is_secret_header(name: str) -> bool:
    """Return whether a header of this name holds a credential; the signatures that Tocsin itself makes are none."""
    lowered = name.lower()
    return lowered not in _SHOWN and _SECRET.search(lowered) is not None


def masked(name: str, value: str) -> str:
    """Return a header's value as an operator may see it: a credential becomes asterisks."""
    return MASK if is_secret_header(name) else value


def retry_after_s(value: str, *, now_ms: int) -> float | None:
    """Return how many seconds a ``Retry-After`` asks to wait, or None where it does not say so soundly.

    Both forms are read: at most ten ASCII digits, and a date that is not past. The caller bounds the result.

    Source: RFC 9110, sections 5.6.7 and 10.2.3.
    """
    text = value.strip(" \t")
    if _SECONDS.fullmatch(text) is not None:
        return float(text)
    if len(text) > _DATE_LENGTH_MAX or not text.isascii() or not text[:3].isalpha():
        return None
    try:
        at = parsedate_to_datetime(text)
        wait_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now_ms / 1000
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return wait_s if wait_s > 0 else None
