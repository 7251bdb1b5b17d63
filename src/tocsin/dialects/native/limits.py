"""The bounds of the native routes."""

from __future__ import annotations

import msgspec


class NativeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Every limit of the native routes; what a destination may ask for stands in ``DestinationBounds``.

    Attributes:
        body_bytes_max: of any request.
        page_default, page_max: rows in a list.
        cursor_characters_max, term_characters_max: of a list's cursor, and of a text that it is narrowed by.
        filter_characters_max: of a text in a replay's filter.
        name_characters_max, description_characters_max: of what is stored.
        url_characters_max, headers_max: of a webhook's address.
        patterns_max, pattern_characters_max: of each list of a filter.
        rate_min_per_s: of a destination's rate; a slower one would hold its leases for ever.
        rate_max_per_s: of a destination's rate; a faster one would limit nothing.
        device_key_characters_max: of a mailbox's address.
        password_bytes_min, password_bytes_max: of a channel's password, as PushGo's contract has it.
    """

    body_bytes_max: int = 65_536
    page_default: int = 50
    page_max: int = 100
    cursor_characters_max: int = 1024
    term_characters_max: int = 256
    filter_characters_max: int = 2048
    name_characters_max: int = 128
    description_characters_max: int = 1000
    url_characters_max: int = 2048
    headers_max: int = 50
    patterns_max: int = 100
    pattern_characters_max: int = 256
    rate_min_per_s: float = 0.001
    rate_max_per_s: float = 10_000.0
    device_key_characters_max: int = 256
    password_bytes_min: int = 8
    password_bytes_max: int = 128


class CloudEventsLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of the route that takes CloudEvents.

    Attributes:
        body_bytes_max: of a request, one event or a whole batch.
        batch_events_max: in one batch; what is stored in one commit, by the intake's own default.
        attribute_characters_max: of the value of an attribute.
        extensions_max, name_characters_max: attributes that the specification does not know, and their names.
        idempotency_ms: how long an id is recognised as one that was stored.
    """

    body_bytes_max: int = 1_048_576
    batch_events_max: int = 256
    attribute_characters_max: int = 1024
    extensions_max: int = 64
    name_characters_max: int = 64
    idempotency_ms: int = 7 * 86_400_000
