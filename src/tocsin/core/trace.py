"""W3C trace context: which trace an event belongs to, and how its attempts go on with it.

Source: W3C Trace Context, level 1, section 3.2 (traceparent).
"""

from __future__ import annotations

import hashlib

from tocsin.core.identifiers import DeliveryId

TRACEPARENT = "traceparent"
"""The header's name, in lower case."""

_LENGTHS = (2, 32, 16, 2)
_HEX = frozenset("0123456789abcdef")


def parse_traceparent(text: str) -> tuple[str, str, str] | None:
    """Return trace id, parent id and flags, in hex; None for what is no ``traceparent``.

    Versions to come may have more fields behind these, which are passed over.
    """
    parts = text.split("-")
    if len(parts) < len(_LENGTHS) or (parts[0] == "00" and len(parts) != len(_LENGTHS)):
        return None
    for part, length in zip(parts, _LENGTHS, strict=False):
        if len(part) != length or not _HEX.issuperset(part):
            return None
    if parts[0] == "ff" or not parts[1].strip("0") or not parts[2].strip("0"):
        return None
    return parts[1], parts[2], parts[3]


def attempt_span_id(delivery_id: DeliveryId, lease: int) -> bytes:
    """Return the 8 bytes that name an attempt in its trace.

    They follow from the delivery and its lease, so that the request can carry them before there is a span, and
    nothing has to be kept until the outcome is there.
    """
    return hashlib.blake2b(delivery_id + lease.to_bytes(8, "big"), digest_size=8, person=b"tocsin span").digest()


def attempt_traceparent(trace: str, delivery_id: DeliveryId, lease: int) -> str | None:
    """Return the ``traceparent`` that an attempt sends, or None where the event's own is none."""
    found = parse_traceparent(trace)
    if found is None:
        return None
    return f"00-{found[0]}-{attempt_span_id(delivery_id, lease).hex()}-{found[2]}"
