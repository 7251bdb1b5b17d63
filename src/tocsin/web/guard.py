"""What stands before and behind every route under /api/v1: who asks, how often, and the headers of every answer."""

from __future__ import annotations

from tocsin.core.errors import NotAuthenticated, RateLimited
from tocsin.core.organisation import Scope
from tocsin.pipeline.catalog import Catalog
from tocsin.web.auth import KeyRing, Principal, bearer
from tocsin.web.http import Request, Response
from tocsin.web.limits import Allowance, RateLimits, RouteClass

_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
_TRANSPORT_SECURITY = (b"strict-transport-security", b"max-age=63072000; includeSubDomains; preload")
_ALLOWANCE = "tocsin.allowance"
"""Where a request's allowance is kept for its answer, in the ASGI scope, which lives as long as the request."""


class Guard:
    """Lets a request in, or not; PromptJang's routes and the native ones share it."""

    def __init__(self, *, keys: KeyRing, catalog: Catalog, limits: RateLimits) -> None:
        self._keys = keys
        self._catalog = catalog
        self._limits = limits

    def guard(self, request: Request, scope: Scope) -> Principal:
        """Return who asks, after counting the request.

        A request with a known key counts whatever becomes of it, so that wrong ones cannot be tried without end.
        Those that need the scope ``ingest`` count as ingest, all others as API.

        Raises:
            NotAuthenticated: no key, or an unknown one.
            RateLimited: too many requests in this minute; says when to come again.
            NotPermitted: ``missing_scope``.
        """
        token = bearer(request.header(b"authorization"))
        principal = self._keys.find(token) if token else None
        if principal is None:
            raise NotAuthenticated("Unauthorized")
        plan = self._catalog.organisation(principal.organisation_id).plan
        route_class = RouteClass.INGEST if scope is Scope.INGEST else RouteClass.API
        allowance = self._limits.take(principal.organisation_id, plan, route_class)
        request.scope[_ALLOWANCE] = allowance
        if allowance.retry_after_s is not None:
            raise RateLimited("Rate limit exceeded", retry_after_s=allowance.retry_after_s)
        principal.require(scope)
        if scope is not Scope.READ:
            self._keys.note(principal, request.client)
        return principal

    def finish(self, request: Request, response: Response) -> None:
        """Add the security headers and the rate limit's to an answer of an API route."""
        self._finish(request, response, RouteClass.API)

    def finish_ingest(self, request: Request, response: Response) -> None:
        """Add the same to an answer of a route that stores events."""
        self._finish(request, response, RouteClass.INGEST)

    def _finish(self, request: Request, response: Response, route_class: RouteClass) -> None:
        allowance: Allowance | None = request.scope.get(_ALLOWANCE)
        if allowance is None:
            allowance = self._limits.unlimited(route_class)
        # A new list: the answer's own may be one that answers share.
        headers = [
            *response.headers,
            *_SECURITY,
            (b"x-ratelimit-limit", b"%d" % allowance.limit),
            (b"x-ratelimit-remaining", b"%d" % allowance.remaining),
            (b"x-ratelimit-reset", b"%d" % allowance.reset_s),
        ]
        if request.scope["scheme"] == "https":
            headers.append(_TRANSPORT_SECURITY)
        response.headers = headers
