"""How PromptJang shows events, endpoints, keys and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tocsin.core.clock import rfc3339
from tocsin.core.delivery import STATUS_OF_PHASE, Delivery, DeliveryPhase, RecordedAttempt, phase_of
from tocsin.core.destination import Destination
from tocsin.core.errors import TocsinError
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import created_ms, prefixed
from tocsin.core.organisation import ApiKey, Organisation
from tocsin.dialects.promptjang.listing import EventListing, show_cursor
from tocsin.dialects.promptjang.parsing import ENDPOINT, endpoint_of_source
from tocsin.engine.rows import EventRow, Page
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Request, Response, json_response

CORRELATION_ID = "correlation_id"
"""The name in an event's extension under which its correlation id is kept."""


def error_response(_request: Request, error: TocsinError) -> Response:
    """Return ``{"detail": ...}`` with the status of the error."""
    status = status_of(error)
    headers = retry_after(error)
    if status == 401:
        # RFC 9110, section 11.6.1: a 401 names the scheme that would do.
        headers.append((b"www-authenticate", b"Bearer"))
    detail = "Internal server error" if status == 500 else error.detail
    return json_response(status, {"detail": detail}, headers)


# -- events ------------------------------------------------------------------------------------------------


def accepted(event_id: bytes, message: str) -> dict[str, Any]:
    """Return the answer to an event that was stored."""
    return {"id": prefixed("evt", event_id), "status": "QUEUED", "message": message}


def endpoint_id_of(event: Event) -> str | None:
    """Return the endpoint that an event was sent to, or None for one that came by another dialect."""
    found = endpoint_of_source(event.source) if event.dialect is Dialect.PROMPTJANG else None
    return None if found is None else prefixed(ENDPOINT, found)


def event_summary(row: EventRow) -> dict[str, Any]:
    """Return an event as lists show it."""
    event = row.event
    return {
        "id": prefixed("evt", event.id),
        "endpoint_id": endpoint_id_of(event),
        "event_type": event.type,
        "status": row.status.value,
        "created_at": rfc3339(created_ms(event.id)),
    }


def event_page(page: Page[EventRow] | None, listing: EventListing) -> dict[str, Any]:
    """Return a list of events; ``page`` is None where nothing can match what was asked for."""
    shown: dict[str, Any] = {
        "events": [] if page is None else [event_summary(row) for row in page.rows],
        "total": 0 if page is None else page.total,
        "limit": listing.limit,
        "offset": listing.offset,
        "next_cursor": None if page is None else show_cursor(page.next_cursor),
    }
    if page is not None and not page.total_is_exact:
        shown["total_is_exact"] = False
    if page is not None and page.partial:
        shown["partial"] = True
    if listing.searched_since_ms is not None:
        shown["since"] = rfc3339(listing.searched_since_ms)
    return shown


def event_detail(
    row: EventRow, deliveries: Sequence[Delivery], attempts: Sequence[RecordedAttempt]
) -> dict[str, Any]:
    """Return an event with everything about it.

    Args:
        deliveries: all of the event's, oldest first.
        attempts: those to show, oldest first.
    """
    event = row.event
    return {
        "id": prefixed("evt", event.id),
        "org_id": prefixed("org", event.organisation_id),
        "endpoint_id": endpoint_id_of(event),
        "event_type": event.type,
        "status": row.status.value,
        # The document as it was sent: decoding it here could change its numbers.
        "payload": msgspec.Raw(event.data),
        "correlation_id": event.extension.get(CORRELATION_ID) if event.dialect is Dialect.PROMPTJANG else None,
        "attempts": [_attempt(each) for each in attempts],
        "deliveries": [_delivery(each) for each in deliveries],
        "created_at": rfc3339(created_ms(event.id)),
    }


def _attempt(recorded: RecordedAttempt) -> dict[str, Any]:
    attempt = recorded.attempt
    answered = attempt.status_code is not None
    return {
        "id": f"dat_{recorded.delivery_id.hex()}_{recorded.sequence}",
        "status_code": attempt.status_code,
        "response_body": attempt.exchange.response_body.decode("utf-8", "replace") if answered else None,
        "duration_ms": attempt.duration_ms,
        "error": attempt.error,
        "created_at": rfc3339(attempt.started_ms),
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    phase = phase_of(delivery.state, delivery.attempts_made)
    cancelled = phase is DeliveryPhase.CANCELLED
    return {
        "id": prefixed("dlv", delivery.id),
        "destination_id": prefixed("dst", delivery.destination_id),
        "status": "CANCELLED" if cancelled else STATUS_OF_PHASE[phase].value,
        "attempts": delivery.attempts_made,
        "status_code": delivery.status_code,
        "error": delivery.error,
        "created_at": rfc3339(delivery.created_ms),
        "next_attempt_at": None if delivery.due_ms is None else rfc3339(delivery.due_ms),
        "finished_at": None if delivery.settled_ms is None else rfc3339(delivery.settled_ms),
    }


# -- endpoints, keys, the organisation ---------------------------------------------------------------------


def endpoint_shown(endpoint: Destination, *, secret: str | None = None, changed: bool = False) -> dict[str, Any]:
    """Return an endpoint.

    Args:
        secret: shown when it was just made; None leaves the member out.
        changed: whether to tell when.
    """
    shown: dict[str, Any] = {"id": prefixed(ENDPOINT, endpoint.id), "url": endpoint.address["url"]}
    if secret is not None:
        shown["secret"] = secret
    shown |= {
        "description": endpoint.description,
        "event_types": endpoint.filter.types,
        "enabled": endpoint.enabled,
        "created_at": rfc3339(endpoint.created_ms),
    }
    if changed:
        shown["updated_at"] = rfc3339(endpoint.updated_ms)
    return shown


def key_shown(key: ApiKey, *, text: str | None = None) -> dict[str, Any]:
    """Return an API key; with its text when it was just made."""
    shown: dict[str, Any] = {"id": prefixed("key", key.id), "name": key.name}
    if text is not None:
        shown["key"] = text
    return shown | {
        "prefix": key.hint,
        "environment": key.environment.value,
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_at": rfc3339(key.created_ms),
    }


def organisation_shown(organisation: Organisation) -> dict[str, Any]:
    """Return an organisation."""
    return {
        "id": prefixed("org", organisation.id),
        "name": organisation.name,
        "plan": organisation.plan.value,
        "jwks_url": organisation.jwks_url,
        "created_at": rfc3339(organisation.created_ms),
    }
