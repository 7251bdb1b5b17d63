"""Frames between two processes: a length, then that many bytes, both ways over one socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

_HEAD_BYTES = 4
_READ_BYTES = 1024 * 1024


class Pipe:
    """One end of a connected stream socket, on the event loop.

    Args:
        end: the socket; the pipe closes it.
        on_frame: called with each frame that arrives whole.
        on_end: called once, when the other side is gone.
    """

    def __init__(self, end: socket.socket, on_frame: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._socket = end
        self._on_frame = on_frame
        self._on_end = on_end
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._closed = False

    def open(self) -> None:
        """Begin to read."""
        self._loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._read)

    def write(self, frame: bytes) -> None:
        """Send a frame; what the socket does not take at once follows by itself."""
        if self._closed:
            return
        waiting = bool(self._outgoing)
        self._outgoing += len(frame).to_bytes(_HEAD_BYTES, "big")
        self._outgoing += frame
        if not waiting:
            self._write()

    def close(self) -> None:
        """Stop reading and writing. Idempotent; ``on_end`` is not called any more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._outgoing)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._end()
            return
        del self._outgoing[:sent]
        if self._outgoing:
            self._loop.add_writer(self._socket.fileno(), self._write)
        else:
            self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        try:
            arrived = self._socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            arrived = b""
        if not arrived:
            self._end()
            return
        self._incoming += arrived
        start = 0
        while len(self._incoming) - start >= _HEAD_BYTES:
            head = start + _HEAD_BYTES
            stop = head + int.from_bytes(self._incoming[start:head], "big")
            if len(self._incoming) < stop:
                break
            frame = bytes(self._incoming[head:stop])
            start = stop
            self._on_frame(frame)
        del self._incoming[:start]

    def _end(self) -> None:
        if not self._closed:
            self.close()
            self._on_end()
