"""The routes of events: send one in, list them, look at one, replay one."""

from __future__ import annotations

from tocsin.core.clock import Clock
from tocsin.core.destination import Destination
from tocsin.core.errors import Conflict, NotFound, PayloadTooLarge
from tocsin.core.event import Dialect, Draft, Environment, Event, IdempotencyKey, idempotency_key
from tocsin.core.identifiers import DestinationId, OrganisationId, digest, parse_event_id, prefixed
from tocsin.core.organisation import Scope
from tocsin.dialects.promptjang import parsing
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.listing import parse_listing
from tocsin.dialects.promptjang.rendering import CORRELATION_ID, accepted, event_detail, event_page
from tocsin.dialects.promptjang.signing import OpenSecrets, check_signature
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import AttemptQuery, DeliveryQuery, EventRow
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.ingest import Ingest
from tocsin.pipeline.replay import Replay
from tocsin.web.auth import Principal
from tocsin.web.guard import Guard
from tocsin.web.http import Request, Response, json_response

_REPLAYED_HEADER = (b"idempotent-replayed", b"true")


def find_endpoint(catalog: Catalog, organisation_id: OrganisationId, text: str) -> Destination:
    """Return the organisation's endpoint of this id.

    Raises:
        NotFound: there is none, or it is a destination that was made by other routes.
    """
    endpoint_id = parsing.parse_endpoint_id(text)
    found = None if endpoint_id is None else catalog.find_destination(organisation_id, endpoint_id)
    if found is None or found.origin is not Dialect.PROMPTJANG:
        raise NotFound("Endpoint not found", code="endpoint_not_found")
    return found


def refuse_disabled(endpoint: Destination) -> None:
    """Return if events for this endpoint are taken.

    Raises:
        Conflict: it is disabled.
    """
    if not endpoint.enabled:
        raise Conflict("Endpoint is disabled", code="endpoint_disabled")


def _endpoint_id_of(event: Event) -> DestinationId | None:
    """Return the endpoint that an event was sent to, or None; a CloudEvent may call its source as it likes."""
    return parsing.endpoint_of_source(event.source) if event.dialect is Dialect.PROMPTJANG else None


class EventRoutes:
    """Handlers of ``/e/{endpoint_id}`` and ``/api/v1/events``."""

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        engine: Engine,
        ingest: Ingest,
        replay: Replay,
        secrets: OpenSecrets,
        clock: Clock,
        limits: PromptJangLimits,
    ) -> None:
        self._guard = guard
        self._catalog = catalog
        self._engine = engine
        self._ingest = ingest
        self._replay = replay
        self._secrets = secrets
        self._clock = clock
        self._limits = limits

    # -- in ---------------------------------------------------------------------------------------------

    async def send(self, request: Request) -> Response:
        """Store a signed event: the checks of docs/decisions/0501, in their order."""
        principal = self._guard.guard(request, Scope.INGEST)
        endpoint = find_endpoint(self._catalog, principal.organisation_id, request.path["endpoint_id"])
        request.refuse_encoded()
        body = request.body
        if len(body) > self._limits.payload_max_bytes:
            raise PayloadTooLarge(f"Payload exceeds maximum size of {self._limits.payload_max_bytes} bytes")
        refuse_disabled(endpoint)
        now_ms = self._clock.now_ms()
        signature, timestamp = check_signature(
            signature=request.header(b"x-pj-signature"),
            timestamp=request.header(b"x-pj-timestamp"),
            body=body,
            secrets=self._secrets.of(endpoint),
            now_ms=now_ms,
            tolerance_s=self._limits.tolerance_s,
        )
        value = parsing.json_value(body)
        event_type = parsing.event_type(request.header(b"x-pj-event-type"), value)
        correlation_id = parsing.correlation_id(request.header(b"x-pj-correlation-id"))
        client_key = parsing.idempotency_key(request.header(b"idempotency-key"))
        receipt = await self._ingest.accept(
            Draft(
                organisation_id=principal.organisation_id,
                dialect=Dialect.PROMPTJANG,
                source=parsing.endpoint_source(endpoint.id),
                type=event_type,
                time_ms=now_ms,
                data=body,
                subject=correlation_id,
                environment=principal.environment,
                extension={} if correlation_id is None else {CORRELATION_ID: correlation_id},
                idempotency=self._idempotency(
                    endpoint, principal.environment, body, signed=f"{timestamp}.{signature}", client_key=client_key
                ),
            )
        )
        return json_response(
            202,
            accepted(receipt.event_id, "Event received and queued for delivery"),
            [_REPLAYED_HEADER] if receipt.repeated else None,
        )

    def _idempotency(
        self, endpoint: Destination, environment: Environment, body: bytes, *, signed: str, client_key: str | None
    ) -> tuple[IdempotencyKey, ...]:
        """Return the keys of a request: the client's own, where it has one, and the signature itself.

        Each counts in one environment: a rehearsal with a test key must not swallow the live event after it.
        """
        fingerprint = digest(body)
        by_signature = idempotency_key(
            endpoint.organisation_id,
            f"promptjang/{environment}/signature",
            f"{endpoint.id.hex()}.{signed}",
            fingerprint,
            # A timestamp may lie a tolerance ahead, and is taken until a tolerance behind.
            expires_after_ms=2 * self._limits.tolerance_s * 1000,
        )
        if client_key is None:
            return (by_signature,)
        by_client = idempotency_key(
            endpoint.organisation_id,
            f"promptjang/{environment}/endpoint/{endpoint.id.hex()}",
            client_key,
            fingerprint,
            expires_after_ms=self._limits.idempotency_ms,
        )
        return by_client, by_signature

    # -- out --------------------------------------------------------------------------------------------

    async def list(self, request: Request) -> Response:
        """Return a page of events, of all dialects, newest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = parse_listing(
            request.query,
            organisation_id=principal.organisation_id,
            environment=principal.environment,
            now_ms=self._clock.now_ms(),
            limits=self._limits,
        )
        page = None
        if listing.query is not None:
            page = await self._engine.search(
                listing.query, limit=listing.limit, cursor=listing.cursor, offset=listing.offset
            )
        return json_response(200, event_page(page, listing))

    async def get(self, request: Request) -> Response:
        """Return one event, whichever dialect it came by, with its deliveries and attempts."""
        principal = self._guard.guard(request, Scope.READ)
        row = await self._find(principal, request.path["event_id"])
        event = row.event
        organisation_id = principal.organisation_id
        rows = await self._engine.search(
            DeliveryQuery(organisation_id=organisation_id, event_id=event.id), limit=self._limits.deliveries_max
        )
        deliveries = [each.delivery for each in reversed(rows.rows)]
        endpoint_id = _endpoint_id_of(event)
        if endpoint_id is None:
            wanted = [AttemptQuery(organisation_id=organisation_id, event_id=event.id)]
        else:
            wanted = [
                AttemptQuery(organisation_id=organisation_id, delivery_id=each.id)
                for each in deliveries
                if each.destination_id == endpoint_id
            ]
        attempts = [
            attempt
            for query in wanted
            for attempt in (await self._engine.search(query, limit=self._limits.attempts_max)).rows
        ]
        return json_response(200, event_detail(row, deliveries, attempts))

    async def replay(self, request: Request) -> Response:
        """Make a new event of a past one; one for an endpoint is taken only where a new event for it would be."""
        principal = self._guard.guard(request, Scope.INGEST)
        row = await self._find(principal, request.path["event_id"])
        endpoint_id = _endpoint_id_of(row.event)
        if endpoint_id is not None:
            shown_id = prefixed(parsing.ENDPOINT, endpoint_id)
            refuse_disabled(find_endpoint(self._catalog, principal.organisation_id, shown_id))
        receipt = await self._replay.replay(principal.organisation_id, row.event.id)
        return json_response(202, accepted(receipt.event_id, "Event replayed"))

    async def _find(self, principal: Principal, text: str) -> EventRow:
        """Return the event of this id, in any dialect's writing, from the half that the key is made for."""
        event_id = parse_event_id(text)
        found = None
        if event_id is not None:
            (found,) = await self._engine.find(EventRow, principal.organisation_id, [event_id])
        if found is None or found.event.environment is not principal.environment:
            raise NotFound("Event not found", code="event_not_found")
        return found
