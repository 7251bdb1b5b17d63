"""What the fakes of HTTP APIs share: the port, the script, the record of requests, the control."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tocsin.core.clock import Clock
from tocsin.fakes.arrivals import Arrivals, Received
from tocsin.fakes.clock import MachineClock
from tocsin.fakes.control import body_of, control
from tocsin.fakes.ports import LOOPBACK, HttpPort, cut
from tocsin.fakes.script import Answer, BadScript, Script

CONTROL = "/_control/"
"""Where a path begins that belongs to the control and not to the API."""


class Remote(ABC):
    """A fake of an HTTP API; use it as an asynchronous context manager.

    Args:
        port: 0 picks a free one.
        clock: of the times it tells and the windows it keeps.

    Attributes:
        arrivals: its requests, and waiting for them.
    """

    name: str

    def __init__(self, *, port: int = 0, clock: Clock | None = None) -> None:
        self.arrivals = Arrivals()
        self.scripted = Script()
        self.is_listening = False
        self._clock: Clock = MachineClock() if clock is None else clock
        self._port = HttpPort(self._serve, port)

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://{LOOPBACK}:{self._port.port}"

    @property
    def requests(self) -> Sequence[Received]:
        """The last requests, in order; those to the control are not among them."""
        return self.arrivals.requests

    def script(self, *answers: Answer) -> None:
        """Set what the next requests get, one each, behind what is scripted already."""
        self.scripted.add(answers)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds, which is looked at after everything that happens here."""
        await self.arrivals.until(condition)

    async def leave(self) -> None:
        """Cut all connections and refuse further ones."""
        self.is_listening = False
        await self._port.close()

    async def come_back(self) -> None:
        """Listen, always on the same port.

        Raises:
            OSError: the port is not to be had.
        """
        await self._port.open()
        self.is_listening = True

    def clear(self) -> None:
        """Forget the script and all that was kept."""
        self.scripted.clear()
        self.arrivals.clear()

    def do(self, order: dict[str, Any]) -> None:
        """Do what only this kind of fake can.

        Raises:
            BadScript: it cannot.
        """
        raise BadScript(f"{self.name} does nothing by itself: {', '.join(order)}")

    @abstractmethod
    async def answer(self, request: Received) -> Response:
        """Return the usual answer to a request."""

    @abstractmethod
    def refusal(self, request: Received, answer: Answer) -> Response:
        """Return a scripted answer in this API's form."""

    @abstractmethod
    def too_large(self) -> Response:
        """Return what a request with too large a body is answered."""

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if scope["path"].startswith(CONTROL):
            await (await self._controlled(request))(scope, receive, send)
            return
        body = await body_of(request)
        received = self._received(request, body or b"")
        self.arrivals.add(received)
        scripted = self.scripted.next()
        if scripted.delay_s:
            await asyncio.sleep(scripted.delay_s)
        if scripted.down:
            await cut(scope, receive)
            return
        if scripted.refuses:
            response = self.refusal(received, scripted)
        else:
            response = self.too_large() if body is None else await self.answer(received)
        received.status = response.status_code
        await response(scope, receive, send)
        self.arrivals.changed()

    async def _controlled(self, request: Request) -> Response:
        if request.url.path != f"{CONTROL}{self.name}":
            return Response(status_code=404)
        if request.method != "POST":
            return Response(status_code=405, headers={"allow": "POST"})
        return await control(self, request)

    def _received(self, request: Request, body: bytes) -> Received:
        target = request.scope["path"]
        if request.scope["query_string"]:
            target += "?" + request.scope["query_string"].decode("latin-1")
        return Received(
            at_s=self._clock.monotonic_s(),
            method=request.method,
            target=target,
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw),
            body=body,
        )
