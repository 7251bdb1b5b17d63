"""The data of one event by themselves, byte for byte."""

from __future__ import annotations

from tocsin.core.destination import Format
from tocsin.core.errors import NotFound
from tocsin.core.event import Event
from tocsin.core.identifiers import parse_event_id
from tocsin.core.organisation import Scope
from tocsin.engine.protocol import Engine
from tocsin.transports.rendering import render
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response

_CONFINED = [(b"content-disposition", b"attachment"), (b"content-security-policy", b"sandbox")]
"""Whoever sent the event chose content and type: no browser may take it for a page of this origin."""


class EventDataRoutes:
    """The handler of ``/events/{event_id}/data``."""

    def __init__(self, *, guard: Guard, engine: Engine) -> None:
        self._guard = guard
        self._engine = engine

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (("GET", "/events/{event_id}/data", self.get),)

    async def get(self, request: Request) -> Response:
        """Return an event's data and their type as a webhook of the format ``raw`` has them."""
        principal = self._guard.guard(request, Scope.READ)
        event_id = parse_event_id(request.path["event_id"])
        found = None
        if event_id is not None:
            (found,) = await self._engine.find(Event, principal.organisation_id, [event_id])
        if found is None or found.environment is not principal.environment:
            raise NotFound("event not found")
        raw = render(found, Format.RAW)
        assert raw.content_type is not None, "raw always says what it is"
        return Response(
            status=200, body=raw.body, headers=[(b"content-type", raw.content_type.encode("latin-1")), *_CONFINED]
        )
