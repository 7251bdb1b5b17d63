"""The dialect's routes."""

from __future__ import annotations

from tocsin.core.clock import Clock
from tocsin.dialects.promptjang.account import AccountRoutes
from tocsin.dialects.promptjang.endpoints import EndpointRoutes
from tocsin.dialects.promptjang.events import EventRoutes
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.rendering import error_response
from tocsin.dialects.promptjang.signing import OpenSecrets
from tocsin.engine.protocol import Engine
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.destinations import Destinations
from tocsin.pipeline.ingest import Ingest
from tocsin.pipeline.keys import Keys
from tocsin.pipeline.recovery import Recovery
from tocsin.pipeline.replay import Replay
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, Route, json_response

NAME = "promptjang"


class PromptJang:
    """The PromptJang API; its list, detail and replay also serve the events of every other dialect."""

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        engine: Engine,
        ingest: Ingest,
        destinations: Destinations,
        replay: Replay,
        recovery: Recovery,
        keys: Keys,
        clock: Clock,
        limits: PromptJangLimits,
    ) -> None:
        self._guard = guard
        self._limits = limits
        self._events = EventRoutes(
            guard=guard,
            catalog=catalog,
            engine=engine,
            ingest=ingest,
            replay=replay,
            secrets=OpenSecrets(destinations, clock, kept_max=limits.open_secrets_max),
            clock=clock,
            limits=limits,
        )
        self._endpoints = EndpointRoutes(
            guard=guard, catalog=catalog, destinations=destinations, recovery=recovery, limits=limits
        )
        self._account = AccountRoutes(
            guard=guard, catalog=catalog, engine=engine, keys=keys, clock=clock, limits=limits
        )

    def routes(self) -> tuple[Route, ...]:
        """Return every route of the dialect."""
        events, endpoints, account = self._events, self._endpoints, self._account
        return (
            self._sending("/e/{endpoint_id}"),
            self._sending("/api/v1/e/{endpoint_id}"),
            self._route("GET", "/api/v1/events", events.list),
            self._route("GET", "/api/v1/events/{event_id}", events.get),
            self._route("POST", "/api/v1/events/{event_id}/replay", events.replay),
            self._route("POST", "/api/v1/endpoints", endpoints.create),
            self._route("GET", "/api/v1/endpoints", endpoints.list),
            self._route("GET", "/api/v1/endpoints/{endpoint_id}", endpoints.get),
            self._route("PATCH", "/api/v1/endpoints/{endpoint_id}", endpoints.change),
            self._route("DELETE", "/api/v1/endpoints/{endpoint_id}", endpoints.delete),
            self._route("POST", "/api/v1/endpoints/{endpoint_id}/rotate-secret", endpoints.rotate_secret),
            self._route("POST", "/api/v1/endpoints/{endpoint_id}/test", endpoints.test),
            self._route("POST", "/api/v1/endpoints/{endpoint_id}/recover", endpoints.recover),
            self._route("POST", "/api/v1/keys", account.create_key),
            self._route("GET", "/api/v1/keys", account.list_keys),
            self._route("DELETE", "/api/v1/keys/{key_id}", account.delete_key),
            self._route("GET", "/api/v1/orgs", account.get_organisation),
            self._route("PATCH", "/api/v1/orgs", account.change_organisation),
            self._route("GET", "/api/v1/stats", account.stats),
            self._route("GET", "/health", _health),
        )

    def _route(self, method: str, path: str, handler: Handler) -> Route:
        return Route(
            method=method,
            path=path,
            handler=handler,
            errors=error_response,
            name=NAME,
            body_limit_bytes=self._limits.control_body_max_bytes,
            finish=self._guard.finish,
        )

    def _sending(self, path: str) -> Route:
        return Route(
            method="POST",
            path=path,
            handler=self._events.send,
            errors=error_response,
            name=NAME,
            body_limit_bytes=self._limits.payload_max_bytes,
            # The contract's own words for a large body come after the key and the endpoint are known.
            body_limit_first=False,
            finish=self._guard.finish_ingest,
        )


async def _health(_request: Request) -> Response:
    """Say that the process answers; anybody may ask."""
    return json_response(200, {"status": "ok"})
