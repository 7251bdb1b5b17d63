"""The routes of Native Frame."""

from __future__ import annotations

import sys

from tocsin.core.clock import Clock, rfc3339
from tocsin.core.delivery import Delivery, DeliveryPhase, phase_of
from tocsin.core.destination import Destination
from tocsin.core.errors import Conflict, InvalidRequest, NotFound, TocsinError
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DeliveryId, DestinationId, OrganisationId, dashed, parse_prefixed, prefixed
from tocsin.core.organisation import Scope
from tocsin.dialects.nativeframe.access import Access
from tocsin.dialects.nativeframe.faults import Fault, FaultCode, InvalidFields
from tocsin.dialects.nativeframe.limits import NativeFrameLimits
from tocsin.dialects.nativeframe.parsing import parse_delivery_id, parse_event, parse_history, parse_ttl_s
from tocsin.dialects.nativeframe.rendering import STATUS_OF_PHASE, error_response, history_row, webhook_name
from tocsin.dialects.nativeframe.webhooks import Webhooks
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import AmendmentResult, Cancel, DeliveryQuery, DeliveryRow, Page
from tocsin.pipeline.audit import record_of
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.destinations import Destinations
from tocsin.pipeline.ingest import Ingest
from tocsin.web.auth import KeyRing, Principal
from tocsin.web.http import Handler, Request, Response, Route, json_response
from tocsin.web.tokens import Tokens
from tocsin.web.whole_pages import whole_page_response

_PROJECT = "/events/v2/projects/{project}"
_HISTORY = "/events/v2/history/webhooks/{name}"
_WAITING = frozenset({DeliveryPhase.NEW, DeliveryPhase.RETRYING})
_JWKS_CACHE = [(b"cache-control", b"public, max-age=300")]
_NO_STORE = [(b"cache-control", b"no-store")]


class NativeFrame:
    """The dialect.

    Args:
        debug: errors tell their cause in ``internal``; for development only.
    """

    def __init__(
        self,
        *,
        keys: KeyRing,
        tokens: Tokens,
        catalog: Catalog,
        engine: Engine,
        ingest: Ingest,
        destinations: Destinations,
        clock: Clock,
        limits: NativeFrameLimits,
        debug: bool = False,
    ) -> None:
        self._tokens = tokens
        self._catalog = catalog
        self._engine = engine
        self._ingest = ingest
        self._clock = clock
        self._limits = limits
        self._debug = debug
        self._access = Access(keys=keys, tokens=tokens)
        self._webhooks = Webhooks(access=self._access, catalog=catalog, destinations=destinations, limits=limits)

    def routes(self) -> tuple[Route, ...]:
        """Return the dialect's routes."""
        webhook = f"{_PROJECT}/webhooks/{{name}}"
        return (
            self._route("GET", _HISTORY, self._search),
            self._route("POST", f"{_HISTORY}/{{id}}/cancel", self._cancel),
            self._route("POST", f"{_PROJECT}/events/{{event}}", self._accept, self._limits.event_bytes_max),
            self._route("GET", f"{_PROJECT}/webhooks", self._webhooks.list),
            self._route("PUT", webhook, self._webhooks.put),
            self._route("GET", webhook, self._webhooks.get),
            self._route("DELETE", webhook, self._webhooks.delete),
            self._route("GET", "/auth/v1/jwks", self._jwks),
            self._route("POST", "/auth/v1/service-jwt", self._service_jwt),
        )

    def not_found(self, request: Request) -> Response:
        """Return the answer to a path below the dialect's that is nobody's."""
        return self._tell(request, NotFound("there is nothing at this path", code="route_not_found"))

    def _route(self, method: str, path: str, handler: Handler, bytes_max: int | None = None) -> Route:
        return Route(
            method=method,
            path=path,
            handler=handler,
            errors=self._tell,
            name=Dialect.NATIVEFRAME,
            body_limit_bytes=self._limits.config_bytes_max if bytes_max is None else bytes_max,
        )

    def _tell(self, request: Request, error: TocsinError) -> Response:
        internal: str | None = None
        if self._debug:
            # A fault of ours reaches this renderer as a bare error; what was raised is still being handled.
            cause = sys.exception() or error
            internal = f"{request.method} {request.url_path}: {type(cause).__name__}: {cause}"
        return error_response(error, internal)

    # -- events -----------------------------------------------------------------------------------------

    async def _accept(self, request: Request) -> Response:
        principal = await self._access.principal(request, Scope.INGEST)
        new = parse_event(
            request.path,
            request.query,
            request.body,
            organisation_id=principal.organisation_id,
            environment=principal.environment,
            now_ms=self._clock.now_ms(),
            limits=self._limits,
        )
        receipt = await self._ingest.accept(new.draft)
        return json_response(202, {"id": new.source_id or dashed(receipt.event_id)})

    # -- history ----------------------------------------------------------------------------------------

    async def _search(self, request: Request) -> Response:
        principal = await self._access.principal(request, Scope.READ)
        search = parse_history(request.path, request.query, self._limits)
        webhook = self._webhook(principal.organisation_id, request.path["name"])
        query = DeliveryQuery(
            organisation_id=principal.organisation_id,
            destination_id=webhook.id,
            since_ms=search.since_ms,
            until_ms=search.until_ms,
            event_type=search.event,
            environment=principal.environment,
            phases=search.phases,
            status_code=search.status_code,
            attempts_min=search.attempts_min,
            # The answer is a bare list.
            counted=False,
        )
        name = webhook_name(webhook)

        async def read(limit: int, cursor: bytes | None) -> Page[DeliveryRow]:
            offset = search.offset if cursor is None else 0
            return await self._engine.search(query, limit=limit, cursor=cursor, offset=offset)

        return await whole_page_response(
            read, search.limit, shown=lambda row: history_row(row, name), around=lambda _: (b"[", b"]")
        )

    async def _cancel(self, request: Request) -> Response:
        principal = await self._access.principal(request, Scope.MANAGE)
        name, delivery_id = parse_delivery_id(request.path)
        organisation_id = principal.organisation_id
        webhook = self._webhook(organisation_id, name)
        before = (await self._delivery(principal, webhook.id, delivery_id)).delivery
        phase = phase_of(before.state, before.attempts_made)
        # Between this look and the amendment it may be leased. Then it is cancelled all the same, and what comes back
        # is kept as a late attempt.
        if phase is DeliveryPhase.SENDING:
            raise Conflict("the delivery is being sent", code="delivery_in_flight")
        if phase not in _WAITING:
            raise Conflict(f"the delivery is final: {STATUS_OF_PHASE[phase]}", code="delivery_final")
        record = record_of("delivery.cancelled", prefixed("dlv", delivery_id))
        (result,) = await self._engine.amend([Cancel(organisation_id, delivery_id, record)])
        if result is AmendmentResult.REFUSED:
            raise Conflict("the delivery is final", code="delivery_final")
        after = await self._delivery(principal, webhook.id, delivery_id)
        return json_response(200, history_row(after, webhook_name(webhook)))

    async def _delivery(
        self, principal: Principal, destination_id: DestinationId, delivery_id: DeliveryId
    ) -> DeliveryRow:
        (found,) = await self._engine.find(Delivery, principal.organisation_id, [delivery_id])
        if found is not None and found.destination_id == destination_id:
            (event,) = await self._engine.find(Event, principal.organisation_id, [found.event_id])
            if event is not None and event.environment is principal.environment:
                return DeliveryRow(found, event)
        raise NotFound("there is no such delivery of this webhook", code="delivery_not_found")

    def _webhook(self, organisation_id: OrganisationId, name: str) -> Destination:
        """Return what a name of the history means.

        First a webhook of this dialect; then the oldest destination of any origin that has exactly this name; then
        the one whose id it is, as the native routes and PromptJang's write it.
        """
        found = self._catalog.find_named_destination(organisation_id, Dialect.NATIVEFRAME, name)
        if found is None:
            destinations = self._catalog.destinations(organisation_id)
            found = next((each for each in destinations if each.name == name), None)
        identifier = parse_prefixed("dst", name) or parse_prefixed("ep", name)
        if found is None and identifier is not None:
            found = self._catalog.find_destination(organisation_id, DestinationId(identifier))
        if found is None:
            raise NotFound("there is no such webhook", code="webhook_not_found")
        return found

    # -- tokens -----------------------------------------------------------------------------------------

    async def _jwks(self, _: Request) -> Response:
        return json_response(200, {"keys": self._tokens.public_keys()}, _JWKS_CACHE)

    async def _service_jwt(self, request: Request) -> Response:
        principal = await self._access.key_holder(request, Scope.MANAGE)
        principal.require_live()
        ttl_s = parse_ttl_s(request.body)
        try:
            token, expires_ms = await self._tokens.mint(principal.organisation_id, ttl_s)
        except InvalidRequest as error:
            raise InvalidFields([Fault(name, reason, FaultCode.RANGE) for name, reason in error.fields]) from error
        await self._catalog.note("token.minted", {"expires_at": rfc3339(expires_ms)})
        return json_response(201, {"jwt": token, "expiresAt": rfc3339(expires_ms)}, _NO_STORE)
