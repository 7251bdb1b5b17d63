"""The page behind a mail's link to get no more of them; a mail program's own button asks it without showing it.

Looking at it changes nothing: programs that look for harm in mails open every link. Who may act is whoever holds the
link, so there is no key, and an answer tells nothing but what the link is about.

Source: RFC 8058, section 3.2.
"""

from __future__ import annotations

from importlib.resources import files

import jinja2

from tocsin.pipeline.unsubscribing import Unsubscribing
from tocsin.transports.unsubscribing import UNSUBSCRIBE_PATH, UnsubscribeLinks, Unsubscription
from tocsin.web.front import policy
from tocsin.web.http import Request, Response, Route
from tocsin.web.operations import NAME, told

_BODY_BYTES_MAX = 4_096


class Unsubscribe:
    """``GET`` asks whether it is meant, ``POST`` acts."""

    def __init__(self, *, links: UnsubscribeLinks, unsubscribing: Unsubscribing) -> None:
        self._links = links
        self._unsubscribing = unsubscribing
        source = files("tocsin.web").joinpath("unsubscribe.html.jinja").read_text("utf-8")
        self._page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
        style = source.partition("<style>")[2].partition("</style>")[0]
        self._headers = (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", policy(style, form_action="'self'").encode()),
            (b"x-content-type-options", b"nosniff"),
            # The address of the page is the right to act.
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
        )

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return tuple(
            Route(
                method=method,
                path=f"{UNSUBSCRIBE_PATH}{{token}}",
                handler=handler,
                errors=told,
                name=NAME,
                body_limit_bytes=_BODY_BYTES_MAX,
            )
            for method, handler in (("GET", self._ask), ("POST", self._act))
        )

    async def _ask(self, request: Request) -> Response:
        wanted = self._read(request)
        if wanted is None:
            return self._unknown()
        address = self._unsubscribing.find(wanted)
        if address is None:
            return self._done()
        text = f"{address} gets mails from this Tocsin gateway. Whoever runs it can undo this."
        return self._shown(200, "No more of these mails?", text, asks=True)

    async def _act(self, request: Request) -> Response:
        wanted = self._read(request)
        if wanted is None:
            return self._unknown()
        await self._unsubscribing.remove(wanted, client=request.client)
        return self._done()

    def _read(self, request: Request) -> Unsubscription | None:
        return self._links.read(request.path["token"])

    def _done(self) -> Response:
        return self._shown(200, "No more of these mails", "This address gets no more of these mails.")

    def _unknown(self) -> Response:
        text = "It may have been cut off on its way here. Open it from the mail once more, or ask whoever sends them."
        return self._shown(404, "This link is not known", text)

    def _shown(self, status: int, title: str, text: str, *, asks: bool = False) -> Response:
        body = self._page.render(title=title, text=text, asks=asks).encode()
        return Response(status=status, body=body, headers=list(self._headers))
