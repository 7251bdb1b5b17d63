"""The control of a fake over HTTP: setting its script, taking it away, and emptying it.

``POST /_control/<name>`` with JSON, any of these members::

    {"answers": [{"status": 429, "retry_after": 1.5}, {"delay_s": 2}, {"down": true}]}   the next requests get these
    {"clear": true}          forgets the script and all that was kept, before anything else is done
    {"listening": false}     leaves the port, so that connections are refused; true comes back

The answer tells the state. Only JSON is taken, which a page from elsewhere cannot send unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tocsin.fakes.arrivals import Arrivals
from tocsin.fakes.script import Answer, BadScript, Script

BODY_BYTES_MAX = 1_048_576


class Controlled(Protocol):
    """A fake."""

    name: str
    arrivals: Arrivals

    @property
    def is_listening(self) -> bool:
        """Whether connections are taken."""
        ...

    @property
    def scripted(self) -> Script:
        """The answers to come."""
        ...

    async def leave(self) -> None:
        """Cut all connections and refuse further ones."""
        ...

    async def come_back(self) -> None:
        """Listen again, on the same port."""
        ...

    def clear(self) -> None:
        """Forget the script and all that was kept."""
        ...

    def do(self, order: dict[str, Any]) -> None:
        """Do what only this kind of fake can.

        Raises:
            BadScript: it cannot.
        """
        ...


class _Orders(msgspec.Struct, forbid_unknown_fields=True):
    clear: bool = False
    answers: Sequence[Answer] = ()
    listening: bool | None = None
    do: dict[str, Any] = {}


async def body_of(request: Request) -> bytes | None:
    """Return a request's body, or None where it is too large."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)


async def control(fake: Controlled, request: Request) -> Response:
    """Do what a request to the control asks for."""
    body = await body_of(request)
    if body is None or request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return JSONResponse({"detail": "send application/json"}, 415)
    try:
        orders = msgspec.json.decode(body, type=_Orders)
        if orders.clear:
            fake.clear()
        fake.scripted.add(orders.answers)
        if orders.do:
            fake.do(orders.do)
    except (BadScript, msgspec.DecodeError) as error:
        return JSONResponse({"detail": str(error)}, 422)
    if orders.listening is not None and orders.listening is not fake.is_listening:
        await (fake.come_back() if orders.listening else fake.leave())
    fake.arrivals.changed()
    return JSONResponse(state(fake))


def state(fake: Controlled) -> dict[str, Any]:
    """Return what the control tells of a fake."""
    return {
        "name": fake.name,
        "listening": fake.is_listening,
        "requests": fake.arrivals.count,
        "scripted": len(fake.scripted),
    }
