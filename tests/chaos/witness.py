"""A receiver that keeps count of what it saw and did, and now and then is slow, refuses, or breaks off."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import httptools

from chaos.evidence import Arrival

NAME = re.compile(rb"chaos/\d+-\d+")

_REFUSED = 0.02
_BROKEN_OFF = 0.01
_SLOW = 0.06
_SLOW_S = (0.05, 0.4)

_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class Witness:
    """Takes deliveries.

    Attributes:
        url: where it listens.
        arrivals: what it saw.
        held: what it is about to answer, by the port of who sent it.
    """

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.url = ""
        self.arrivals: list[Arrival] = []
        self.held: dict[int, Arrival] = {}
        self.count = count()
        self.further = asyncio.Event()

    async def wait_for(self, arrivals: int) -> None:
        """Return once so many requests have come in all."""
        while len(self.arrivals) < arrivals:
            self.further.clear()
            await self.further.wait()


class _Sender(asyncio.Protocol):
    """One connection of a dispatcher."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._port = 0
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path = self._event_id = ""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._port = transport.get_extra_info("peername")[1]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self._event_id = value.decode().removeprefix("evt_")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        witness = self._witness
        found = NAME.search(self._body)
        name = "" if found is None else found.group().decode()
        arrival = Arrival(self._path, name, self._event_id, next(witness.count))
        witness.arrivals.append(arrival)
        witness.further.set()
        self._body = b""
        chance = witness.dice.random()
        if chance < _BROKEN_OFF:
            self._transport.abort()
        elif chance < _BROKEN_OFF + _REFUSED:
            self._transport.write(_UNAVAILABLE)
        elif chance < _BROKEN_OFF + _REFUSED + _SLOW:
            witness.held[self._port] = arrival
            asyncio.get_running_loop().call_later(witness.dice.uniform(*_SLOW_S), self._answer, arrival)
        else:
            self._answer(arrival)

    def _answer(self, arrival: Arrival) -> None:
        self._witness.held.pop(self._port, None)
        if not self._transport.is_closing():
            # Counted before it is written: whatever follows from it comes later.
            arrival.answered = next(self._witness.count)
            self._transport.write(_OK)

    def connection_lost(self, _: Exception | None) -> None:
        self._witness.held.pop(self._port, None)


@asynccontextmanager
async def witnessing(dice: random.Random) -> AsyncIterator[Witness]:
    """Run a receiver."""
    witness = Witness(dice)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Sender(witness), "127.0.0.1", 0, backlog=512)
    witness.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield witness
    finally:
        server.close()
