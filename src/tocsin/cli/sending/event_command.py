"""A command that is run for each event: the event on its stdin, and in its environment."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from tocsin.cli.client.output import Printer, json_text
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.group import OF_EVENTS

_VALUE_CHARACTERS_MAX = 4096
"""A longer value is cut: the environment of a process has a bound, stdin has none."""


class EventCommand:
    """Runs a command once for each event, one after another, each for a bounded time.

    Args:
        text: split into words as a shell would; with ``shell`` it is a script for ``sh``. Nothing of an event ever
            becomes part of it.
        timeout_s: it is killed then.

    Attributes:
        failed: how many ended with a status other than 0.

    Raises:
        Failure: the command is not there.
    """

    def __init__(self, text: str, *, shell: bool, timeout_s: float, out: Printer) -> None:
        try:
            words = ["sh", "-c", text] if shell else shlex.split(text)
        except ValueError as error:
            raise Failure(USAGE, f"--exec cannot be split into words: {error}") from None
        if not words or shutil.which(words[0]) is None:
            raise Failure(USAGE, f"--exec: there is no command {' '.join(words[:1])}")
        self._words = words
        self._timeout_s = timeout_s
        self._out = out
        self.failed = 0

    def run(self, row: Mapping[str, Any]) -> None:
        """Run it for one row of the stream; a command that fails is told, and the next event has its turn.

        Ctrl-C lets it finish within its time, a second one kills it.

        Raises:
            KeyboardInterrupt: once it has ended.
        """
        told = json_text(row) + "\n"
        interrupts = _HeldInterrupts()
        try:
            # A group of its own: a terminal's Ctrl-C is for us, and what it started is killed with it.
            process = subprocess.Popen(  # noqa: S603  the words are the user's own
                self._words, stdin=subprocess.PIPE, env=os.environ | variables_of(row), process_group=0
            )
        except OSError as error:
            interrupts.let_go()
            self._fail(f"cannot be run: {error.strerror}", row)
            return
        with process:
            try:
                self._finish(process, told.encode(), row, interrupts)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def _finish(
        self, process: subprocess.Popen[bytes], told: bytes, row: Mapping[str, Any], interrupts: _HeldInterrupts
    ) -> None:
        until_s = time.monotonic() + self._timeout_s
        interrupted: KeyboardInterrupt | None = None
        try:
            try:
                interrupts.let_go()
                process.communicate(told, timeout=self._timeout_s)
            except KeyboardInterrupt as interrupt:
                interrupted = interrupt
                self._out.warn(f"the command for {row.get('id')} is let finish; Ctrl-C again kills it")
                process.communicate(timeout=max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._fail(f"took longer than {self._timeout_s:g} s and was killed", row)
        else:
            if process.returncode != 0:
                self._fail(f"ended with {process.returncode}", row)
        if interrupted is not None:
            raise interrupted

    def _fail(self, reason: str, row: Mapping[str, Any]) -> None:
        self.failed += 1
        self._out.warn(f"the command for {row.get('id')} {reason}")


def variables_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables of a row: ``TOCSIN_EVENT_`` and the name of each member that is plain."""
    event = row.get("event") if isinstance(row.get("event"), dict) else {}
    destination = row.get("destination") if isinstance(row.get("destination"), dict) else {}
    members = {**(event or {}), **{name: value for name, value in row.items() if name != "id" or not event}}
    if destination:
        members |= {"delivery": row.get("id"), "destination": destination.get("name")}
    return {
        f"{OF_EVENTS}{name.upper()}": _clipped(value)
        for name, value in members.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }


def _clipped(value: Any) -> str:
    return str(value).replace("\0", "")[:_VALUE_CHARACTERS_MAX]


class _HeldInterrupts:
    """Keeps Ctrl-C from breaking off the start of a command, which would then run on with nobody to wait for it."""

    def __init__(self) -> None:
        self._came = False
        self._before = signal.signal(signal.SIGINT, self._note)

    def let_go(self) -> None:
        """Hold nothing back any more.

        Raises:
            KeyboardInterrupt: one came meanwhile.
        """
        signal.signal(signal.SIGINT, self._before)
        if self._came:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self._came = True
