"""What several of the native routes show in the same way."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.clock import TIME_MAX_MS, TIME_MIN_MS, rfc3339
from tocsin.core.identifiers import DeliveryId, DestinationId, parse_dashed, parse_hex32, parse_prefixed

DESTINATION = "dst"
DELIVERY = "dlv"
EVENT = "evt"
ORGANISATION = "org"
_ENDPOINT = "ep"
"""PromptJang's prefix for the same ids."""


def time_shown(at_ms: int) -> str:
    """Return a time as RFC 3339 with milliseconds; what no date can say becomes the nearest one that can."""
    return rfc3339(min(max(at_ms, TIME_MIN_MS), TIME_MAX_MS), milliseconds=True)


def time_or_null(at_ms: int | None) -> str | None:
    """Return a time as ``time_shown``, or None."""
    return None if at_ms is None else time_shown(at_ms)


def document(data: bytes) -> Any:
    """Return stored JSON to be shown as it is: decoding it could change its numbers."""
    return msgspec.Raw(data)


def parse_destination_id(value: str) -> DestinationId | None:
    """Return a destination's id, with our prefix or PromptJang's, or None."""
    found = parse_prefixed(DESTINATION, value) or parse_prefixed(_ENDPOINT, value)
    return None if found is None else DestinationId(found)


def parse_delivery_id(value: str) -> DeliveryId | None:
    """Return a delivery's id, written in any dialect's way, or None."""
    found = parse_prefixed(DELIVERY, value) or parse_hex32(value) or parse_dashed(value)
    return None if found is None else DeliveryId(found)
