"""The routes of service keys, with which Native Frame's tokens are signed."""

from __future__ import annotations

from typing import Any

from tocsin.core.errors import NotFound
from tocsin.core.identifiers import KeyId, hex32, parse_hex32
from tocsin.core.organisation import Scope, ServiceKey
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import page_of, page_response, read_listing
from tocsin.dialects.native.reading import Field, read_body, word, wrong
from tocsin.dialects.native.rendering import time_shown
from tocsin.pipeline.catalog import Catalog
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response
from tocsin.web.tokens import ALGORITHMS, Tokens


def _jwk(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong("must be an object")
    return value


_CREATION = {"algorithm": Field(word(ALGORITHMS)), "private_jwk": Field(_jwk)}


class ServiceKeyRoutes:
    """Handlers of ``/service-keys``."""

    def __init__(self, *, guard: Guard, catalog: Catalog, tokens: Tokens, limits: NativeLimits) -> None:
        self._guard = guard
        self._catalog = catalog
        self._tokens = tokens
        self._limits = limits

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (
            ("GET", "/service-keys", self.list),
            ("POST", "/service-keys", self.create),
            ("DELETE", "/service-keys/{service_key_id}", self.delete),
        )

    async def list(self, request: Request) -> Response:
        """Return a page of service keys, oldest first; the newest of all signs."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, {}, self._limits)
        keys = self._catalog.service_keys(principal.organisation_id)
        return page_response("service_keys", page_of(keys, listing), _shown)

    async def create(self, request: Request) -> Response:
        """Make a service key, or take the one that is given; it signs from now on."""
        principal = self._guard.guard(request, Scope.MANAGE)
        principal.require_live()
        given = read_body(request.body, _CREATION)
        made = await self._tokens.add_key(
            principal.organisation_id, given.get("algorithm", ALGORITHMS[0]), given.get("private_jwk")
        )
        return json_response(201, _shown(made))

    async def delete(self, request: Request) -> Response:
        """Remove a service key; its tokens are not good any more."""
        principal = self._guard.guard(request, Scope.MANAGE)
        principal.require_live()
        key_id = parse_hex32(request.path["service_key_id"])
        found = None if key_id is None else self._catalog.find_service_key(KeyId(key_id))
        if found is None or found.organisation_id != principal.organisation_id:
            raise NotFound("service key not found")
        await self._catalog.remove(ServiceKey, found.organisation_id, found.id)
        return json_response(200, {"kid": hex32(found.id), "deleted": True})


def _shown(key: ServiceKey) -> dict[str, Any]:
    return {
        "kid": hex32(key.id),
        "algorithm": key.algorithm,
        "public_jwk": key.public_jwk,
        "created_at": time_shown(key.created_ms),
    }
