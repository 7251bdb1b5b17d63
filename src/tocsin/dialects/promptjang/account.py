"""The routes of the organisation itself: its keys, its name, its figures."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from tocsin.core.clock import Clock, rfc3339
from tocsin.core.delivery import DeliveryPhase, EventStatus
from tocsin.core.errors import NotFound, Unavailable
from tocsin.core.event import Dialect, Environment
from tocsin.core.identifiers import KeyId, parse_prefixed
from tocsin.core.organisation import GRANTABLE_SCOPES, ApiKey, Scope
from tocsin.dialects.promptjang import parsing
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.rendering import key_shown, organisation_shown
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import DeliveryQuery, EventQuery, Query
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.keys import Keys
from tocsin.web.auth import Principal
from tocsin.web.guard import Guard
from tocsin.web.http import Request, Response, json_response

_KEY = frozenset({"name", "environment", "scopes"})
_ORGANISATION = frozenset({"name", "jwks_url"})


class KeyWish(msgspec.Struct, frozen=True, kw_only=True):
    """The key that a caller wants."""

    name: str
    environment: Environment = Environment.LIVE
    scopes: frozenset[Scope] = GRANTABLE_SCOPES


def parse_key(body: bytes, limits: PromptJangLimits) -> KeyWish:
    """Return the key that a body asks for.

    Raises:
        InvalidRequest: a member is missing, unknown or out of bounds; the operator's scope is granted by no route.
    """
    given = parsing.members(body, _KEY)
    if "name" not in given:
        raise parsing.invalid("name", "is required")
    name = parsing.text_of(given["name"], "name", least=1, most=limits.name_max_characters)
    environment = given.get("environment", Environment.LIVE.value)
    if environment not in (Environment.LIVE.value, Environment.TEST.value):
        raise parsing.invalid("environment", "must be live or test")
    scopes = given.get("scopes", sorted(GRANTABLE_SCOPES))
    grantable = {scope.value for scope in GRANTABLE_SCOPES}
    if not isinstance(scopes, list) or not scopes or not all(isinstance(each, str) for each in scopes):
        raise parsing.invalid("scopes", "must be a list of at least one scope")
    if not grantable.issuperset(scopes):
        raise parsing.invalid("scopes", f"must be among {', '.join(sorted(grantable))}")
    return KeyWish(name=name, environment=Environment(environment), scopes=frozenset(Scope(each) for each in scopes))


def parse_organisation(body: bytes, limits: PromptJangLimits) -> dict[str, Any]:
    """Return the fields of the organisation that a body replaces.

    Raises:
        InvalidRequest: a member is unknown or out of bounds.
    """
    given = parsing.members(body, _ORGANISATION)
    fields: dict[str, Any] = {}
    if "name" in given:
        fields["name"] = parsing.text_of(given["name"], "name", least=1, most=limits.name_max_characters)
    if "jwks_url" in given:
        fields["jwks_url"] = _jwks_url(given["jwks_url"], limits)
    return fields


def _jwks_url(value: Any, limits: PromptJangLimits) -> str | None:
    """Return the URL; only over TLS, since whoever can change what it answers signs tokens for the organisation."""
    if value is None:
        return None
    url = parsing.text_of(value, "jwks_url", least=1, most=limits.url_max_characters)
    try:
        parts = urlsplit(url)
        wrong = parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.port == 0
    except ValueError:
        wrong = True
    if wrong or " " in url or not url.isascii():
        raise parsing.invalid("jwks_url", "must be an https URL without credentials, or null")
    return url


class AccountRoutes:
    """Handlers of ``/api/v1/keys``, ``/api/v1/orgs`` and ``/api/v1/stats``."""

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        engine: Engine,
        keys: Keys,
        clock: Clock,
        limits: PromptJangLimits,
    ) -> None:
        self._guard = guard
        self._catalog = catalog
        self._engine = engine
        self._keys = keys
        self._clock = clock
        self._limits = limits

    # -- keys -------------------------------------------------------------------------------------------

    async def create_key(self, request: Request) -> Response:
        """Make an API key; it is shown in this answer alone."""
        principal = self._guard.guard(request, Scope.MANAGE)
        wish = parse_key(request.body, self._limits)
        if wish.environment is Environment.LIVE:
            principal.require_live()
        made = await self._keys.create(
            principal.organisation_id, wish.name, environment=wish.environment, scopes=wish.scopes
        )
        return json_response(201, key_shown(made.key, text=made.text))

    async def list_keys(self, request: Request) -> Response:
        """Return the keys that this one may see, oldest first."""
        principal = self._guard.guard(request, Scope.READ)
        return json_response(200, {"keys": [key_shown(each) for each in self._visible(principal)]})

    async def delete_key(self, request: Request) -> Response:
        """Revoke a key; it may be the one that asks."""
        principal = self._guard.guard(request, Scope.MANAGE)
        key_id = parse_prefixed("key", request.path["key_id"])
        if key_id is None or all(each.id != key_id for each in self._visible(principal)):
            raise NotFound("API key not found", code="key_not_found")
        await self._keys.revoke(principal.organisation_id, KeyId(key_id))
        return json_response(200, {"message": "API key deleted"})

    def _visible(self, principal: Principal) -> list[ApiKey]:
        """Return the keys that this one may see: a test key the test keys, a live one all but the operator's."""
        return [
            each
            for each in self._keys.list(principal.organisation_id)
            if Scope.OPERATOR in principal.scopes or Scope.OPERATOR not in each.scopes
            if principal.environment in (Environment.LIVE, each.environment)
        ]

    # -- the organisation -------------------------------------------------------------------------------

    async def get_organisation(self, request: Request) -> Response:
        """Return the key's organisation."""
        principal = self._guard.guard(request, Scope.READ)
        return json_response(200, organisation_shown(self._catalog.organisation(principal.organisation_id)))

    async def change_organisation(self, request: Request) -> Response:
        """Replace the fields that are given; the plan is the operator's to change."""
        principal = self._guard.guard(request, Scope.MANAGE)
        fields = parse_organisation(request.body, self._limits)
        if "jwks_url" in fields:
            # Whoever answers there signs tokens, and those are for live events.
            principal.require_live()
        organisation = self._catalog.organisation(principal.organisation_id)
        if fields:
            await self._catalog.save(msgspec.structs.replace(organisation, **fields))
            organisation = self._catalog.organisation(principal.organisation_id)
        return json_response(200, organisation_shown(organisation))

    async def stats(self, request: Request) -> Response:
        """Return how many of the last day's events and deliveries stand where, in the key's environment."""
        principal = self._guard.guard(request, Scope.READ)
        since_ms = self._clock.now_ms() - self._limits.stats_window_ms
        organisation_id = principal.organisation_id
        count = Tally(self._engine, self._clock, budget_s=self._limits.stats_budget_s)
        events = {
            status.value: await count(
                EventQuery(
                    organisation_id=organisation_id,
                    environment=principal.environment,
                    since_ms=since_ms,
                    status=status,
                )
            )
            for status in EventStatus
        }
        deliveries = {
            phase.value: await count(
                DeliveryQuery(
                    organisation_id=organisation_id,
                    environment=principal.environment,
                    since_ms=since_ms,
                    phases=frozenset({phase}),
                )
            )
            for phase in DeliveryPhase
        }
        endpoints = self._catalog.destinations(organisation_id, Dialect.PROMPTJANG)
        return json_response(
            200,
            {
                "since": rfc3339(since_ms),
                "events": events,
                "deliveries": deliveries,
                "endpoints": {
                    "total": len(endpoints),
                    "enabled": sum(each.enabled for each in endpoints),
                },
                "exact": count.exact,
            },
        )


class Tally:
    """Counts what queries match, for no longer than a budget.

    Attributes:
        exact: False once a count stopped at the engine's cap, or was given up.
    """

    def __init__(self, engine: Engine, clock: Clock, *, budget_s: float) -> None:
        self._engine = engine
        self._clock = clock
        self._until_s = clock.monotonic_s() + budget_s
        self.exact = True

    async def __call__(self, query: Query[Any]) -> int | None:
        """Return how many match, or None where there was no time left to count."""
        if self._clock.monotonic_s() >= self._until_s:
            self.exact = False
            return None
        try:
            page = await self._engine.search(query, limit=1)
        except Unavailable as error:
            if error.code != "search_too_long":
                raise
            self.exact = False
            return None
        self.exact = self.exact and page.total_is_exact
        return page.total
