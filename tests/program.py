"""The command line in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Done:
    """What a program ended with."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, decoded: exactly one JSON document."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[Any]:
        """What it printed, decoded: a JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(settings: dict[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return kept | (settings or {})


def run_program(*arguments: str, settings: dict[str, str] | None = None, directory: Path | None = None) -> Done:
    """Run ``tocsin`` until it ends.

    Args:
        directory: where it runs; a ``tocsin.toml`` there counts.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tocsin", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env=environment(settings),
        cwd=directory,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Running:
    """``tocsin serve``, ready.

    Attributes:
        out: what it printed until then.
        base_url: where it listens; empty where it does not.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self._errors: list[str] = []
        self._reading = threading.Thread(target=self._read_errors)
        self._reading.start()
        self.out = ""
        self.base_url = ""

    def wait_ready(self, within_s: float = DEADLINE_S) -> None:
        """Read what it prints until it is ready."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(within_s, self._process.kill)
        watchdog.start()
        try:
            while not self.out.endswith("Ready.\n"):
                line = self._process.stdout.readline()
                assert line, f"it did not start: {self.err}"
                self.out += line
        finally:
            watchdog.cancel()
        places = [line.rpartition(" ")[2] for line in self.out.splitlines() if "listens on" in line]
        self.base_url = places[0] if places else ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def err(self) -> str:
        """What it has written to stderr so far; once it has ended, all of it."""
        if self._process.poll() is not None:
            self._reading.join()
        return "".join(self._errors)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def close(self) -> None:
        """Let go of its output, once it has ended."""
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._reading.join()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            self._errors.extend(lines)

    def ended(self, within_s: float = DEADLINE_S) -> int:
        """Wait until it ends; return its exit status."""
        return self._process.wait(within_s)


@contextmanager
def running_program(
    directory: Path,
    *arguments: str,
    settings: dict[str, str] | None = None,
    before: str = "",
    command: str = "serve",
    ready_within_s: float = DEADLINE_S,
) -> Iterator[Running]:
    """Run ``tocsin serve``, or another command that goes on, on a free port, in a directory of its own.

    Args:
        before: shell commands in whose shell it runs, such as ``ulimit``.
    """
    words = [sys.executable, "-m", "tocsin", command, *arguments]
    if command == "serve" and "--port" not in arguments:
        words += ["--port", "0"]
    if before:
        words = ["sh", "-c", f'{before}; exec "$@"', "sh", *words]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(settings),
        cwd=directory,
    )
    running = Running(process)
    try:
        running.wait_ready(ready_within_s)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(DEADLINE_S)
            finally:
                process.kill()
        running.close()
