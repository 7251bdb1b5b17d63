"""The process that sends, started by ``process.ProcessClient``.

It holds no secret but what a request carries, opens no file of ours, and ends with the process that started it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from functools import partial
from ipaddress import ip_network

import msgspec

from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound.client import Client
from tocsin.transports.outbound.messages import Limits, Reply, Request
from tocsin.transports.outbound.pipe import Pipe

Asked = tuple[int, Request]
Answered = tuple[int, Reply]


class Hello(msgspec.Struct, frozen=True):
    """The first frame to the worker.

    Attributes:
        allow: networks that may be reached although they are not public.
    """

    allow: tuple[str, ...]
    limits: Limits
    ca_file: str | None = None


READY = b"ready"
"""The worker's first frame."""

_read_asked = msgspec.msgpack.Decoder(list[Asked]).decode
_write = msgspec.msgpack.Encoder().encode


class Worker:
    """Sends what it is asked, and answers in batches."""

    def __init__(self, end: socket.socket) -> None:
        self._pipe = Pipe(end, self._greeted, self._ended)
        self._done = asyncio.Event()
        self._answers: list[Answered] = []
        self._client: Client | None = None

    async def run(self) -> None:
        """Work until the other side is gone."""
        self._pipe.open()
        await self._done.wait()
        if self._client is not None:
            await self._client.close()

    def _greeted(self, frame: bytes) -> None:
        if self._client is None:
            hello = msgspec.msgpack.decode(frame, type=Hello)
            policy = AddressPolicy(tuple(ip_network(each) for each in hello.allow))
            self._client = Client(policy, limits=hello.limits, ca_file=hello.ca_file)
            self._opening = asyncio.get_running_loop().create_task(self._open(self._client))
            return
        for number, request in _read_asked(frame):
            self._client.send(request, partial(self._answer, number))

    async def _open(self, client: Client) -> None:
        await client.open()
        self._pipe.write(READY)

    def _answer(self, number: int, reply: Reply) -> None:
        self._answers.append((number, reply))
        if len(self._answers) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        answers, self._answers = self._answers, []
        self._pipe.write(_write(answers))

    def _ended(self) -> None:
        self._done.set()


def main() -> None:
    """Serve the socket whose descriptor is the first argument."""
    # A terminal's interrupt goes to the whole group; whoever started this process decides when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = socket.socket(fileno=int(sys.argv[1]))

    async def work() -> None:
        await Worker(end).run()

    try:
        import uvloop  # noqa: PLC0415  not on every platform
    except ImportError:
        asyncio.run(work())
    else:
        uvloop.run(work())
