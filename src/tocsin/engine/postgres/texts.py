"""Texts as PostgreSQL can hold them: its ``text`` has no NUL, which an application's names and outputs may have.

NUL is written as two U+0001, and U+0001 as U+0001 U+0002. So any client reads what is stored as it is, but for these
two; it sorts as the texts do, and one that begins with another does so when stored.
"""

from __future__ import annotations

import re
from typing import Any

_SIGN = "\x01"
_HELD = {"\0": _SIGN * 2, _SIGN: f"{_SIGN}\x02"}
_TOLD = {written: text for text, written in _HELD.items()}
_WRITTEN = re.compile("\x01[\x01\x02]")
_RARE = re.compile("[\0\x01]")
_MANY = (list, tuple)
_TEXTLESS = (bytes, int, type(None))
"""What most bindings are: it is looked for first."""


def held(text: str) -> str:
    """Return a text as it is stored."""
    return _RARE.sub(lambda found: _HELD[found[0]], text) if "\0" in text or _SIGN in text else text


def told(text: str) -> str:
    """Return the text that is stored so."""
    return _WRITTEN.sub(lambda found: _TOLD[found[0]], text) if _SIGN in text else text


def held_or_none(text: str | None) -> str | None:
    """Return a text as it is stored, or None."""
    return None if text is None else held(text)


def told_or_none(text: str | None) -> str | None:
    """Return the text that is stored so, or None."""
    return None if text is None else told(text)


def held_value(value: Any) -> Any:
    """Return a binding whose texts are as they are stored; a list's too."""
    if isinstance(value, str):
        return held(value)
    if not isinstance(value, _MANY):
        return value
    return [each if isinstance(each, _TEXTLESS) else held_value(each) for each in value]


def told_row(row: Any) -> tuple[Any, ...]:
    """Return a row's values, its texts as they were before they were stored."""
    return tuple([told(each) if isinstance(each, str) and _SIGN in each else each for each in row])
