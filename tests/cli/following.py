"""Commands that go on until they are told to end."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from cli.commands import Shell
from program import DEADLINE_S


class Lines:
    """A stream of a process, line by line, with a deadline for each."""

    def __init__(self, stream: IO[str]) -> None:
        self.read: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def next(self) -> str:
        """Return the next line; fail when none comes."""
        line = self._lines.get(timeout=DEADLINE_S)
        assert line is not None, f"the program ended after {self.read}"
        self.read.append(line)
        return line

    def until(self, part: str) -> str:
        """Return the next line that holds this."""
        while part not in (line := self.next()):
            pass
        return line

    def rest(self) -> list[str]:
        """Return all lines that are left once the process has closed the stream."""
        left = []
        while (line := self._lines.get(timeout=DEADLINE_S)) is not None:
            left.append(line)
        # Whoever asks again finds the end again.
        self._lines.put(None)
        self._thread.join(DEADLINE_S)
        return left

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


class Following:
    """A command under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self.out = Lines(process.stdout)
        self.err = Lines(process.stderr)

    def row(self) -> Any:
        """Return the next row that it prints."""
        return json.loads(self.out.next())

    def interrupt(self) -> int:
        """Type Ctrl-C; return its exit status."""
        self.signal()
        return self.ended()

    def signal(self) -> None:
        """Type Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def ended(self) -> int:
        """Return its exit status once it has ended by itself."""
        return self._process.wait(DEADLINE_S)

    def close(self) -> None:
        """End it if it has not."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.out.rest()
        self.err.rest()


@contextmanager
def following(shell: Shell, *arguments: str, **variables: str) -> Iterator[Following]:
    """Start a command that goes on, with its output piped."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=shell.environment | variables,
        cwd=shell.home,
    )
    running = Following(process)
    try:
        yield running
    finally:
        running.close()
