"""The HTTP server: uvicorn, with bounds that it does not have, and a shutdown that breaks no request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.web.connection import BoundedConnection, ServerLimits

__all__ = ["HttpServer", "ServerLimits"]

_CLOSE = (b"connection", b"close")
_EMPTY = (b"content-length", b"0")


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: whoever starts the gateway decides when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpServer:
    """Serves an ASGI application on one socket.

    Args:
        bound: a listening TCP socket.
    """

    def __init__(self, app: ASGIApp, bound: socket.socket, limits: ServerLimits) -> None:
        self._app = app
        self._socket = bound
        self._limits = limits
        self._draining = False
        protocol: Any = type("_Connection", (BoundedConnection,), {"limits": limits})
        config = uvicorn.Config(
            self._entry,
            interface="asgi3",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=2048,
            # A request that waited is begun from within the answer before it, and would be taken for its actor's.
            reset_contextvars=True,
        )
        # Set afterwards, since the constructor declares whole seconds, while only timers ever read them.
        config.timeout_keep_alive = limits.idle_s  # type: ignore[assignment]
        config.timeout_graceful_shutdown = limits.shutdown_s  # type: ignore[assignment]
        self._server = _Uvicorn(config)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections)

    async def serve(self) -> None:
        """Serve until ``stop``."""
        await self._server.serve(sockets=[self._socket])

    async def stop(self) -> None:
        """Tell kept connections to close, take no new ones, end streams, and let requests under way finish."""
        self._draining = True
        for connection in list(self._server.server_state.connections):
            assert isinstance(connection, BoundedConnection)
            connection.end_streams()
        await asyncio.sleep(self._limits.drain_s)
        self._server.should_exit = True

    def stop_at_once(self) -> None:
        """Wait for no request any longer; whoever calls this has called ``stop``."""
        self._server.force_exit = True
        self._server.should_exit = True

    async def wait_started(self) -> None:
        """Return when connections are taken."""
        await self._server.listening.wait()

    async def _entry(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._draining:
                await self._app(scope, receive, _closing(send))
            else:
                await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # The shutdown's patience is over. Nothing can be told once the answer has begun.
            with contextlib.suppress(RuntimeError):
                await send({"type": "http.response.start", "status": 503, "headers": [_CLOSE, _EMPTY]})
                await send({"type": "http.response.body"})


def _closing(send: Send) -> Send:
    """Return what sends an answer that tells the client to use another connection for the next request."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], _CLOSE]
        await send(message)

    return send_closing
