"""Reading a ``*.http`` file.

Before the first exchange: blank lines, comments (``#``) and the directives ``@plan NAME`` and
``@settings NAME=VALUE ...``, which may stand inside a comment. An exchange begins with ``### title``; directly under
it may stand ``@sign SECRET [TIMESTAMP]``, ``@raw-body HEX``, ``@until`` and comments. Then the request line, header
lines, a blank line, the body; ``--- STATUS``, header lines, a blank line, the body expected. Blank lines around a
body do not count.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

from exchanges.model import Exchange, ExchangeFault, ExchangeFile, Signature

_REQUEST_LINE = re.compile(r"([A-Z]+) (/.*|\*)")
_STATUS_LINE = re.compile(r"--- (\d{3})")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def parse(path: Path) -> ExchangeFile:
    """Return the exchanges of a file.

    Raises:
        ExchangeFault: it is not such a file, or holds no exchange.
    """
    if path.is_dir():
        raise ExchangeFault(path, 1, "there is no *.http file in this directory")
    lines = path.read_text(encoding="utf-8").split("\n")
    starts = [at for at, line in enumerate(lines) if line.startswith("###")]
    if not starts:
        raise ExchangeFault(path, 1, "holds no exchange: none of its lines begins with ###")
    plan, settings = _preamble(path, lines[: starts[0]])
    exchanges = tuple(_Reader(path, lines[:end], start).exchange() for start, end in pairwise([*starts, len(lines)]))
    return ExchangeFile(path=path, exchanges=exchanges, plan=plan, settings=settings)


def _preamble(path: Path, lines: list[str]) -> tuple[str | None, dict[str, str]]:
    plan: str | None = None
    settings: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.lstrip("# ")
        if not line or (line.startswith("#") and not text.startswith(("@plan ", "@settings "))):
            continue
        if not text.startswith("@"):
            raise ExchangeFault(path, number, "stands before the first ### and is no comment")
        name, *values = shlex.split(text)
        if name == "@plan" and len(values) == 1:
            plan = values[0]
        elif name == "@settings" and values and all("=" in value for value in values):
            settings.update((value.split("=", 1)[0], value.split("=", 1)[1]) for value in values)
        else:
            raise ExchangeFault(path, number, f"unknown directive: {text}")
    return plan, settings


class _Reader:
    """Reads one exchange, line by line.

    Args:
        lines: the file's, up to the end of this exchange, so that positions are the file's own.
        start: where its title stands.
    """

    def __init__(self, path: Path, lines: list[str], start: int) -> None:
        self._path = path
        self._lines = lines
        self._start = start
        self._at = start

    def exchange(self) -> Exchange:
        title = self._next()[3:].strip()
        if not title:
            raise self._fault("an exchange needs a title behind ###")
        directives = self._directives()
        request_line = _REQUEST_LINE.fullmatch(self._next())
        if request_line is None:
            raise self._fault("expected a request line: METHOD /path")
        headers = self._headers()
        body = self._body()
        status_line = _STATUS_LINE.fullmatch(self._next())
        if status_line is None:
            raise self._fault("expected an answer: --- STATUS")
        expected_headers = self._headers()
        expected_body = self._body()
        if self._at < len(self._lines):
            self._at += 1
            raise self._fault("a second answer; is a ### missing?")
        if body and "raw_body" in directives:
            raise self._fault("an exchange has a body or @raw-body, not both")
        return Exchange(
            title=title,
            line=self._start + 1,
            method=request_line[1],
            target=request_line[2],
            headers=headers,
            body=body,
            expected_status=int(status_line[1]),
            expected_headers=expected_headers,
            expected_body=expected_body,
            **directives,
        )

    def _next(self) -> str:
        line = self._lines[self._at].rstrip() if self._at < len(self._lines) else ""
        self._at += 1
        return line

    def _fault(self, reason: str) -> ExchangeFault:
        return ExchangeFault(self._path, min(self._at, len(self._lines)), reason)

    def _directives(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._at < len(self._lines) and self._lines[self._at][:1] in ("", "#", "@"):
            line = self._next()
            if not line.startswith("@"):
                continue
            name, *values = line.split()
            if name == "@until" and not values:
                found["until"] = True
            elif name == "@raw-body":
                found["raw_body"] = "".join(values)
            elif name == "@sign" and len(values) in (1, 2):
                found["signature"] = Signature(secret=values[0], timestamp=values[1] if values[1:] else "{{now_s}}")
            else:
                raise self._fault(f"unknown directive: {line}")
        return found

    def _headers(self) -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        while self._at < len(self._lines) and self._lines[self._at].strip() and not self._at_status_line():
            name, colon, value = self._next().partition(":")
            if not colon or _HEADER_NAME.fullmatch(name) is None:
                raise self._fault("expected a header (Name: value), or a blank line before the body")
            found.append((name, value.strip()))
        return tuple(found)

    def _body(self) -> str:
        found: list[str] = []
        while self._at < len(self._lines) and not self._at_status_line():
            found.append(self._lines[self._at])
            self._at += 1
        while found and not found[0].strip():
            del found[0]
        while found and not found[-1].strip():
            del found[-1]
        return "\n".join(found)

    def _at_status_line(self) -> bool:
        return _STATUS_LINE.fullmatch(self._lines[self._at].rstrip()) is not None
