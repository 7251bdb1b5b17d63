"""The route of the audit trail: who changed what by hand."""

from __future__ import annotations

from typing import Any

from tocsin.core.audit import Actor, ActorKind, AuditRecord
from tocsin.core.identifiers import parse_prefixed, prefixed
from tocsin.core.organisation import Scope
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import WINDOW, page_response, read_listing
from tocsin.dialects.native.reading import Reader, text, wrong
from tocsin.dialects.native.rendering import DESTINATION, parse_destination_id, time_shown
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import AuditQuery
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response

_KEY = "key"


class AuditRoutes:
    """Handler of ``/audit``."""

    def __init__(self, *, guard: Guard, engine: Engine, limits: NativeLimits) -> None:
        self._guard = guard
        self._engine = engine
        self._limits = limits
        term = text(1, limits.term_characters_max)
        self._terms: dict[str, Reader] = {"actor": _actor, "action": term, "subject": _subject(term), **WINDOW}

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (("GET", "/audit", self.list),)

    async def list(self, request: Request) -> Response:
        """Return a page of records, newest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, self._terms, self._limits)
        terms = listing.terms
        page = await self._engine.search(
            AuditQuery(
                organisation_id=principal.organisation_id,
                since_ms=terms.get("since"),
                until_ms=terms.get("until"),
                action=terms.get("action"),
                subject=terms.get("subject"),
                **terms.get("actor", {}),
            ),
            limit=listing.limit,
            cursor=listing.cursor,
        )
        return page_response("records", page, _shown)


def _actor(value: str) -> dict[str, Any]:
    """Read a key's id, or a kind of actor; return the term of the query that it means."""
    key_id = parse_prefixed(_KEY, value)
    if key_id is not None:
        return {"key_id": key_id}
    if value not in list(ActorKind):
        raise wrong(f"must be a key's id, key_ and 32 hex digits, or one of {', '.join(ActorKind)}")
    return {"actor": ActorKind(value)}


def _subject(term: Reader) -> Reader:
    """Return a reader of an id as some route shows it; an endpoint is the destination that it is."""

    def read(value: str) -> str:
        destination_id = parse_destination_id(value)
        found: str = term(value) if destination_id is None else prefixed(DESTINATION, destination_id)
        return found

    return read


def _shown(record: AuditRecord) -> dict[str, Any]:
    return {
        "id": prefixed("aud", record.id),
        "time": time_shown(record.at_ms),
        "actor": _actor_shown(record.actor),
        "action": record.action,
        "subject": record.subject,
        "summary": record.summary,
        "client": record.client,
    }


def _actor_shown(actor: Actor) -> dict[str, Any]:
    return {
        "kind": actor.kind.value,
        "key_id": None if actor.key_id is None else prefixed(_KEY, actor.key_id),
        "name": actor.name,
    }
