"""The six routes of the Buildable Event API."""

from __future__ import annotations

from tocsin.core.clock import Clock
from tocsin.core.errors import InvalidRequest, NotAuthenticated, NotFound
from tocsin.core.event import Dialect, Draft, IdempotencyKey, idempotency_key
from tocsin.core.identifiers import digest, hex32
from tocsin.core.organisation import Scope
from tocsin.core.transaction import TransactionState
from tocsin.dialects.buildable import parsing, rendering
from tocsin.dialects.buildable.limits import BuildableLimits
from tocsin.engine.rows import Page
from tocsin.pipeline.consumption import Consumer, Consumption, Standing
from tocsin.pipeline.ingest import Ingest
from tocsin.web.auth import KeyRing, Principal
from tocsin.web.http import Handler, Request, Response, Route, json_response
from tocsin.web.whole_pages import whole_page_response

SOURCE = "buildable"


class Buildable:
    """Takes events by /emit, and hands any event of the organisation to its consumer groups.

    Args:
        event_retention_ms: how long events are kept, for ``ttl``; None is for ever.
    """

    def __init__(
        self,
        *,
        ingest: Ingest,
        consumption: Consumption,
        keys: KeyRing,
        clock: Clock,
        event_retention_ms: int | None = None,
        limits: BuildableLimits | None = None,
    ) -> None:
        self._ingest = ingest
        self._consumption = consumption
        self._keys = keys
        self._clock = clock
        self._event_retention_ms = event_retention_ms
        self._limits = BuildableLimits() if limits is None else limits

    def routes(self) -> tuple[Route, ...]:
        """Return the dialect's routes."""
        return (
            self._route("/emit", self.emit),
            self._route("/query", self.query),
            self._route("/update", self.update),
            self._route("/init", self.init),
            self._route("/transact", self.transact),
            self._route("/get-full-event-name", self.full_name),
        )

    def _route(self, path: str, handler: Handler) -> Route:
        return Route(
            method="POST",
            path=path,
            handler=handler,
            errors=rendering.error_response,
            name="buildable",
            body_limit_bytes=self._limits.body_max_bytes,
        )

    async def emit(self, request: Request) -> Response:
        """Store an event."""
        principal = self._principal(request, Scope.INGEST)
        wanted = parsing.parse_emit(request.body, self._limits)
        receipt = await self._ingest.accept(
            Draft(
                organisation_id=principal.organisation_id,
                dialect=Dialect.BUILDABLE,
                source=SOURCE,
                type=wanted.event_name,
                time_ms=self._clock.now_ms(),
                data=wanted.payload,
                environment=principal.environment,
                extension={rendering.KEY_MEMBER: principal.key_id.hex()} if principal.key_id else {},
                idempotency=self._idempotency(request, principal, wanted),
            )
        )
        headers = [(b"idempotent-replayed", b"true")] if receipt.repeated else None
        return json_response(200, {"status": "success", "key": hex32(receipt.event_id)}, headers)

    async def query(self, request: Request) -> Response:
        """List events by what a consumer group has made of them."""
        principal = self._principal(request, Scope.READ)
        wanted = parsing.parse_query(request.body, self._limits)
        consumer = _consumer(principal, wanted.tx_key)
        lifetime = self._lifetime()

        async def read(limit: int, cursor: bytes | None) -> Page[Standing]:
            return await self._page(consumer, wanted, limit=limit, cursor=cursor)

        return await whole_page_response(
            read,
            wanted.page_size,
            shown=lambda standing: rendering.page_row(standing, lifetime),
            around=lambda page: rendering.around_rows(page, number=wanted.page, size=wanted.page_size),
        )

    async def _page(
        self, consumer: Consumer, wanted: parsing.Query, *, limit: int, cursor: bytes | None
    ) -> Page[Standing]:
        if wanted.state is TransactionState.PENDING:
            # A transaction begins in processing, so nothing ever waits in pending.
            return Page(rows=[], next_cursor=None, total=0)
        return await self._consumption.list(
            consumer,
            wanted.full_name,
            wanted.state,
            since_ms=wanted.since_ms,
            limit=limit,
            offset=(wanted.page - 1) * wanted.page_size if cursor is None else 0,
            cursor=cursor,
        )

    async def update(self, request: Request) -> Response:
        """Move a transaction to another state."""
        principal = self._principal(request, Scope.INGEST)
        wanted = parsing.parse_update(request.body, self._limits)
        consumer = _consumer(principal, wanted.tx_key)
        event = await self._consumption.event(consumer, wanted.event_id)
        if not parsing.is_named(event.type, wanted.event_name):
            raise NotFound("there is no such event of this name")
        standing = await self._consumption.move(consumer, event, wanted.state)
        return json_response(200, rendering.event_object(standing, self._lifetime()))

    async def init(self, request: Request) -> Response:
        """Start a transaction."""
        principal = self._principal(request, Scope.INGEST)
        wanted = parsing.parse_init(request.body, self._limits)
        begun = await self._consumption.begin(_consumer(principal, wanted.tx_key), wanted.event_id)
        return json_response(200, rendering.transaction_object(begun, self._lifetime()))

    async def transact(self, request: Request) -> Response:
        """End a transaction."""
        principal = self._principal(request, Scope.INGEST)
        wanted = parsing.parse_transact(request.body, self._limits)
        ended = await self._consumption.end(
            _consumer(principal, wanted.tx_key), wanted.event_id, wanted.state, wanted.output
        )
        return json_response(200, rendering.transaction_object(ended, self._lifetime()))

    async def full_name(self, request: Request) -> Response:
        """Tell an event's full name."""
        self._principal(request, Scope.READ)
        return json_response(200, {"fullName": parsing.parse_full_name(request.body, self._limits)})

    def _principal(self, request: Request, scope: Scope) -> Principal:
        secret = request.header(b"x-buildable-secret")
        # White space around a value is no part of it: RFC 9110, 5.5.
        principal = None if secret is None else self._keys.find(secret.strip(" \t"))
        if principal is None:
            raise NotAuthenticated("the header X-Buildable-Secret is missing, or its key is not known")
        principal.require(scope)
        return principal

    def _idempotency(
        self, request: Request, principal: Principal, wanted: parsing.Emit
    ) -> tuple[IdempotencyKey, ...]:
        key = request.header(b"idempotency-key")
        if not key:
            return ()
        if len(key) > self._limits.idempotency_key_max_characters:
            reason = f"must have at most {self._limits.idempotency_key_max_characters} characters"
            raise InvalidRequest(f"Idempotency-Key {reason}", fields=(("Idempotency-Key", reason),))
        return (
            idempotency_key(
                principal.organisation_id,
                f"buildable/emit/{principal.environment.value}",
                key,
                digest(wanted.event_name.encode(), wanted.payload),
                expires_after_ms=self._limits.idempotency_kept_ms,
            ),
        )

    def _lifetime(self) -> rendering.Lifetime:
        return rendering.Lifetime(self._clock.now_ms(), self._event_retention_ms)


def _consumer(principal: Principal, tx_key: str) -> Consumer:
    return Consumer(
        organisation_id=principal.organisation_id,
        environment=principal.environment,
        tx_key=tx_key,
        by=tx_key if principal.key_id is None else hex32(principal.key_id),
    )
