"""Requests and answers as every dialect sees them, and the ASGI application that makes one of a handler.

Most routes are found by a dictionary, the rest by Starlette (``app.py``). Either way a handler is the same function
of a ``Request``, so that each route is written once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from tocsin.core.errors import PayloadTooLarge, TocsinError, UnsupportedMediaType
from tocsin.web.body import Body, BodyMemory

_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_BODILESS = frozenset({204, 304})
"""A length of 0 would be one of 204 that must not be there, and of 304 a wrong one. Source: RFC 9110, section 8.6."""

_MEMORY_BYTES = 67_108_864
_encode = msgspec.json.Encoder().encode


class Request:
    """One request, its body read whole.

    Attributes:
        body: at most the route's limit.
        path: the values of the route's parameters.
    """

    __slots__ = ("_headers", "body", "path", "scope")

    def __init__(self, scope: Scope, body: bytes) -> None:
        self.scope = scope
        self.body = body
        self.path: dict[str, str] = scope.get("path_params", {})
        self._headers: dict[bytes, bytes] | None = None

    @property
    def method(self) -> str:
        """The method, in capitals."""
        method: str = self.scope["method"]
        return method

    @property
    def url_path(self) -> str:
        """The path, decoded."""
        path: str = self.scope["path"]
        return path

    @property
    def client(self) -> str:
        """The peer's address, as text; empty when unknown."""
        peer = self.scope.get("client")
        return str(peer[0]) if peer else ""

    def header(self, name: bytes) -> str | None:
        """Return a header's value, or None; ``name`` in lower case. Of several the first counts."""
        if self._headers is None:
            self._headers = dict(reversed(self.scope["headers"]))
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def refuse_encoded(self) -> None:
        """Return if the body is what the client means, not an encoding of it.

        Raises:
            UnsupportedMediaType: a ``Content-Encoding`` is named, ``identity`` aside.
        """
        if self.header(b"content-encoding") is None:
            return
        for name, value in self.scope["headers"]:
            if name == b"content-encoding" and value.strip().lower() != b"identity":
                raise UnsupportedMediaType("a content encoding is not supported")

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of several with one name the last counts."""
        return dict(self.query_list)

    @property
    def query_list(self) -> list[tuple[str, str]]:
        """The query's parameters in order, blank ones included."""
        return parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True, encoding="utf-8")


class Response(msgspec.Struct, kw_only=True):
    """One answer.

    Attributes:
        headers: names in lower case; content-length is added, but for statuses that have no body.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = []

    async def send(self, scope: Scope, send: Send) -> None:
        """Send it as the answer to a request; HEAD gets no body."""
        headers = self.headers
        if self.status not in _BODILESS:
            headers = [*headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self.body})


def json_response(status: int, value: Any, headers: list[tuple[bytes, bytes]] | None = None) -> Response:
    """Return an answer whose body is ``value`` as compact JSON."""
    return Response(status=status, body=_encode(value), headers=[_JSON, *headers] if headers else [_JSON])


Handler = Callable[[Request], Awaitable[Response]]
"""What a dialect writes for a route."""

ErrorRenderer = Callable[[Request, TocsinError], Response]
"""How a dialect tells an error; a bare ``TocsinError`` is a fault of ours."""

Finish = Callable[[Request, Response], None]
"""Adds headers to every answer of a dialect, errors included."""


class MethodNotAllowed(TocsinError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A handler and where it is mounted.

    Attributes:
        path: as Starlette writes it, ``/e/{endpoint_id}``.
        name: of the dialect, for metrics and logs.
        body_limit_bytes: a longer body is refused with ``PayloadTooLarge`` before it is read.
        body_limit_first: False lets the handler judge the body itself where its contract puts other checks first: its
            encoding by ``request.refuse_encoded()``, its size by ``len(request.body)``, since it is cut one byte
            above the limit.
        head: of a GET: HEAD is answered like it, without the body. False where the GET changes something, which HEAD
            must not do (RFC 9110, section 9.2.1); it is refused then.
    """

    method: str
    path: str
    handler: Handler
    errors: ErrorRenderer
    name: str
    body_limit_bytes: int = 1_048_576
    body_limit_first: bool = True
    head: bool = True
    finish: Finish | None = None


Report = Callable[[Route, Request, int, Exception | None], None]
"""Takes note of an answer: its status, and the error or the fault of ours that it tells, if there was one."""


class Endpoint:
    """The ASGI application of one route: reads the body within bounds, calls the handler, tells errors.

    Args:
        body_deadline_s: from the head to the last byte of the body.
        report: called with every answer's status, and with the error or the fault of ours that it tells.
        took: called with the seconds that it took to make each answer.
        memory: of all endpoints together; None is one of this endpoint's own.
    """

    def __init__(
        self,
        route: Route,
        *,
        body_deadline_s: float,
        report: Report,
        memory: BodyMemory | None = None,
        took: Callable[[float], None] | None = None,
    ) -> None:
        self.route = route
        self._body_deadline_s = body_deadline_s
        self._report = report
        self._took = took
        self._memory = BodyMemory(_MEMORY_BYTES) if memory is None else memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, b"")
        body = Body(receive, scope, deadline_s=self._body_deadline_s, memory=self._memory)
        try:
            response = await self._answer(request, body)
            await response.send(scope, send)
        finally:
            body.release()

    async def _answer(self, request: Request, body: Body) -> Response:
        route = self.route
        began_s = perf_counter()
        fault: Exception | None = None
        try:
            if route.body_limit_first:
                self._check_head(request)
            request.body = await body.read(route.body_limit_bytes)
            if route.body_limit_first:
                self._check_size(len(request.body))
            response = await route.handler(request)
        except TocsinError as error:
            response = route.errors(request, error)
            fault = error
        except Exception as error:  # noqa: BLE001  the one place that turns a fault of ours into an answer
            fault = error
            response = route.errors(request, TocsinError("internal error"))
        if route.finish is not None:
            route.finish(request, response)
        if not body.ended and not await _discarded(request, body):
            # What is left of the body would be taken for the next request.
            response.headers = [*response.headers, _CLOSE]
        self._report(route, request, response.status, fault)
        if self._took is not None:
            self._took(perf_counter() - began_s)
        return response

    def _check_head(self, request: Request) -> None:
        request.refuse_encoded()
        length = request.header(b"content-length")
        if length is not None:
            self._check_size(int(length))

    def _check_size(self, size: int) -> None:
        limit = self.route.body_limit_bytes
        if size > limit:
            raise PayloadTooLarge(f"the body is larger than {limit} bytes")


async def _discarded(request: Request, body: Body) -> bool:
    # Who asks first whether to send the body is answered without it.
    return request.header(b"expect") is None and await body.discard()
