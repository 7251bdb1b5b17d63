"""The HTTP server: uvicorn, with bounds on heads that it does not have, and a shutdown that breaks no request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio import TimerHandle
from collections.abc import Generator
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of connections.

    Attributes:
        head_deadline_s: until a request's head is complete, from the connection or its first byte.
        body_deadline_s: from the head to the last byte of the body.
        head_bytes_max: request line and headers.
        headers_max: header lines.
        idle_s: how long a kept connection may be idle.
        connections_max: open connections; further ones are answered 503.
        drain_s: at shutdown, how long kept connections are told to close before they are closed.
        shutdown_s: at shutdown, how long requests under way may take.
    """

    head_deadline_s: float = 10.0
    body_deadline_s: float = 10.0
    head_bytes_max: int = 65_536
    headers_max: int = 100
    idle_s: float = 30.0
    connections_max: int = 8_192
    drain_s: float = 0.3
    shutdown_s: float = 5.0


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which keeps a connection for ever whose head never ends, with an end to that."""

    limits: ServerLimits

    _head_timer: TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._between_requests():
            # No request is under way, so these bytes were a part of a head, or a body that nobody wants.
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head_bytes_max:
                self._refuse(b"431 Request Header Fields Too Large")
            elif self._head_timer is None:
                self._arm()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > self.limits.headers_max:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        self._disarm()
        self._head_bytes = 0
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._between_requests():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._between_requests():
            super().on_message_complete()

    def _between_requests(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_deadline_s, self._too_slow)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            if self._between_requests():
                self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()


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
        protocol: Any = type("_BoundedProtocol", (_Protocol,), {"limits": limits})
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
            timeout_keep_alive=max(1, round(limits.idle_s)),
            limit_concurrency=limits.connections_max,
            timeout_graceful_shutdown=max(1, round(limits.shutdown_s)),
            backlog=2048,
        )
        self._server = _Uvicorn(config)

    async def serve(self) -> None:
        """Serve until ``stop``."""
        await self._server.serve(sockets=[self._socket])

    async def stop(self) -> None:
        """Tell kept connections to close, take no new ones, and let requests under way finish."""
        self._draining = True
        await asyncio.sleep(self._limits.drain_s)
        self._server.should_exit = True

    async def wait_started(self) -> None:
        """Return when connections are taken."""
        await self._server.listening.wait()

    async def _entry(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._draining:
            await self._app(scope, receive, send)
            return

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_closing)
