"""Load and a receiver, each in a process of its own, cheap enough to leave the machine to what is measured."""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import socket
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import httptools
import uvloop

_ARRIVAL_MAX_S = 60.0
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class _Sink(asyncio.Protocol):
    """Answers every request with 200, after a while if one is given."""

    def __init__(self, seen: list[int], wait_s: float) -> None:
        self._seen = seen
        self._wait_s = wait_s
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._seen[0] += 1
        if self._wait_s:
            asyncio.get_running_loop().call_later(self._wait_s, self._transport.write, _OK)
        else:
            self._transport.write(_OK)


def _run_sink(bound: socket.socket, pipe: Connection, wait_s: float) -> None:
    async def serve() -> None:
        seen = [0]
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Sink(seen, wait_s), sock=bound)
        stopping = asyncio.Event()

        def asked() -> None:
            if pipe.recv() == "stop":
                stopping.set()
            else:
                pipe.send(seen[0])

        loop.add_reader(pipe.fileno(), asked)
        await stopping.wait()
        server.close()

    uvloop.run(serve())


class Sink:
    """A receiver that counts, and takes so long to answer."""

    def __init__(self, wait_s: float = 0.0) -> None:
        bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}/hook"
        self._pipe, theirs = mp.Pipe()
        self._process = mp.Process(target=_run_sink, args=(bound, theirs, wait_s), daemon=True)
        self._process.start()
        bound.close()

    def count(self) -> int:
        """Return how many requests arrived so far."""
        self._pipe.send("count")
        seen: int = self._pipe.recv()
        return seen

    def wait_for(self, goal: int) -> int:
        """Return how many requests have arrived, once these are ``goal`` or nothing more comes."""
        deadline_s = time.monotonic() + _ARRIVAL_MAX_S
        count, still = self.count(), 0
        while count < goal and still < 100 and time.monotonic() < deadline_s:
            time.sleep(0.02)
            latest = self.count()
            still = still + 1 if latest == count else 0
            count = latest
        return count

    def stop(self) -> None:
        """End the process."""
        self._pipe.send("stop")
        self._process.join(5)


class _Client(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next."""

    def __init__(self, request: bytes, tally: dict[str, Any], deadline_s: float) -> None:
        self._request = request
        self._tally = tally  # of all connections
        self._deadline_s = deadline_s
        self._parser = httptools.HttpResponseParser(self)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._deadline_s or not self._tally["left"]:
            self._transport.close()
            return
        self._tally["left"] -= 1
        self._sent_s = now_s
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if 200 <= status < 300:
            self._tally["accepted"] += 1
            self._tally["latencies_ms"].append((time.monotonic() - self._sent_s) * 1000)
        else:
            self._tally["refused"] += 1
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _run_load(
    host: str, port: int, request: bytes, connections: int, seconds: float, events_max: int, pipe: Connection
) -> None:
    async def load() -> dict[str, Any]:
        tally: dict[str, Any] = {"accepted": 0, "refused": 0, "latencies_ms": [], "left": events_max}
        loop = asyncio.get_running_loop()
        started_s = time.monotonic()
        deadline_s = started_s + seconds
        clients = [
            (await loop.create_connection(lambda: _Client(request, tally, deadline_s), host, port))[1]
            for _ in range(connections)
        ]
        await asyncio.gather(*(client.done for client in clients))
        return tally | {"took_s": time.monotonic() - started_s}

    pipe.send(uvloop.run(load()))


def load(
    base_url: str, request: bytes, *, connections: int, seconds: float, events_max: int = sys.maxsize
) -> dict[str, Any]:
    """Send one request over and over on so many connections; return accepted, refused, latencies_ms and took_s."""
    host, _, port = base_url.removeprefix("http://").rpartition(":")
    ours, theirs = mp.Pipe()
    given = (host, int(port), request, connections, seconds, events_max, theirs)
    process = mp.Process(target=_run_load, args=given, daemon=True)
    process.start()
    tally: dict[str, Any] = ours.recv()
    process.join(5)
    return tally
