"""The page's server.

``/`` is the whole page, written here; ``/changes`` tells a browser, by server-sent events, when to fetch it again;
``/mails/<id>`` is a mail's HTML, for a frame; ``/_control/<name>`` is the control of each fake, one that has left its
port included.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from types import TracebackType
from typing import Self

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tocsin.fakes.control import Controlled, control
from tocsin.fakes.discord import Discord
from tocsin.fakes.page.rendering import Shown, rendered
from tocsin.fakes.ports import LOOPBACK, HttpPort
from tocsin.fakes.smtp import Smtp
from tocsin.fakes.telegram import Telegram

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline runs or styles, nothing comes from elsewhere.

Source: Content Security Policy Level 3."""

MAIL_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""A mail's own: it may be coloured, as in a mail program, and nothing else."""

_COMMON = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
_KEEP_ALIVE_S = 15.0
_PAUSE_S = 0.1
"""How long changes are gathered: a thousand messages a second are not a thousand pages."""


class Page:
    """The page of three fakes; use it as an asynchronous context manager.

    Args:
        port: 0 picks a free one.
    """

    def __init__(self, discord: Discord, telegram: Telegram, smtp: Smtp, *, port: int = 0) -> None:
        self._shown = Shown(discord, telegram, smtp)
        self._fakes: dict[str, Controlled] = {each.name: each for each in (discord, telegram, smtp)}
        self._version = 0
        self._browsers: set[asyncio.Event] = set()
        self._static = {name: _file(name) for name in ("page.css", "page.js")}
        self._port = HttpPort(self._application(), port)
        for fake in self._fakes.values():
            fake.arrivals.watch(self._changed)

    async def __aenter__(self) -> Self:
        await self._port.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._port.close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{LOOPBACK}:{self._port.port}/"

    def _application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/page.css", self._style),
                Route("/page.js", self._script),
                Route("/changes", self._changes),
                Route("/mails/{id:int}", self._mail),
                Route("/_control/{name}", self._control, methods=["POST"]),
            ],
            # A name that was made to lead here would let any site read what arrived.
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)],
        )

    async def _page(self, _request: Request) -> Response:
        body = rendered(self._shown).encode("utf-8", "replace")
        return HTMLResponse(body, headers={**_COMMON, "Content-Security-Policy": POLICY})

    async def _style(self, _request: Request) -> Response:
        return Response(self._static["page.css"], media_type="text/css", headers=_COMMON)

    async def _script(self, _request: Request) -> Response:
        return Response(self._static["page.js"], media_type="text/javascript", headers=_COMMON)

    async def _mail(self, request: Request) -> Response:
        mail = next((each for each in self._shown.smtp.mails if each.id == request.path_params["id"]), None)
        if mail is None or mail.html is None:
            return PlainTextResponse("no such mail", 404, _COMMON)
        body = mail.html.encode("utf-8", "replace")
        return HTMLResponse(body, headers={**_COMMON, "Content-Security-Policy": MAIL_POLICY})

    async def _control(self, request: Request) -> Response:
        fake = self._fakes.get(request.path_params["name"])
        return PlainTextResponse("no such fake", 404) if fake is None else await control(fake, request)

    async def _changes(self, _request: Request) -> Response:
        return StreamingResponse(self._told(), media_type="text/event-stream", headers=_COMMON)

    async def _told(self) -> AsyncIterator[str]:
        changed = asyncio.Event()
        self._browsers.add(changed)
        told = -1
        try:
            while True:
                if told != self._version:
                    told = self._version
                    yield f"data: {told}\n\n"
                    await asyncio.sleep(_PAUSE_S)
                changed.clear()
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_S):
                        while told == self._version:
                            await changed.wait()
                            changed.clear()
                except TimeoutError:
                    yield ": keep-alive\n\n"
        finally:
            self._browsers.discard(changed)

    def _changed(self) -> None:
        self._version += 1
        for browser in self._browsers:
            browser.set()


def _file(name: str) -> bytes:
    return files("tocsin.fakes.page").joinpath(name).read_bytes()
