"""The bounds of the Buildable Event API."""

from __future__ import annotations

import msgspec

from tocsin.core.clock import DAY_MS


class BuildableLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of requests; the contract's own where it names one.

    Attributes:
        body_max_bytes: the longest body; the contract's.
        page_size_default: rows of a page when none is asked for; the contract's.
        page_size_max: the most that may be asked for; the contract's.
        name_max_characters: of an event name, a platform and a label, each.
        tx_key_max_characters: of a consumer group's name.
        output_max_bytes: of a transaction's ``output``, in UTF-8.
        page_max: the last page that may be asked for, so that no offset leaves 64 bits.
        idempotency_key_max_characters: of the ``Idempotency-Key`` header.
        idempotency_kept_ms: how long a repeated /emit is recognised.
    """

    body_max_bytes: int = 5_242_880
    name_max_characters: int = 128
    tx_key_max_characters: int = 128
    output_max_bytes: int = 262_144
    page_max: int = 1_000_000_000
    page_size_default: int = 10
    page_size_max: int = 100
    idempotency_key_max_characters: int = 256
    idempotency_kept_ms: int = 7 * DAY_MS
