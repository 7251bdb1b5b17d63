"""Globs: ``*``, ``?`` and ``[...]`` as the shell has them, case-sensitive, matched without ever going back.

Patterns are a tenant's, and are asked where every event waits for its turn. Each part between two ``*`` is looked for
once, behind the part before it; the first place where it stands is as good as any later one. So a pattern of p
characters takes at most p times the text's length, however many ``*`` it has, and mostly a search for a plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache
from typing import Any

_WILDCARDS = "*?["

Matches = Callable[[str], Any]
"""Truthy for a text that a pattern matches whole."""


def is_glob(pattern: str) -> bool:
    """Return whether a pattern can match more than itself."""
    return any(character in pattern for character in _WILDCARDS)


def glob_fault(pattern: str) -> str | None:
    """Return what is wrong with a pattern that somebody gives, or None.

    A bracket that is never closed stands for itself. Who writes one has most likely forgotten the other, and would
    wait for what never matches; ``[[]`` means the character.
    """
    at = pattern.find("[")
    while at >= 0:
        end = _bracket_end(pattern, at)
        if end == at + 1:
            return "has a [ without its ]"
        at = pattern.find("[", end)
    return None


def prefix_of(pattern: str) -> str | None:
    """Return what a pattern of the form ``text*`` has before its star, or None for one of another form."""
    return pattern[:-1] if pattern.endswith("*") and not is_glob(pattern[:-1]) else None


@lru_cache(maxsize=4096)
def glob(pattern: str) -> Matches:
    """Return a function that is truthy for what the pattern matches whole."""
    parts = _parts(pattern)
    if len(parts) == 1:
        return re.compile(translate(pattern)).match
    first, *middle, last = (_part(part) for part in parts)
    between = tuple(part for part in middle if part.length)

    def match(text: str) -> bool:
        end = len(text) - last.length
        at = first.length
        if at > end or not first.stands_at(text, 0) or not last.stands_at(text, end):
            return False
        for part in between:
            at = part.behind(text, at)
            if not 0 <= at <= end:
                return False
        return True

    return match


class _Plain:
    """A part without wildcards."""

    __slots__ = ("_text", "length")

    def __init__(self, text: str) -> None:
        self._text = text
        self.length = len(text)

    def stands_at(self, text: str, at: int) -> bool:
        return text.startswith(self._text, at)

    def behind(self, text: str, at: int) -> int:
        """Return where the part ends that is the first at or behind a place, or -1."""
        found = text.find(self._text, at)
        return found if found < 0 else found + self.length


class _Wild:
    """A part with ``?`` or ``[...]``, each of which is one character, so that its length is known."""

    __slots__ = ("_match", "_search", "length")

    def __init__(self, part: str, length: int) -> None:
        # The star lets anything follow: what is translated ends at the end of the text.
        compiled = re.compile(translate(f"{part}*"))
        self._match, self._search = compiled.match, compiled.search
        self.length = length

    def stands_at(self, text: str, at: int) -> bool:
        return self._match(text, at) is not None

    def behind(self, text: str, at: int) -> int:
        """Return where the part ends that is the first at or behind a place, or -1."""
        found = self._search(text, at)
        return -1 if found is None else found.start() + self.length


def _part(pieces: list[str]) -> _Plain | _Wild:
    text = "".join(pieces)
    return _Wild(text, len(pieces)) if any(each == "?" or len(each) > 1 for each in pieces) else _Plain(text)


def _parts(pattern: str) -> list[list[str]]:
    """Return what stands between the stars: characters, ``?``, and ``[...]`` in one piece."""
    parts: list[list[str]] = [[]]
    at = 0
    while at < len(pattern):
        piece = pattern[at : _bracket_end(pattern, at)] if pattern[at] == "[" else pattern[at]
        at += len(piece)
        if piece == "*":
            parts.append([])
        else:
            parts[-1].append(piece)
    return parts


def _bracket_end(pattern: str, at: int) -> int:
    """Return where the brackets end that begin here; one that is never closed is a character by itself.

    Source: ``fnmatch.translate``, where a bracket directly behind the first, or behind its ``!``, closes nothing.
    """
    inside = at + 1 + pattern.startswith("!", at + 1)
    closing = pattern.find("]", inside + pattern.startswith("]", inside))
    return at + 1 if closing < 0 else closing + 1
