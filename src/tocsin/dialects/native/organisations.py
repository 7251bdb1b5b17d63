"""The routes of organisations, for the operator's key alone."""

from __future__ import annotations

from typing import Any

from tocsin.core.clock import Clock
from tocsin.core.identifiers import IdSequence, OrganisationId, prefixed
from tocsin.core.organisation import Organisation, Scope
from tocsin.core.quota import Plan
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import page_of, page_response, read_listing
from tocsin.dialects.native.reading import Field, choice, read_body, text
from tocsin.dialects.native.rendering import ORGANISATION, time_shown
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.keys import Keys
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response

_FIRST_KEY_NAME = "first key"


class OrganisationRoutes:
    """Handlers of ``/organisations``."""

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        keys: Keys,
        clock: Clock,
        ids: IdSequence,
        limits: NativeLimits,
    ) -> None:
        self._guard = guard
        self._catalog = catalog
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._creation = {
            "name": Field(text(1, limits.name_characters_max), required=True),
            "plan": Field(choice(Plan)),
        }

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (("GET", "/organisations", self.list), ("POST", "/organisations", self.create))

    async def list(self, request: Request) -> Response:
        """Return a page of all organisations, oldest first."""
        self._guard.guard(request, Scope.OPERATOR)
        listing = read_listing(request, {}, self._limits)
        return page_response("organisations", page_of(self._catalog.organisations(), listing), _shown)

    async def create(self, request: Request) -> Response:
        """Make an organisation with a first API key, which is shown in this answer alone."""
        self._guard.guard(request, Scope.OPERATOR)
        given = read_body(request.body, self._creation)
        now_ms = self._clock.now_ms()
        organisation = Organisation(
            id=OrganisationId(self._ids.make(now_ms)),
            name=given["name"],
            created_ms=now_ms,
            plan=given.get("plan", Plan.UNLIMITED),
        )
        made = self._keys.prepare(organisation.id, _FIRST_KEY_NAME)
        # One commit: no organisation that nobody has a key to.
        await self._catalog.save(organisation, made.key)
        return json_response(201, {**_shown(organisation), "api_key": made.text})


def _shown(organisation: Organisation) -> dict[str, Any]:
    return {
        "id": prefixed(ORGANISATION, organisation.id),
        "name": organisation.name,
        "plan": organisation.plan.value,
        "jwks_url": organisation.jwks_url,
        "created_at": time_shown(organisation.created_ms),
    }
