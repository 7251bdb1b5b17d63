"""The HTTP server in this process, with routes that a test makes for itself."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import uvloop

from tocsin.core.errors import NotFound, TocsinError
from tocsin.web.app import App, Area
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Request, Response, Route, json_response
from tocsin.web.server import HttpServer, ServerLimits


class Answered(msgspec.Struct, frozen=True):
    """What the application reported of an answer."""

    dialect: str
    route: str
    status: int
    fault: Exception | None


class Served:
    """A server that runs.

    Attributes:
        answered: every answer so far.
        loop: the server's; handlers run in it.
        thread: in which it runs.
        stopped: whether it was told to stop.
    """

    def __init__(self, base_url: str, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self.base_url = base_url
        self.thread = threading.current_thread()
        self.answered: list[Answered] = []
        self.loop = loop
        self.stopped = False
        self._server = server

    def stop(self) -> None:
        """Begin to shut down, as a signal does; return once connections are being closed."""
        self.stopped = True
        asyncio.run_coroutine_threadsafe(self._server.stop(), self.loop).result(10)

    def stop_at_once(self) -> None:
        """Wait for nobody any longer."""
        self.loop.call_soon_threadsafe(self._server.stop_at_once)

    def wait_ended(self) -> None:
        """Return when the server has ended."""
        self.thread.join(10)
        assert not self.thread.is_alive(), "the server did not end"


def told(_request: Request, error: TocsinError) -> Response:
    """Tell an error by its code."""
    return json_response(status_of(error), {"code": error.code, "detail": error.detail}, retry_after(error))


def nobodys(request: Request) -> Response:
    """Tell that a path is unknown."""
    return told(request, NotFound("nothing here"))


async def echo(request: Request) -> Response:
    """Tell what a request is."""
    headers = {name.decode(): value.decode("latin-1") for name, value in request.scope["headers"]}
    return json_response(
        200,
        {
            "method": request.method,
            "path": request.url_path,
            "parameters": request.path,
            "query": request.query_list,
            "headers": headers,
            "client": request.client,
            "body": request.body.decode("latin-1"),
        },
    )


class Gate:
    """A handler that answers once it may.

    Attributes:
        entered: set when a request has come to it.
    """

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        """Let it answer."""
        self._open.set()

    async def __call__(self, request: Request) -> Response:
        self.entered.set()
        await asyncio.to_thread(self._open.wait, 10)
        return json_response(200, "late")


def route(method: str, path: str, handler: Callable[[Request], Awaitable[Response]] = echo, **fields: Any) -> Route:
    """Return a route that tells errors by their codes."""
    return Route(**{"method": method, "path": path, "handler": handler, "errors": told, "name": "test", **fields})


@contextmanager
def served(
    *routes: Route, areas: Sequence[Area] = (Area("", nobodys),), limits: ServerLimits | None = None
) -> Iterator[Served]:
    """Serve these routes in a thread of their own; the server ends with the block."""
    limits = ServerLimits(shutdown_s=1.0, drain_s=0.05) if limits is None else limits
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setblocking(False)
    started: list[Served] = []
    ready = threading.Event()

    async def main() -> None:
        def report(which: Route, _request: Request, status: int, fault: Exception | None) -> None:
            running.answered.append(Answered(which.name, f"{which.method} {which.path}", status, fault))

        app = App(
            routes,
            areas,
            report=report,
            body_deadline_s=limits.body_deadline_s,
            bodies_bytes_max=limits.bodies_bytes_max,
        )
        server = HttpServer(app, bound, limits)
        host, port = bound.getsockname()
        running = Served(f"http://{host}:{port}", server, asyncio.get_running_loop())
        started.append(running)
        serving = asyncio.create_task(server.serve())
        await server.wait_started()
        ready.set()
        await serving

    thread = threading.Thread(target=uvloop.run, args=(main(),))
    thread.start()
    assert ready.wait(10), "the server did not start"
    try:
        yield started[0]
    finally:
        if not started[0].stopped:
            started[0].stop()
        started[0].wait_ended()
