"""Streaming answers: pieces as they come, and every way in which they end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from serving import route, served
from tocsin.web.http import Request, Response
from tocsin.web.server import ServerLimits
from tocsin.web.streaming import StreamingResponse
from wire import Wire, request, wire

PATIENCE_S = 20.0


class Pieces:
    """Pieces that a test hands out."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self.hurry: Callable[[float], None] | None = None
        self.told: list[str] = []
        self.closed = threading.Event()
        self.asked = threading.Semaphore(0)

    def put(self, piece: bytes) -> None:
        """Let a piece come; nothing ends the answer."""
        self._loop.call_soon_threadsafe(self._waiting.put_nowait, piece)

    def hurry_up(self, patience_s: float) -> None:
        """Let the rest be sent within so many seconds."""
        assert self.hurry is not None
        self._loop.call_soon_threadsafe(self.hurry, patience_s)

    def begin(self, hurry: Callable[[float], None]) -> None:
        self.hurry = hurry

    async def next(self) -> bytes:
        self.asked.release()
        return await self._waiting.get()

    def shut_down(self) -> None:
        self.told.append("shut down")
        self._waiting.put_nowait(b"bye")
        self._waiting.put_nowait(b"")

    def lost(self) -> None:
        self.told.append("lost")
        self._waiting.put_nowait(b"")

    def close(self) -> None:
        self.told.append("close")
        self.closed.set()

    def wait_closed(self) -> list[str]:
        """Return what was told, once the answer is over."""
        assert self.closed.wait(PATIENCE_S), self.told
        return self.told


class Streams:
    """A handler whose answers' pieces a test hands out."""

    def __init__(self) -> None:
        self._made: list[Pieces] = []
        self._some = threading.Semaphore(0)

    async def __call__(self, _request: Request) -> Response:
        self._made.append(Pieces(asyncio.get_running_loop()))
        self._some.release()
        return StreamingResponse(status=200, headers=[(b"x-kind", b"stream")], pieces=self._made[-1])

    def next(self) -> Pieces:
        """Return the pieces of the answer that begins next."""
        assert self._some.acquire(timeout=PATIENCE_S)
        return self._made[-1]


def head_of(client: Wire) -> bytes:
    """Return an answer's head."""
    return client.until(b"\r\n\r\n")


def test_pieces_are_sent_as_they_come_and_the_connection_is_kept() -> None:
    streams = Streams()
    with served(route("GET", "/s", streams), route("GET", "/e")) as running, wire(running.base_url) as client:
        client.send(request("GET", "/s"))
        head = head_of(client)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"x-kind: stream" in head
        assert b"content-length" not in head
        pieces = streams.next()
        for piece in (b"one", b"two"):
            pieces.put(piece)
            assert client.until(piece + b"\r\n") == b"3\r\n" + piece + b"\r\n"
        pieces.put(b"")
        assert client.until(b"0\r\n\r\n") == b"0\r\n\r\n"
        assert pieces.wait_closed() == ["close"]
        client.send(request("GET", "/e"))
        assert client.reply().status == 200
        assert running.answered[0].status == 200


def test_head_gets_no_piece() -> None:
    streams = Streams()
    with served(route("GET", "/s", streams)) as running, wire(running.base_url) as client:
        client.send(request("HEAD", "/s"))
        assert b"x-kind: stream" in head_of(client)
        pieces = streams.next()
        assert pieces.wait_closed() == ["close"]
        assert pieces.hurry is None


def test_a_client_that_leaves_is_noticed_without_a_piece() -> None:
    streams = Streams()
    with served(route("GET", "/s", streams)) as running:
        with wire(running.base_url) as client:
            client.send(request("GET", "/s"))
            head_of(client)
            pieces = streams.next()
            assert pieces.asked.acquire(timeout=PATIENCE_S)
        assert pieces.wait_closed() == ["lost", "close"]


def test_a_shutdown_lets_pieces_say_goodbye() -> None:
    streams = Streams()
    with served(route("GET", "/s", streams)) as running, wire(running.base_url) as client:
        client.send(request("GET", "/s"))
        head_of(client)
        pieces = streams.next()
        assert pieces.asked.acquire(timeout=PATIENCE_S)
        running.stop()
        assert client.rest() == b"3\r\nbye\r\n0\r\n\r\n"
        assert pieces.wait_closed() == ["shut down", "close"]
        running.wait_ended()


def stuffed(streams: Streams, client: Wire) -> Pieces:
    """Return the pieces of an answer that fills all buffers and is not read."""
    client.send(request("GET", "/s", "Connection: close"))
    pieces = streams.next()
    assert pieces.asked.acquire(timeout=PATIENCE_S)
    # The second has to wait for the first, which is larger than the system's buffers.
    pieces.put(b"x" * 16_000_000)
    pieces.put(b"y")
    pieces.put(b"")
    return pieces


@pytest.mark.parametrize("ended_before", [False, True])
def test_a_shutdown_waits_for_no_reader_and_breaks_off_no_task(
    ended_before: bool, caplog: pytest.LogCaptureFixture
) -> None:
    streams = Streams()
    limits = ServerLimits(shutdown_s=1.0, drain_s=0.05, unread_s=3600)
    with (
        served(route("GET", "/s", streams), limits=limits) as running,
        wire(running.base_url, receive_buffer_bytes=4096) as client,
    ):
        pieces = stuffed(streams, client)
        assert pieces.asked.acquire(timeout=PATIENCE_S)
        if ended_before:
            pieces.hurry_up(3600.0)
        running.stop()
        assert pieces.wait_closed() == ["shut down", "lost", "close"]
        running.wait_ended()
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


def test_who_does_not_read_is_cut_off_when_time_is_up() -> None:
    streams = Streams()
    limits = ServerLimits(shutdown_s=1.0, drain_s=0.05, unread_s=3600)
    with (
        served(route("GET", "/s", streams), limits=limits) as running,
        wire(running.base_url, receive_buffer_bytes=4096) as client,
    ):
        pieces = stuffed(streams, client)
        assert pieces.asked.acquire(timeout=PATIENCE_S)
        pieces.hurry_up(0.01)
        assert "lost" in pieces.wait_closed()
        assert not client.rest().endswith(b"0\r\n\r\n")


def test_who_reads_in_time_is_not_cut_off() -> None:
    streams = Streams()
    with (
        served(route("GET", "/s", streams)) as running,
        wire(running.base_url, receive_buffer_bytes=4096) as client,
    ):
        pieces = stuffed(streams, client)
        pieces.hurry_up(3600.0)
        assert client.rest().endswith(b"x\r\n1\r\ny\r\n0\r\n\r\n")
        assert pieces.wait_closed() == ["close"]


@pytest.mark.parametrize("fault", [RuntimeError("broken"), asyncio.CancelledError()])
def test_pieces_are_let_go_of_whatever_happens(fault: BaseException) -> None:
    class Broken(Pieces):
        async def next(self) -> bytes:
            raise fault

    async def play() -> list[str]:
        pieces = Broken(asyncio.get_running_loop())
        response = StreamingResponse(status=200, pieces=pieces)

        async def send(_message: object) -> None:
            pass

        with pytest.raises(type(fault)):
            await response.send({"type": "http", "method": "GET"}, send)
        return pieces.told

    assert asyncio.run(play()) == ["close"]
