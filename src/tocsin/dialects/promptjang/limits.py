"""The bounds of PromptJang's contract, and those that are ours."""

from __future__ import annotations

import msgspec


class PromptJangLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Every limit of the dialect.

    Attributes:
        payload_max_bytes: an event's body.
        control_body_max_bytes: the body of any other route.
        tolerance_s: how far a signature's timestamp may lie from now, either way.
        idempotency_ms: how long an ``Idempotency-Key`` is remembered.
        page_default: rows in a list of events that does not say how many.
        page_max: rows in a list of events.
        values_max: values that one filter of the list may name, with commas between them.
        pattern_characters_max: of each of them.
        search_characters_max: of the text that is searched for.
        search_window_ms: how far back a text is searched for where the request does not say since when.
        deliveries_max: deliveries shown in one event's detail.
        attempts_max: attempts shown of one delivery, or of an event that was sent to no endpoint.
        url_max_characters: of an endpoint's URL, or of a set of keys'.
        description_max_characters: of an endpoint's description.
        name_max_characters: of the name of a key or an organisation.
        event_types_max: types that one endpoint may list.
        open_secrets_max: endpoints whose secrets are kept open in memory.
        stats_window_ms: how far back the statistics look.
        stats_budget_s: how long they are counted for; what is left then is not told.
    """

    payload_max_bytes: int = 1_048_576
    control_body_max_bytes: int = 65_536
    tolerance_s: int = 300
    idempotency_ms: int = 7 * 86_400_000
    page_default: int = 50
    page_max: int = 100
    values_max: int = 20
    pattern_characters_max: int = 400
    search_characters_max: int = 200
    search_window_ms: int = 7 * 86_400_000
    deliveries_max: int = 500
    attempts_max: int = 500
    url_max_characters: int = 2048
    description_max_characters: int = 1000
    name_max_characters: int = 100
    event_types_max: int = 100
    open_secrets_max: int = 10_000
    stats_window_ms: int = 86_400_000
    stats_budget_s: float = 5.0
