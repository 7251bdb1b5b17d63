r"""Comparing an answer with what was recorded.

Placeholders in expected strings: ``<any>`` (any value at all), ``<string>``, ``<int>``, ``<number>``, ``<hex32>``,
``<hex64>``, ``<uuid>``, ``<time>`` (RFC 3339), ``<evt>`` (``evt_`` and 32 hex digits), ``<re:REGEX>``. All but the
last capture what they stood for as ``<hex32:name>``. A placeholder that is the whole string stands for a value of its
type, one inside a longer string for text; ``<re:...>`` may hold ``>`` only where it is the whole string.
The member ``"<*>": "<any>"`` of an object allows members that are not listed.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

_KINDS = {
    "any": r".*?",
    "string": r".*?",
    "int": r"-?[0-9]+",
    "number": r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?",
    "hex32": r"[0-9a-f]{32}",
    "hex64": r"[0-9a-f]{64}",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "time": r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})",
    "evt": r"evt_[0-9a-f]{32}",
}
_PLACEHOLDER = re.compile(rf"<({'|'.join(_KINDS)})(?::([A-Za-z_]\w*))?>")
_ANY_PLACEHOLDER = re.compile(rf"{_PLACEHOLDER.pattern}|<re:(.*?)>", re.DOTALL)
_WHOLE_REGEX = re.compile(r"<re:(.*)>", re.DOTALL)
_OTHERS = "<*>"
_SHOWN_MAX = 300


class Comparison:
    """Gathers the differences between an answer and what was expected.

    Attributes:
        differences: one line each; empty when all is as expected.
        captured: what the placeholders with a name stood for, as text.
    """

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.captured: dict[str, str] = {}

    def body(self, expected: str, actual: bytes) -> None:
        """Compare a body: nothing expected is not checked, JSON is compared as a value, all else as text."""
        if not expected:
            return
        if expected == "<empty>":
            if actual:
                self._differs("body", "<empty>", actual.decode("utf-8", "backslashreplace"))
            return
        try:
            wanted = json.loads(expected)
        except ValueError:
            self.text("body", expected, actual.decode("utf-8", "backslashreplace").strip("\r\n"))
            return
        try:
            value = json.loads(actual.decode(), object_pairs_hook=_members, parse_constant=_refuse)
        except ValueError as error:
            self.differences.append(f"body: expected JSON, got something else ({error})")
            return
        self.value("$", wanted, value)

    def value(self, at: str, expected: Any, actual: Any) -> None:
        """Compare two JSON values; ``at`` is the path that differences name."""
        if isinstance(expected, str):
            self._string(at, expected, actual)
        elif isinstance(expected, dict) and isinstance(actual, dict):
            self._object(at, expected, actual)
        elif isinstance(expected, list) and isinstance(actual, list):
            for index, (wanted, got) in enumerate(zip(expected, actual, strict=False)):
                self.value(f"{at}[{index}]", wanted, got)
            if len(expected) != len(actual):
                self.differences.append(f"{at}: expected {len(expected)} elements, got {len(actual)}")
        elif isinstance(expected, bool) is not isinstance(actual, bool) or expected != actual:
            self._differs(at, expected, actual)

    def text(self, at: str, expected: str, actual: str) -> None:
        """Compare two texts."""
        if _ANY_PLACEHOLDER.search(expected) is None:
            if expected != actual:
                self._differs(at, expected, actual)
            return
        names: list[str | None] = []

        def group(pattern: str, name: str | None) -> str:
            names.append(name)
            return f"(?P<placeholder{len(names)}>{pattern})"

        whole = _WHOLE_REGEX.fullmatch(expected)
        if whole is not None:
            pattern = group(whole[1], None)
        else:
            pattern = ""
            end = 0
            for found in _ANY_PLACEHOLDER.finditer(expected):
                pattern += re.escape(expected[end : found.start()])
                pattern += group(found[3] if found[1] is None else _KINDS[found[1]], found[2])
                end = found.end()
            pattern += re.escape(expected[end:])
        matched = re.fullmatch(pattern, actual, re.DOTALL)
        if matched is None:
            self._differs(at, expected, actual)
            return
        for number, name in enumerate(names, start=1):
            if name is not None:
                self.captured[name] = matched[f"placeholder{number}"]

    def _string(self, at: str, expected: str, actual: Any) -> None:
        whole = _PLACEHOLDER.fullmatch(expected)
        kind = whole[1] if whole is not None else "string"
        if not _is_of_kind(kind, actual):
            self._differs(at, expected, actual)
        elif kind in ("any", "int", "number"):
            if whole is not None and whole[2] is not None:
                self.captured[whole[2]] = actual if isinstance(actual, str) else json.dumps(actual)
        else:
            self.text(at, expected, actual)

    def _object(self, at: str, expected: dict[str, Any], actual: dict[str, Any]) -> None:
        for name, wanted in expected.items():
            if name == _OTHERS:
                continue
            if name in actual:
                self.value(f"{at}.{name}", wanted, actual[name])
            else:
                self.differences.append(f"{at}: {name!r} is missing")
        if _OTHERS not in expected:
            for name in actual.keys() - expected.keys():
                self.differences.append(f"{at}: {name!r} is not expected; its value is {_shown(actual[name])}")

    def _differs(self, at: str, expected: Any, actual: Any) -> None:
        self.differences.append(f"{at}: expected {_shown(expected)}, got {_shown(actual)}")


def _is_of_kind(kind: str, value: Any) -> bool:
    if kind == "any":
        return True
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}... ({len(text)} characters)"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has two members of one name")
    return members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
