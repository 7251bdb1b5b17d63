"""Failures of a command: an exit status, one sentence, and the next step."""

from __future__ import annotations

import re

from tocsin.cli.exits import BUSY, DENIED, FAILED, NOT_FOUND, REFUSED

UNSHOWN = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""What no terminal is to be given, for a regular expression's class: control characters beside those of ASCII, line
ends, what turns the direction of writing so that a text is read as another one, and halves of characters."""

_CONTROLS = re.compile(rf"[\x00-\x1f{UNSHOWN}]")


class Failure(Exception):
    """A command cannot go on.

    Attributes:
        status: one of ``exits``.
        message: one sentence without a full stop at its end, where there is one with the next step behind a
            semicolon; holds no secret.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class PipeClosed(Exception):
    """Whoever read the output has gone."""


def visible(text: str) -> str:
    """Return ``text`` on one line and unable to move a terminal's cursor: what does is shown as ``\\x1b``."""
    return _CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def status_for(http_status: int) -> int:
    """Return the exit status that tells an HTTP status of 300 or more."""
    known = {401: DENIED, 403: DENIED, 404: NOT_FOUND, 429: BUSY, 503: BUSY}
    return known.get(http_status, REFUSED if 400 <= http_status < 500 else FAILED)
