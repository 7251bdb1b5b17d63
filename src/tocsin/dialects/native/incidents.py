"""The routes of incidents: what PushGo's events opened, how it stands, and how it came to that."""

from __future__ import annotations

from typing import Any

from tocsin.core.errors import NotFound
from tocsin.core.event import Dialect
from tocsin.core.identifiers import ChannelId, created_ms, crockford, hex32, parse_crockford, parse_event_id, prefixed
from tocsin.core.incident import Incident, IncidentState
from tocsin.core.organisation import Scope
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import WINDOW, page_members, page_response, read_listing
from tocsin.dialects.native.reading import Reader, choice, wrong
from tocsin.dialects.native.rendering import EVENT, document, time_or_null, time_shown
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import EventQuery, EventRow, IncidentQuery
from tocsin.pipeline.catalog import Catalog
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response


def _channel(value: str) -> str:
    found = parse_crockford(value)
    if found is None:
        raise wrong("must be a channel's id: 26 Crockford base32 digits")
    return crockford(found)


_TERMS: dict[str, Reader] = {"state": choice(IncidentState), "channel": _channel, **WINDOW}


class IncidentRoutes:
    """Handlers of ``/incidents``."""

    def __init__(self, *, guard: Guard, catalog: Catalog, engine: Engine, limits: NativeLimits) -> None:
        self._guard = guard
        self._catalog = catalog
        self._engine = engine
        self._limits = limits

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (("GET", "/incidents", self.list), ("GET", "/incidents/{incident_id}", self.get))

    async def list(self, request: Request) -> Response:
        """Return a page of incidents of the key's environment, newest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, _TERMS, self._limits)
        page = await self._engine.search(
            IncidentQuery(
                organisation_id=principal.organisation_id,
                environment=principal.environment,
                since_ms=listing.terms.get("since"),
                until_ms=listing.terms.get("until"),
                state=listing.terms.get("state"),
                channel=listing.terms.get("channel"),
            ),
            limit=listing.limit,
            cursor=listing.cursor,
        )
        return page_response("incidents", page, self._shown)

    async def get(self, request: Request) -> Response:
        """Return one incident with a page of its timeline, oldest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, {}, self._limits)
        incident_id = parse_event_id(request.path["incident_id"])
        found = None
        if incident_id is not None:
            (found,) = await self._engine.find(Incident, principal.organisation_id, [incident_id])
        if found is None or found.environment is not principal.environment:
            raise NotFound("incident not found")
        page = await self._engine.search(
            EventQuery(
                organisation_id=principal.organisation_id,
                environment=principal.environment,
                dialect=Dialect.PUSHGO,
                source=f"pushgo/channel/{found.channel}",
                subject=hex32(found.id),
                ascending=True,
            ),
            limit=listing.limit,
            cursor=listing.cursor,
        )
        return json_response(
            200, {**self._shown(found), "attrs": found.attrs, **page_members("timeline", page, _step_shown)}
        )

    def _shown(self, incident: Incident) -> dict[str, Any]:
        channel_id = parse_crockford(incident.channel)
        channel = None
        if channel_id is not None:
            channel = self._catalog.find_channel(incident.organisation_id, ChannelId(channel_id))
        return {
            "id": hex32(incident.id),
            "channel": {"id": incident.channel, "name": None if channel is None else channel.name},
            "state": incident.state.value,
            "profile": incident.profile,
            "opened_at": time_shown(incident.opened_ms),
            "updated_at": time_shown(incident.updated_ms),
            "closed_at": time_or_null(incident.closed_ms),
        }


def _step_shown(row: EventRow) -> dict[str, Any]:
    """Return one event of a timeline; its data never holds the channel's password."""
    event = row.event
    return {
        "event_id": prefixed(EVENT, event.id),
        "type": event.type,
        "time": time_shown(event.time_ms),
        "accepted_at": time_shown(created_ms(event.id)),
        "state": None if event.incident_state is None else event.incident_state.value,
        "severity": None if event.severity is None else event.severity.value,
        "status": row.status.value,
        "replay_of": None if event.replay_of is None else prefixed(EVENT, event.replay_of),
        "data": document(event.data),
    }
