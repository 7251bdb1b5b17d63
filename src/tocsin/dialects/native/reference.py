"""The routes of the API's description: the document, and the page that shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec

from tocsin.dialects.native.errors import error_response
from tocsin.web.http import Handler, Request, Response, Route

_BODY_BYTES_MAX = 65_536
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'"
)
"""Source: Content Security Policy Level 3; nothing inline, nothing from elsewhere."""

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # To be asked for again each time, which the entity tag makes cheap: what is kept would outlive an upgrade.
    (b"cache-control", b"no-cache"),
)


class ReferenceRoutes:
    """``/api/v1/openapi.json``, ``/docs/api`` and what the page loads; anybody may ask.

    Args:
        build: returns the document; called once, by the first request for it.
    """

    def __init__(self, *, build: Callable[[], dict[str, Any]]) -> None:
        self._build = build
        self._document: _Kept | None = None
        self._page = _file("page.html", b"text/html", (b"content-security-policy", _POLICY))
        self._style = _file("page.css", b"text/css")
        self._script = _file("page.js", b"text/javascript")

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (
            _route("/api/v1/openapi.json", self.document),
            _route("/docs/api", self.page),
            _route("/docs/api/page.css", self.style),
            _route("/docs/api/page.js", self.script),
        )

    async def document(self, request: Request) -> Response:
        """Answer the OpenAPI document."""
        if self._document is None:
            self._document = _Kept(msgspec.json.encode(self._build()), b"application/json")
        return self._document.answer(request)

    async def page(self, request: Request) -> Response:
        """Answer the page."""
        return self._page.answer(request)

    async def style(self, request: Request) -> Response:
        """Answer the page's style."""
        return self._style.answer(request)

    async def script(self, request: Request) -> Response:
        """Answer the page's script."""
        return self._script.answer(request)


class _Kept:
    """Bytes that are answered as they are, unless the client has them already.

    Source: RFC 9110, section 13.1.2, for If-None-Match, whose comparison is weak.
    """

    def __init__(self, body: bytes, content_type: bytes, *headers: tuple[bytes, bytes]) -> None:
        self._body = body
        self._etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        self._headers = [*_HEADERS, *headers, (b"etag", self._etag.encode())]
        self._content_type = (b"content-type", content_type)

    def answer(self, request: Request) -> Response:
        """Return 200, or 304 where ``If-None-Match`` names these bytes."""
        known = request.header(b"if-none-match") or ""
        if self._etag in (each.strip().removeprefix("W/") for each in known.split(",")) or known.strip() == "*":
            return Response(status=304, headers=list(self._headers))
        return Response(status=200, body=self._body, headers=[self._content_type, *self._headers])


def _file(name: str, media_type: bytes, *headers: tuple[bytes, bytes]) -> _Kept:
    """Return a file of the page, which lies beside this module."""
    body = files("tocsin.dialects.native").joinpath("page", name).read_bytes()
    return _Kept(body, media_type + b"; charset=utf-8", *headers)


def _route(path: str, handler: Handler) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        errors=error_response,
        name="native",
        body_limit_bytes=_BODY_BYTES_MAX,
    )
