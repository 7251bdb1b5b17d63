"""Cutting texts at the limits of remotes, between two characters as people see them.

Lengths are UTF-16 code units: what Telegram's clients count, and never less than what anything else counts. Discord
counts code points, as far as is known; a text that fits by units fits by these too.
"""

from __future__ import annotations

from unicodedata import category, combining

ELLIPSIS = "\u2026"
_GRAPHEME_CODE_POINTS_MAX = 64
"""How far back the beginning of a character is looked for; the longest emoji has ten code points."""

_JOINER = "\u200d"
_VIRAMA_CLASS = 9
_EXTENDING = frozenset("\u200c\u200d\u0e33\u0eb3\uff9e\uff9f")
"""Extend or SpacingMark, and no marks by category."""
_PREPENDED = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")


def units(text: str) -> int:
    """Return the length of ``text`` in UTF-16 code units."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def head(text: str, units_max: int) -> str:
    """Return as much of the beginning of ``text`` as fits, never a part of a character that people see as one.

    Args:
        text: cleaned, so that it has no lone surrogates and no ``\\r``.
    """
    if units_max <= 0:
        return ""
    piece = text[:units_max]
    if not piece.isascii():
        piece = piece.encode("utf-16-le", "surrogatepass")[: 2 * units_max].decode("utf-16-le", "ignore")
    if len(piece) == len(text):
        return text
    return text[: _boundary(text, len(piece))]


def cut(text: str, units_max: int) -> str:
    """Return ``text`` itself where it fits, else its beginning and an ellipsis."""
    if 2 * len(text) <= units_max or units(text) <= units_max:
        return text
    if units_max <= 0:
        return ""
    return head(text, units_max - len(ELLIPSIS)).rstrip() + ELLIPSIS


def _boundary(text: str, at: int) -> int:
    """Return the last place up to ``at`` where one character ends and the next begins."""
    for place in range(at, max(at - _GRAPHEME_CODE_POINTS_MAX, -1), -1):
        if place == 0 or not _is_joined(text, place):
            return place
    # No writing has characters of this length: it may be cut anywhere.
    return at


def _is_joined(text: str, place: int) -> bool:
    """Return whether the code points before and behind ``place`` belong to one character.

    Where the rule asks for properties that Python does not know, the answer is yes: a cut a little earlier is right
    as well. Source: Unicode Standard Annex 29, section 3.1.1.
    """
    before, after = text[place - 1], text[place]
    if before.isascii() and after.isascii():
        return False
    if _extends(after) or before == _JOINER or before in _PREPENDED:
        return True
    if _is_flag_letter(after) and _is_flag_letter(before):
        return _flag_letters_before(text, place) % 2 == 1
    if "\u1100" <= before <= "\u115f" or "\ua960" <= before <= "\ua97c":
        return "\u1100" <= after <= "\u115f" or "\ua960" <= after <= "\ua97c" or "\uac00" <= after <= "\ud7a3"
    return combining(before) == _VIRAMA_CLASS and category(after) == "Lo"


def _extends(character: str) -> bool:
    return (
        category(character)[0] == "M"
        or character in _EXTENDING
        or "\u1160" <= character <= "\u11ff"
        or "\ud7b0" <= character <= "\ud7fb"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
    )


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_letters_before(text: str, place: int) -> int:
    start = place
    while start > 0 and _is_flag_letter(text[start - 1]):
        start -= 1
    return place - start
