"""A webhook receiver on this machine that says what arrives and whether its signature is right."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

import click

from tocsin.core.signature import sign_standard, standard_key

_HEAD_BYTES_MAX = 65_536
_BODY_BYTES_MAX = 6_000_000
_BODY_SHOWN_BYTES = 200


class Arrival(NamedTuple):
    """A request that came in.

    Attributes:
        message_id: its ``webhook-id``.
        signed: whether its signature is right; None where it has none, as a chat's webhook is sent none.
    """

    method_and_path: str
    message_id: str | None
    signed: bool | None
    body: bytes


def print_arrival(arrival: Arrival) -> None:
    """Print a line about a request."""
    verdict = {True: "signature right", False: "SIGNATURE WRONG", None: "not signed"}[arrival.signed]
    told = "  ".join(filter(None, (arrival.method_and_path, arrival.message_id, verdict)))
    shown = arrival.body[:_BODY_SHOWN_BYTES].decode("utf-8", "replace")
    more = "..." if len(arrival.body) > _BODY_SHOWN_BYTES else ""
    click.echo(f"--> {told}  {shown}{more}")
    sys.stdout.flush()


class Receiver:
    """Answers every request with 200 and tells of it.

    Args:
        tell: called with each request, before it is answered.
    """

    def __init__(self, tell: Callable[[Arrival], None] = print_arrival) -> None:
        self._tell = tell
        self._server: asyncio.Server | None = None
        self._keys: list[bytes] = []

    async def open(self) -> str:
        """Listen on a free port of the loopback interface; return the URL, without a slash at its end."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def expect(self, secrets: Iterable[str]) -> None:
        """Take signatures by any of these ``whsec_`` secrets as right."""
        self._keys = [key for key in map(standard_key, secrets) if key is not None]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(":") for line in lines[1:] if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(min(int(headers.get("content-length", "0")), _BODY_BYTES_MAX))
                method_and_path = lines[0].rpartition(" ")[0]
                arrival = Arrival(method_and_path, headers.get("webhook-id"), self._signed(headers, body), body)
                self._tell(arrival)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    def _signed(self, headers: dict[str, str], body: bytes) -> bool | None:
        if "webhook-id" not in headers and "webhook-signature" not in headers:
            return None
        timestamp = headers.get("webhook-timestamp", "")
        if not timestamp.isdecimal():
            return False
        given = headers.get("webhook-signature", "").split(" ")
        message_id = headers.get("webhook-id", "")
        return any(sign_standard(key, message_id, int(timestamp), body) in given for key in self._keys)
