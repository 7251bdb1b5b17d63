"""Answers without a known end: sent in pieces as they come, until their source ends or the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import Scope, Send

from tocsin.web.http import Response

CONNECTION: Final = "tocsin.connection"
"""In the ASGI scope: the ``Connection`` that a request came by."""


class Pieces(Protocol):
    """What a streaming answer consists of."""

    def begin(self, hurry: Callable[[float], None]) -> None:
        """Take note that the answer begins.

        Args:
            hurry: called when the rest, if any, must be sent within so many seconds; the connection is cut then.
        """
        ...

    async def next(self) -> bytes:
        """Return the next piece, or nothing at the end."""
        ...

    def shut_down(self) -> None:
        """Come to an end: the server shuts down."""
        ...

    def lost(self) -> None:
        """Come to an end at once: nobody reads any more."""
        ...

    def close(self) -> None:
        """Let go of everything; nothing more is asked for. Called in any case, once the answer is over."""
        ...


class Connection(Protocol):
    """The connection of a streaming answer."""

    def begin_stream(self, pieces: Pieces) -> None:
        """Tell these pieces when the server shuts down, and when the client has gone."""
        ...

    def end_stream(self) -> None:
        """Tell them nothing more."""
        ...

    def abort(self) -> None:
        """Cut it; what was not sent is lost."""
        ...


class StreamingResponse(Response, kw_only=True):
    """An answer whose body is sent piece by piece; a piece is asked for once the one before is on its way.

    ``body`` is not used.
    """

    pieces: Pieces

    async def send(self, scope: Scope, send: Send) -> None:
        """Send it as the answer to a request; HEAD gets no body."""
        pieces = self.pieces
        connection: Connection | None = scope.get(CONNECTION)
        timers: list[asyncio.TimerHandle] = []

        def hurry(patience_s: float) -> None:
            if connection is not None and not timers:
                timers.append(asyncio.get_running_loop().call_later(patience_s, connection.abort))

        try:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            if scope["method"] != "HEAD":
                pieces.begin(hurry)
                if connection is not None:
                    connection.begin_stream(pieces)
                while piece := await pieces.next():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            for timer in timers:
                timer.cancel()
            if connection is not None:
                connection.end_stream()
            pieces.close()
