"""Values on the command line: ``name=value`` pairs, JSON, text from stdin, moments in time."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_AGO = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SECONDS_BELOW = 100_000_000_000
"""A number below this is read as seconds, one above it as milliseconds: as the gateway's routes read theirs."""


def pairs(given: Sequence[str], option: str) -> dict[str, Any]:
    """Return ``name=value`` pairs as an object.

    A value that is JSON (a number, ``true``, ``false``, ``null``, a text in quotes, an array, an object) is that,
    any other one a text.

    Raises:
        Failure: one has no ``=``, or no name.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Failure(USAGE, f"{option} takes name=value, and {text!r} is not that")
        found[name] = scalar(value)
    return found


def scalar(text: str) -> Any:
    """Return a text as the JSON it is, else as a text."""
    if text in ("true", "false", "null") or _NUMBER.fullmatch(text) or text[:1] in ('"', "[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def text_or_stdin(text: str) -> str:
    """Return the text, or all of stdin where it is ``-``, without the line end at its end.

    Raises:
        Failure: stdin is not UTF-8.
    """
    return _decoded(bytes_of("-")).rstrip("\r\n") if text == "-" else text


def json_or_stdin(text: str) -> tuple[Any, str]:
    """Return a JSON value, and its text as it was written: ``1.50`` is sent as ``1.50``.

    Args:
        text: the JSON; ``-`` is stdin, and ``@`` begins the name of a file.

    Raises:
        Failure: it is no JSON, or cannot be read.
    """
    source = text
    if text == "-" or text.startswith("@"):
        source = _decoded(bytes_of(text.removeprefix("@")))
    try:
        return json.loads(source), source
    except ValueError as error:
        raise Failure(USAGE, f"the payload is no JSON: {error}") from None


def bytes_of(path: str) -> bytes:
    """Return a file's bytes, or stdin's where the path is ``-``.

    Raises:
        Failure: it cannot be read.
    """
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Failure(USAGE, f"{path} cannot be read: {error.strerror}") from error


def moment_ms(text: str, now_ms: int | None = None) -> int:
    """Return a moment in milliseconds since 1970.

    Args:
        text: how long ago (``90s``, ``5m``, ``1h``, ``7d``, ``2w``), an RFC 3339 time, or a number of seconds, or of
            milliseconds where it is large. A time without an offset is in UTC.
        now_ms: what ``ago`` counts from; None is now.

    Raises:
        Failure: it is none of these.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        return now - int(ago[1]) * _UNITS_MS[ago[2]]
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text) if int(text) >= _SECONDS_BELOW else int(text) * 1000
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(
            USAGE, f"{text!r} is no moment: write 1h for an hour ago, 2026-03-06T10:30:00Z, or seconds since 1970"
        ) from None
    return int((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000)


def moment_text(text: str) -> str:
    """Return a moment, written as ``moment_ms`` takes it, as RFC 3339 has it.

    Raises:
        Failure: it is none.
    """
    at_ms = moment_ms(text)
    try:
        shown = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        raise Failure(USAGE, f"{text!r} is a moment that no calendar has") from None
    return shown.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def number_of(count: int, *, exact: bool) -> str:
    """Return how many there are, as a person is told: ``at least`` where not all were counted."""
    return f"{'' if exact else 'at least '}{count}"


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Failure(USAGE, "what was read is not UTF-8") from None
