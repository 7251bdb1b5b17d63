"""A raw connection to a gateway: what is sent, byte for byte, and what comes back."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gateway import Answer

DEADLINE_S = 20.0
"""How long any read may take; a test that waits for so long has failed."""


class Reply(Answer):
    """One answer; of several headers with one name the first."""

    __slots__ = ()

    @property
    def ends_connection(self) -> bool:
        """Whether the answer says that no other will follow."""
        return self.headers.get("connection") == "close"


class Wire:
    """A connection."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._reader: BinaryIO = connected.makefile("rb")

    def close(self) -> None:
        """Let go of it."""
        self._reader.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.sendall(data)

    def send_some(self, data: bytes) -> int:
        """Send what fits without waiting; return how much that was."""
        self._socket.setblocking(False)
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        finally:
            self._socket.settimeout(DEADLINE_S)

    def pour(self, data: bytes, times: int) -> bool:
        """Send it so often, or until the peer has had enough; return whether all was taken."""
        try:
            for _ in range(times):
                self.send(data)
        except ConnectionError:
            return False
        return True

    def reply(self, *, has_body: bool = True) -> Reply:
        """Return the next answer.

        Args:
            has_body: False for the answer to HEAD, whose length is that of a body that does not come.
        """
        line = self._reader.readline()
        assert line, "the connection ended without an answer"
        version, status = line.split(b" ")[:2]
        assert version == b"HTTP/1.1", line
        headers: dict[str, str] = {}
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.setdefault(name.lower(), value.strip())
        length = int(headers.get("content-length", "0")) if has_body else 0
        return Reply(int(status), headers, self._reader.read(length))

    def until(self, end: bytes) -> bytes:
        """Return what comes up to and with ``end``."""
        found = bytearray()
        while not found.endswith(end):
            byte = self._reader.read(1)
            assert byte, f"the connection ended behind {bytes(found[-100:])!r}"
            found += byte
        return bytes(found)

    def rest(self) -> bytes:
        """Return what comes until the peer closes; a reset ends it too."""
        found = b""
        try:
            while chunk := self._reader.read1(65_536):  # type: ignore[attr-defined]
                found += chunk
        except ConnectionError:
            pass
        return found

    def is_closed(self) -> bool:
        """Wait until the peer closes; return whether it did so without a word."""
        return self.rest() == b""


@contextmanager
def wire(base_url: str, *, receive_buffer_bytes: int | None = None) -> Iterator[Wire]:
    """Connect to a gateway.

    Args:
        receive_buffer_bytes: a small one makes a client that reads nothing felt at once.
    """
    host, _, port = base_url.removeprefix("http://").rpartition(":")
    with socket.socket() as connected:
        if receive_buffer_bytes is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        connected.settimeout(DEADLINE_S)
        connected.connect((host, int(port)))
        client = Wire(connected)
        try:
            yield client
        finally:
            client.close()


def request(method: str, target: str, *headers: str, body: bytes = b"", length: bool = True) -> bytes:
    """Return a request's bytes, with a Host and, for a body, its length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", *headers]
    if body and length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Memory:
    """How much memory a process takes, from one moment on.

    Linux counts the highest value of the resident set since its counter was set back.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def growth_mib(self) -> float:
        """Return by how much the highest value since then lies above the one at the beginning."""
        return (self._read("VmHWM") - self._before) / 1024

    def _read(self, name: str) -> int:
        lines = self._status.read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
