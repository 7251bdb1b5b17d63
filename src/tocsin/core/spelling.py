"""How a text may be written inside a JSON document: what a search for it has to look for."""

from __future__ import annotations

from itertools import product

_FOLD = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_ALWAYS = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_HTML = frozenset("<>&\u2028\u2029")


def fold(text: str) -> str:
    """Return the text with ASCII capitals as small letters; other letters stay, as every engine's folding has it."""
    return text.translate(_FOLD)


def spellings(text: str) -> tuple[str, ...]:
    """Return what a JSON document may hold for this text, each folded; at most nine, mostly one.

    The text as it stands comes first, which also finds numbers, and names with their quotes. The others are what
    usual encoders write for it within a string: with other alphabets escaped or not, slashes too (PHP), and what HTML
    takes for markup (Go).
    """
    found = dict.fromkeys((fold(text),))
    for ascii_only, slashes, html in product((False, True), repeat=3):
        encoded = (_encoded(each, ascii_only=ascii_only, slashes=slashes, html=html) for each in text)
        found[fold("".join(encoded))] = None
    return tuple(found)


class Sought:
    """A text, made ready to be looked for in many documents."""

    __slots__ = ("_spellings", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._spellings = tuple(each.encode() for each in spellings(text))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sought) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def stands_in(self, folded: bytes) -> bool:
        """Return whether a document holds it, which ``fold_document`` has folded."""
        return any(each in folded for each in self._spellings)


def fold_document(data: bytes) -> bytes:
    """Return a document in UTF-8, folded as ``fold`` does it: bytes know no other capitals than ASCII's."""
    return data.lower()


def _encoded(character: str, *, ascii_only: bool, slashes: bool, html: bool) -> str:
    if character in _ALWAYS:
        return _ALWAYS[character]
    if character == "/":
        return "\\/" if slashes else "/"
    if character < " " or (html and character in _HTML) or (ascii_only and not character.isascii()):
        units = character.encode("utf-16-be")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    return character
