"""The ASGI application: which route a request belongs to.

A path without parameters, and one whose only parameter is its last segment, is found by a dictionary; Starlette
routes the rest. Both lead to the same ``Endpoint``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from tocsin.web.body import BodyMemory
from tocsin.web.http import (
    Endpoint,
    ErrorRenderer,
    Finish,
    MethodNotAllowed,
    Report,
    Request,
    Response,
    Route,
)

NOBODYS = "none"
"""The name of the routes that answer for unknown paths."""


class Area(msgspec.Struct, frozen=True):
    """The paths below ``prefix`` that are nobody's, and who answers for them.

    Attributes:
        prefix: ``/api/v1``; the longest one that fits counts, and ``""`` fits every path.
    """

    prefix: str
    not_found: Callable[[Request], Response]
    finish: Finish | None = None


class Methods:
    """One path.

    Attributes:
        endpoints: by their methods.

    Args:
        refusal: answers every other method.
    """

    def __init__(self, endpoints: Mapping[str, Endpoint], refusal: Endpoint) -> None:
        self.endpoints = endpoints
        self._by_method = _with_head(endpoints)
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._by_method.get(scope["method"], self._refusal)(scope, receive, send)


class App:
    """The ASGI application.

    Attributes:
        paths: every path that has a route.

    Args:
        routes: of all dialects; each method and path once.
        areas: who answers for unknown paths.
        report: called with every answer.
        body_deadline_s: from a request's head to the last byte of its body.
        bodies_bytes_max: of all bodies in memory at once.
        timer: returns, for a dialect, what is told the seconds that each of its answers took.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        areas: Sequence[Area],
        *,
        report: Report,
        body_deadline_s: float,
        bodies_bytes_max: int,
        timer: Callable[[str], Callable[[float], None]] = lambda _name: lambda _seconds: None,
    ) -> None:
        memory = BodyMemory(bodies_bytes_max)

        def endpoint(route: Route) -> Endpoint:
            return Endpoint(
                route, body_deadline_s=body_deadline_s, report=report, memory=memory, took=timer(route.name)
            )

        longest_first = sorted(areas, key=lambda area: len(area.prefix), reverse=True)
        self._areas = [(area.prefix, endpoint(_nobodys(area))) for area in longest_first]
        by_path: dict[str, dict[str, Endpoint]] = {}
        for route in routes:
            endpoints = by_path.setdefault(route.path, {})
            assert route.method not in endpoints, f"{route.method} {route.path} is routed twice"
            endpoints[route.method] = endpoint(route)
        self.paths = {path: Methods(endpoints, endpoint(_refusing(endpoints))) for path, endpoints in by_path.items()}
        self._exact = {path: methods for path, methods in self.paths.items() if "{" not in path}
        self._last_segment: dict[str, tuple[str, Methods]] = {}
        deeper: list[StarletteRoute] = []
        for path, methods in self.paths.items():
            parent, _, last = path.rpartition("/")
            if last.startswith("{") and "{" not in parent:
                assert parent not in self._last_segment, f"{path} has two names for its parameter"
                self._last_segment[parent] = (last[1:-1], methods)
            elif "{" in path:
                deeper.append(StarletteRoute(path, methods))
        self._deeper = Router(deeper, default=self._not_found, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        methods = self._exact.get(path)
        if methods is None:
            parent, _, last = path.rpartition("/")
            found = self._last_segment.get(parent) if last else None
            if found is not None:
                scope["path_params"] = {found[0]: last}
                methods = found[1]
        if methods is not None:
            await methods(scope, receive, send)
        else:
            await self._deeper(scope, receive, send)

    async def _not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        endpoint = next(
            endpoint
            for prefix, endpoint in self._areas
            # The last one is "", which also answers for "*", the only path without a slash.
            if not prefix or path == prefix or path.startswith(prefix + "/")
        )
        await endpoint(scope, receive, send)


def _with_head(endpoints: Mapping[str, Endpoint]) -> Mapping[str, Endpoint]:
    """Return a path's endpoints by every method that they answer."""
    get = endpoints.get("GET")
    return {"HEAD": get, **endpoints} if get is not None and get.route.head else endpoints


def _refusing(endpoints: Mapping[str, Endpoint]) -> Route:
    """Return what answers the methods that a path does not have, in the form of the dialect whose path it is."""
    some = next(iter(endpoints.values())).route
    allow = (b"allow", ", ".join(sorted(_with_head(endpoints))).encode())
    errors: ErrorRenderer = some.errors

    def refuse(request: Request, _error: Exception) -> Response:
        response = errors(request, MethodNotAllowed("method not allowed"))
        response.headers = [*response.headers, allow]
        return response

    async def handler(_request: Request) -> Response:
        raise MethodNotAllowed("method not allowed")

    return msgspec.structs.replace(some, handler=handler, errors=refuse)


def _nobodys(area: Area) -> Route:
    """Return what answers an area's unknown paths, whatever the method and the body."""

    def tell(request: Request, _error: Exception) -> Response:
        return area.not_found(request)

    async def handler(request: Request) -> Response:
        return area.not_found(request)

    return Route(
        method="*",
        path=f"{area.prefix}/*",
        handler=handler,
        errors=tell,
        name=NOBODYS,
        body_limit_bytes=0,
        body_limit_first=False,
        finish=area.finish,
    )
