"""The standard streams: closed ones, and an output that cannot be written told from all other faults."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

_NAMES = ("stdin", "stdout", "stderr")


class OutputLost(OSError):
    """The output cannot be written, as on a disk that is full; ``strerror`` says why."""


def prepare_streams() -> None:
    """Make the standard streams fit for commands.

    Each that whoever started us has closed becomes one where nothing is read or kept: the next file to be opened
    would take its number otherwise, and the output would be written into it. Faults of stdout become ``OutputLost``,
    but for a reader who has gone, which stays ``BrokenPipeError``.
    """
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  open to the end
    sys.stdout = cast("TextIO", _Output(sys.stdout))


def let_go_of_output() -> None:
    """Keep the interpreter from telling, at its end, that the rest cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output:
    """stdout, in all but its faults."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text."""
        with _telling_faults():
            return self._stream.write(text)

    def flush(self) -> None:
        """Send what was written on its way."""
        with _telling_faults():
            self._stream.flush()


@contextlib.contextmanager
def _telling_faults() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(error.errno, error.strerror) from error
