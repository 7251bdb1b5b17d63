"""Running a command as if it ran by itself: its output goes through, signals reach it, and its end is known."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import BinaryIO

NOT_FOUND = 127
NOT_EXECUTABLE = 126
SIGNALLED = 128
"""Exit statuses as a shell has them; a command ended by a signal has 128 and the signal's number."""

_CHUNK_BYTES = 65_536
_READERS_WAIT_S = 2.0
"""How long output is waited for after the command's end: something it left running may hold the pipe open."""

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_FROM_KEYBOARD = (signal.SIGINT, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        status: as a shell has it.
        tail: the last of its output, stdout and stderr as they came.
        by_keyboard: whether Ctrl-C or its like ended it.
    """

    status: int
    tail: str
    duration_s: float
    by_keyboard: bool


class Tail:
    """Keeps the last bytes that were written.

    Args:
        bytes_max: how many.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def add(self, chunk: bytes) -> None:
        """Note what was written."""
        with self._lock:
            self._chunks.append(chunk)
            self._size += len(chunk)
            while self._size - len(self._chunks[0]) >= self._bytes_max:
                self._size -= len(self._chunks.popleft())

    def text(self, lines_max: int) -> str:
        """Return the last lines, without the line end at their end."""
        with self._lock:
            kept = b"".join(self._chunks)[-self._bytes_max :]
        lines = kept.decode("utf-8", "replace").replace("\0", "").rstrip().splitlines()
        return "\n".join(lines[-lines_max:]) if lines_max else ""


def supervise(command: Sequence[str], *, tail_lines: int, tail_bytes: int) -> Ended:
    """Run a command to its end, wait for it however long it takes, and return how it ended.

    Its stdin is ours. Its stdout and stderr go on to ours as they come; they are pipes to it.
    """
    started_s = time.monotonic()
    tail = Tail(tail_bytes)
    received: list[int] = []
    with _signals(received) as forward_to:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603
        except OSError as error:
            status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            text = f"{command[0]}: {error.strerror}"
            sys.stderr.write(f"tocsin: {text}\n")
            return Ended(status, text, time.monotonic() - started_s, by_keyboard=False)
        forward_to(process)
        assert process.stdout is not None
        assert process.stderr is not None
        readers = [
            threading.Thread(target=_copy, args=(process.stdout, sys.stdout.buffer, tail), daemon=True),
            threading.Thread(target=_copy, args=(process.stderr, sys.stderr.buffer, tail), daemon=True),
        ]
        for reader in readers:
            reader.start()
        code = _wait(process)
        for reader in readers:
            reader.join(_READERS_WAIT_S)
    status = code if code >= 0 else SIGNALLED - code
    by_keyboard = any(number in _FROM_KEYBOARD for number in received) and code != 0
    return Ended(status, tail.text(tail_lines), time.monotonic() - started_s, by_keyboard)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Return how the process ended; signals are handled meanwhile.

    ``Popen.wait`` would sleep through one that came just before it began to wait. Here the signal itself writes to a
    pipe that is waited for too.
    """
    if not hasattr(os, "pidfd_open"):
        return process.wait()
    ended = os.pidfd_open(process.pid)
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    try:
        while process.poll() is None:
            if woken in select.select([ended, woken], [], [])[0]:
                os.read(woken, _CHUNK_BYTES)
    finally:
        signal.set_wakeup_fd(before)
        for descriptor in (ended, woken, waking):
            os.close(descriptor)
    return process.wait()


@contextlib.contextmanager
def _signals(received: list[int]) -> Iterator[_Forwarder]:
    """Forward signals while the block runs; one that came before there was a process is sent once there is."""
    forwarder = _Forwarder(received)
    before = {number: signal.getsignal(number) for number in _FORWARDED}
    for number, handler in before.items():
        # One that whoever started us ignores, as nohup does, the command ignores too.
        if handler != signal.SIG_IGN:
            signal.signal(number, forwarder.handle)
    try:
        yield forwarder
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Forwarder:
    def __init__(self, received: list[int]) -> None:
        self._received = received
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        for number in self._received:
            self._send(number)

    def handle(self, number: int, _frame: FrameType | None) -> None:
        self._received.append(number)
        if self._process is not None:
            self._send(number)

    def _send(self, number: int) -> None:
        # A terminal sends these to the command as well as to us.
        if number in _FROM_KEYBOARD and _in_foreground():
            return
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _copy(source: BinaryIO, target: BinaryIO, tail: Tail) -> None:
    # Closing the pipe tells the command that nobody reads, as it would be told without us between.
    with contextlib.suppress(OSError, ValueError), source:
        while chunk := os.read(source.fileno(), _CHUNK_BYTES):
            tail.add(chunk)
            target.write(chunk)
            target.flush()
