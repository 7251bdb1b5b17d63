"""Texts without what does harm where they are shown: controls, reversed writing, towers of marks.

What is left reads as it was written. Nothing that a person can see is taken away.
"""

from __future__ import annotations

import re

STAND_IN = "\u2014"
"""What stands where there is nothing to be seen: a dash."""
BREAK = "\u200b"
"""Put into what a remote would read as one thing, such as a mention; it has no width."""

_MARKS_MAX = 8
"""Combining marks on one character; no orthography needs so many, and more run over the neighbouring lines."""
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
    f"|[{_MARKS}]{{{_MARKS_MAX + 1},}}"
)
_LINE_ENDS = frozenset("\x0b\x0c\r\x85\u2028\u2029")
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNREADABLE = "\ufffd"
_CONTROL_PICTURES = 0x2400
_DELETE = "\x7f"
_DELETE_PICTURE = "\u2421"

_INVISIBLE = re.compile(
    "[\\s\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]*"
)


def cleaned(text: str) -> str:
    """Return ``text`` fit to be shown, its lines ended by ``\\n``.

    Control characters become their pictures (NUL is U+2400), what is no character at all U+FFFD. Characters that
    reorder what follows them (U+202A to U+202E, U+2066 to U+2069) go, and so do combining marks beyond the eighth on
    one character. Tabs, joiners and other invisible characters stay: emoji and several scripts need them.

    Telegram does the like: ``clean_input_string`` in tdlib's ``td/telegram/misc.cpp``.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    return _HARMFUL.sub(_harmless, text)


def one_line(text: str) -> str:
    """Return ``text`` cleaned, its lines joined by spaces: for titles and names, which have no second line."""
    text = cleaned(text)
    if "\n" not in text:
        return text
    return " ".join(line for line in (line.strip() for line in text.split("\n")) if line)


def is_blank(text: str) -> bool:
    """Return whether nothing of ``text`` can be seen."""
    return _INVISIBLE.fullmatch(text) is not None


def _harmless(found: re.Match[str]) -> str:
    text = found.group()
    if len(text) > 1:
        return text[:_MARKS_MAX]
    if text in _LINE_ENDS:
        return "\n"
    if text in _REORDERING:
        return ""
    if text < " ":
        return chr(_CONTROL_PICTURES + ord(text))
    return _DELETE_PICTURE if text == _DELETE else _UNREADABLE
