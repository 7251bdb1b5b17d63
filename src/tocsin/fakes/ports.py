"""Listening: uvicorn on a socket of its own, with what a fake needs beside it.

A fake cuts connections in the middle, goes away and comes back on the same port, and ends at once with all that is
still waiting in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LOOPBACK = "127.0.0.1"
_CUT = "tocsin.fakes.cut"


class _Connection(HttpToolsProtocol):
    """Lets a handler cut its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[_CUT] = self.transport.abort


class HttpPort:
    """Serves an application on a port of the loopback interface.

    Args:
        port: 0 picks a free one.

    Attributes:
        port: the one that it listens on, once it is open; it stays the same.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.port = port
        self._app = app
        self._server: uvicorn.Server | None = None

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the port is not to be had.
        """
        bound = listening_socket(self.port)
        self.port = bound.getsockname()[1]
        config = uvicorn.Config(
            self._entry,
            interface="asgi3",
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            reset_contextvars=True,
        )
        config.load()
        # The server's own loop, which only looks for signals and for the time to end, is left out.
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[bound])

    async def close(self) -> None:
        """Cut all connections and stop listening."""
        if self._server is None:
            return
        server, self._server = self._server, None
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        # An aborted connection is told of so in the loop's next round, before which its request counts as unanswered.
        await asyncio.sleep(0)
        under_way = list(server.server_state.tasks)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _entry(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Only the end of the fake cancels requests, and then nobody listens any longer.
        with contextlib.suppress(asyncio.CancelledError):
            await self._app(scope, receive, send)


async def cut(scope: Scope, receive: Receive) -> None:
    """Cut a request's connection; return when it is gone."""
    scope[_CUT]()
    while (await receive())["type"] != "http.disconnect":
        pass


def listening_socket(port: int) -> socket.socket:
    """Return a socket that listens on the loopback interface.

    Raises:
        OSError: the port is not to be had.
    """
    bound = socket.create_server((LOOPBACK, port), backlog=512)
    bound.setblocking(False)
    # Inherited by what it accepts: asyncio leaves sockets of no stated protocol as they are, and answers would wait.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound
