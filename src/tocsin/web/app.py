"""The ASGI application: which route a request belongs to.

A path without parameters, and one whose only parameter is its last segment, is found by a dictionary; Starlette
routes the rest. Both lead to the same ``Endpoint``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from tocsin.web.http import Endpoint, ErrorRenderer, Finish, MethodNotAllowed, Request, Response, Route

Report = Callable[[Route, Request, int, Exception | None], None]


class Area(msgspec.Struct, frozen=True):
    """The paths below ``prefix`` that are nobody's, and who answers for them.

    Attributes:
        prefix: ``/api/v1``; the longest one that fits counts, and ``""`` fits every path.
    """

    prefix: str
    not_found: Callable[[Request], Response]
    finish: Finish | None = None


class _Methods:
    """One path: the endpoint of each method."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        endpoint = self.endpoints.get("GET" if method == "HEAD" and "HEAD" not in self.endpoints else method)
        if endpoint is None:
            endpoint = self._refusal()
        await endpoint(scope, receive, send)

    def _refusal(self) -> Endpoint:
        some = next(iter(self.endpoints.values()))
        methods = set(self.endpoints) | ({"HEAD"} if "GET" in self.endpoints else set())
        allow = (b"allow", ", ".join(sorted(methods)).encode())
        errors: ErrorRenderer = some.route.errors

        def refuse(request: Request, _error: Exception) -> Response:
            response = errors(request, MethodNotAllowed("method not allowed"))
            response.headers = [*response.headers, allow]
            return response

        async def handler(_request: Request) -> Response:
            raise MethodNotAllowed("method not allowed")

        return some.like(msgspec.structs.replace(some.route, handler=handler, errors=refuse))


class App:
    """The ASGI application.

    Args:
        routes: of all dialects; each method and path once.
        areas: who answers for unknown paths.
        report: called with every answer.
        body_deadline_s: from a request's head to the last byte of its body.
    """

    def __init__(
        self, routes: Iterable[Route], areas: Sequence[Area], *, report: Report, body_deadline_s: float
    ) -> None:
        self._areas = sorted(areas, key=lambda area: len(area.prefix), reverse=True)
        by_path: dict[str, _Methods] = {}
        for route in routes:
            methods = by_path.setdefault(route.path, _Methods())
            assert route.method not in methods.endpoints, f"{route.method} {route.path} is routed twice"
            methods.endpoints[route.method] = Endpoint(route, body_deadline_s=body_deadline_s, report=report)
        self.paths = by_path
        self._exact = {path: methods for path, methods in by_path.items() if "{" not in path}
        self._last_segment: dict[str, tuple[str, _Methods]] = {}
        deeper: list[StarletteRoute] = []
        for path, methods in by_path.items():
            parent, _, last = path.rpartition("/")
            if last.startswith("{") and "{" not in parent:
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

    async def _not_found(self, scope: Scope, _receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        area = next(area for area in self._areas if path == area.prefix or path.startswith(area.prefix + "/"))
        request = Request(scope, b"")
        response = area.not_found(request)
        if area.finish is not None:
            area.finish(request, response)
        await response.send(scope, send)
