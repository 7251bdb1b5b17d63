"""The routes of deliveries: what is on its way, what became of it, and every attempt."""

from __future__ import annotations

import base64
import codecs
from typing import Any

from tocsin.core.clock import Clock
from tocsin.core.delivery import Attempt, Delivery, DeliveryPhase, Exchange, RecordedAttempt
from tocsin.core.errors import Conflict, NotFound
from tocsin.core.event import Event
from tocsin.core.identifiers import parse_event_id, prefixed
from tocsin.core.organisation import Scope
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import WINDOW, by_sequence, page_members, page_response, read_listing
from tocsin.dialects.native.phases import phases, word_of
from tocsin.dialects.native.reading import Reader, digits, text, wrong
from tocsin.dialects.native.rendering import (
    DELIVERY,
    DESTINATION,
    EVENT,
    parse_delivery_id,
    parse_destination_id,
    time_or_null,
    time_shown,
)
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import AmendmentResult, AttemptQuery, Cancel, DeliveryQuery, DeliveryRow, Retry
from tocsin.pipeline.audit import record_of
from tocsin.pipeline.catalog import Catalog
from tocsin.web.auth import Principal
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response

_ATTEMPTS_MAX = 1_000_000
"""More than a delivery can have."""


def _destination_id(value: str) -> bytes:
    found = parse_destination_id(value)
    if found is None:
        raise wrong("must be a destination's id: dst_ and 32 hex digits")
    return found


def _event_id(value: str) -> bytes:
    found = parse_event_id(value)
    if found is None:
        raise wrong("must be an event's id: evt_ and 32 hex digits")
    return found


def _terms(limits: NativeLimits) -> dict[str, Reader]:
    return {
        "destination": _destination_id,
        "event": _event_id,
        "type": text(1, limits.term_characters_max),
        "status": phases(DeliveryPhase),
        "status_code": digits(100, 999),
        "attempts_min": digits(0, _ATTEMPTS_MAX),
        **WINDOW,
    }


class DeliveryRoutes:
    """Handlers of ``/deliveries``."""

    def __init__(self, *, guard: Guard, catalog: Catalog, engine: Engine, clock: Clock, limits: NativeLimits) -> None:
        self._guard = guard
        self._catalog = catalog
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._terms = _terms(limits)

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        one = "/deliveries/{delivery_id}"
        return (
            ("GET", "/deliveries", self.list),
            ("GET", one, self.get),
            ("POST", f"{one}/retry", self.retry),
            ("POST", f"{one}/cancel", self.cancel),
        )

    async def list(self, request: Request) -> Response:
        """Return a page of deliveries of the key's environment, newest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, self._terms, self._limits)
        terms = listing.terms
        page = await self._engine.search(
            DeliveryQuery(
                organisation_id=principal.organisation_id,
                environment=principal.environment,
                since_ms=terms.get("since"),
                until_ms=terms.get("until"),
                destination_id=terms.get("destination"),
                event_id=terms.get("event"),
                event_type=terms.get("type"),
                phases=terms.get("status", frozenset()),
                status_code=terms.get("status_code"),
                attempts_min=terms.get("attempts_min"),
                with_data=False,
            ),
            limit=listing.limit,
            cursor=listing.cursor,
        )
        return page_response("deliveries", page, self.shown)

    async def get(self, request: Request) -> Response:
        """Return one delivery with a page of its attempts, oldest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, {}, self._limits, cursor=by_sequence)
        row = await self._found(principal, request)
        page = await self._engine.search(
            AttemptQuery(organisation_id=principal.organisation_id, delivery_id=row.delivery.id),
            limit=listing.limit,
            cursor=listing.cursor,
        )
        return json_response(200, {**self.shown(row), **page_members("attempts", page, attempt_shown)})

    async def retry(self, request: Request) -> Response:
        """Make a delivery due now, whatever became of it."""
        principal = self._guard.guard(request, Scope.MANAGE)
        delivery = (await self._found(principal, request)).delivery
        if self._catalog.find_destination(principal.organisation_id, delivery.destination_id) is None:
            raise Conflict("the destination of this delivery was deleted", code="destination_deleted")
        record = record_of("delivery.retried", prefixed(DELIVERY, delivery.id))
        amendment = Retry(principal.organisation_id, delivery.id, self._clock.now_ms(), record)
        (result,) = await self._engine.amend([amendment])
        if result is AmendmentResult.REFUSED:
            raise Conflict("the delivery is being sent right now", code="delivery_sending")
        return json_response(202, self.shown(await self._found(principal, request)))

    async def cancel(self, request: Request) -> Response:
        """Stop a delivery; of one that is being sent, what comes back is still recorded."""
        principal = self._guard.guard(request, Scope.MANAGE)
        delivery = (await self._found(principal, request)).delivery
        record = record_of("delivery.cancelled", prefixed(DELIVERY, delivery.id))
        (result,) = await self._engine.amend([Cancel(principal.organisation_id, delivery.id, record)])
        if result is AmendmentResult.REFUSED:
            raise Conflict("nothing is left of the delivery to cancel", code="delivery_final")
        return json_response(200, self.shown(await self._found(principal, request)))

    async def _found(self, principal: Principal, request: Request) -> DeliveryRow:
        """Return the delivery of the path and its event; one that is not the key's to see is not there."""
        delivery_id = parse_delivery_id(request.path["delivery_id"])
        if delivery_id is not None:
            (delivery,) = await self._engine.find(Delivery, principal.organisation_id, [delivery_id])
            if delivery is not None:
                (event,) = await self._engine.find(Event, principal.organisation_id, [delivery.event_id])
                if event is not None and event.environment is principal.environment:
                    return DeliveryRow(delivery, event)
        raise NotFound("delivery not found")

    def shown(self, row: DeliveryRow) -> dict[str, Any]:
        """Return a delivery as lists show it."""
        delivery, event = row.delivery, row.event
        destination = self._catalog.find_destination(delivery.organisation_id, delivery.destination_id)
        return {
            "id": prefixed(DELIVERY, delivery.id),
            "status": word_of(delivery),
            "destination": {
                "id": prefixed(DESTINATION, delivery.destination_id),
                "name": None if destination is None else destination.name,
                "transport": None if destination is None else destination.transport.value,
            },
            "event": {
                "id": prefixed(EVENT, event.id),
                "dialect": event.dialect.value,
                "source": event.source,
                "type": event.type,
                "subject": event.subject,
                "severity": None if event.severity is None else event.severity.value,
                "environment": event.environment.value,
            },
            "attempts_made": delivery.attempts_made,
            "status_code": delivery.status_code,
            "duration_ms": delivery.duration_ms,
            "error": delivery.error,
            "created_at": time_shown(delivery.created_ms),
            "next_attempt_at": time_or_null(delivery.due_ms),
            "finished_at": time_or_null(delivery.settled_ms),
        }


# -- attempts ----------------------------------------------------------------------------------------------


def attempt_shown(recorded: RecordedAttempt) -> dict[str, Any]:
    """Return an attempt: what went out, what came back, and how long it took."""
    attempt = recorded.attempt
    return {
        "id": f"dat_{recorded.delivery_id.hex()}_{recorded.sequence}",
        "number": recorded.number,
        "started_at": time_shown(attempt.started_ms),
        "connect_ms": attempt.connect_ms,
        "duration_ms": attempt.duration_ms,
        "status_code": attempt.status_code,
        "error_class": None if attempt.error_class is None else attempt.error_class.value,
        "error": attempt.error,
        "remote_id": attempt.remote_id,
        "truncated": attempt.shortened,
        "request": {
            "line": attempt.exchange.request_line,
            "headers": _headers_shown(attempt.exchange.request_headers),
        },
        "response": _response_shown(attempt),
    }


def _response_shown(attempt: Attempt) -> dict[str, Any] | None:
    if attempt.status_code is None:
        return None
    exchange = attempt.exchange
    body, encoding = _body_shown(exchange)
    return {
        "headers": _headers_shown(exchange.response_headers),
        "body": body,
        "body_encoding": encoding,
        "truncated": exchange.response_truncated,
    }


def _body_shown(exchange: Exchange) -> tuple[str, str]:
    """Return a body as text, and ``utf-8``, or ``base64`` where it is not UTF-8."""
    # What was cut off may have been cut within a character, which then is no fault of the text.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        return decoder.decode(exchange.response_body, final=not exchange.response_truncated), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(exchange.response_body).decode(), "base64"


def _headers_shown(headers: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]
