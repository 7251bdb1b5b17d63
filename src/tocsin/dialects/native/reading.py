"""Reading what a request says: small readers, put together into tables, that find every fault and not only the first.

A reader takes a value as JSON or a query gave it, and returns it as the program wants it or raises ``Faulty``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from tocsin.core.clock import TIME_MAX_MS, parse_rfc3339
from tocsin.core.errors import InvalidRequest
from tocsin.core.text import trim
from tocsin.dialects import strict_json

Fault = tuple[str, str]
"""Where, from the value down (``filter.types[2]``; empty for the value itself), and what is wrong there."""

Reader = Callable[[Any], Any]

_SHOWN_NAME_CHARACTERS = 64
_MOMENT_CHARACTERS_MAX = 40


class Faulty(Exception):
    """A value is not what was asked for."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults)
        self.faults = faults


def wrong(reason: str) -> Faulty:
    """Return the fault of a value as a whole; the reason follows the value's name."""
    return Faulty(("", reason))


class Field(msgspec.Struct, frozen=True):
    """A member of an object."""

    read: Reader
    required: bool = False


class Faults:
    """Gathers what is wrong with one object.

    Attributes:
        found: in the order in which it was found.
    """

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, name: str, reason: str) -> None:
        """Note a fault of the member ``name``."""
        self.found.append((name, reason))

    def read(self, name: str, reader: Reader, value: Any) -> Any:
        """Return the member ``name`` as its reader has it, or None after noting its faults."""
        try:
            return reader(value)
        except Faulty as error:
            self.found += [(_joined(name, below), reason) for below, reason in error.faults]
            return None

    def members(self, value: Mapping[str, Any], fields: Mapping[str, Field], *, unknown: str) -> dict[str, Any]:
        """Return the members that were given and are sound.

        Args:
            unknown: what to say of a member that the table does not have.
        """
        self.found += [(name[:_SHOWN_NAME_CHARACTERS], unknown) for name in value if name not in fields]
        sound: dict[str, Any] = {}
        for name, field in fields.items():
            if name in value:
                before = len(self.found)
                read = self.read(name, field.read, value[name])
                if len(self.found) == before:
                    sound[name] = read
            elif field.required:
                self.add(name, "is required")
        return sound

    def check(self) -> None:
        """Return if nothing is wrong.

        Raises:
            InvalidRequest: ``fields`` lists every fault.
        """
        if self.found:
            name, reason = self.found[0]
            more = f" (and {len(self.found) - 1} more)" if len(self.found) > 1 else ""
            raise InvalidRequest(f"{name} {reason}{more}", fields=tuple(self.found))


def _joined(name: str, below: str) -> str:
    return name + below if not below or below.startswith("[") else f"{name}.{below}"


# -- bodies ------------------------------------------------------------------------------------------------


def object_in(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    Raises:
        MalformedBody: it is not JSON.
        InvalidRequest: it is not an object.
    """
    value = strict_json.decode(body)
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return value


def read_body(body: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the members of a body, those that were given.

    Raises:
        MalformedBody: it is not JSON.
        InvalidRequest: ``fields`` lists every fault.
    """
    faults = Faults()
    found = faults.members(object_in(body), fields, unknown=UNKNOWN_FIELD)
    faults.check()
    return found


UNKNOWN_FIELD = "is not a known field"


# -- readers -----------------------------------------------------------------------------------------------


def text(least: int, most: int) -> Reader:
    """Return a reader of a text of so many characters, without the white space around it and control characters."""
    reason = f"must be a text of {least} to {most} characters without control characters"

    def read(value: Any) -> str:
        trimmed = trim(value) if isinstance(value, str) else ""
        if not isinstance(value, str) or not least <= len(trimmed) <= most or not is_plain(trimmed):
            raise wrong(reason)
        return trimmed

    return read


def is_plain(value: str) -> bool:
    """Return whether a text holds no control character (Unicode's category Cc)."""
    return not any(character < " " or "\x7f" <= character <= "\x9f" for character in value)


def number(least: float, most: float) -> Reader:
    """Return a reader of a number within these bounds, both included."""
    reason = f"must be a number from {least:g} to {most:g}"

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise wrong(reason)
        return float(value)

    return read


def plain_text(value: Any) -> str:
    """Read a text as it is."""
    if not isinstance(value, str):
        raise wrong("must be a text")
    return value


def whole(least: int, most: int) -> Reader:
    """Return a reader of a whole number within these bounds, both included."""
    reason = f"must be a whole number from {least} to {most}"

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise wrong(reason)
        return value

    return read


def digits(least: int, most: int) -> Reader:
    """Return a reader of a whole number in a query: ASCII digits alone."""
    read_number = whole(least, most)

    def read(value: str) -> Any:
        is_number = value.isascii() and value.isdigit() and len(value) <= len(str(most))
        return read_number(int(value) if is_number else None)

    return read


def flag(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise wrong("must be true or false")
    return value


def flag_word(value: str) -> bool:
    """Read true or false in a query."""
    return flag({"true": True, "false": False}.get(value))


def choice(words: type[StrEnum]) -> Reader:
    """Return a reader of one of these words."""
    reason = f"must be one of {', '.join(words)}"

    def read(value: Any) -> StrEnum:
        if not isinstance(value, str) or value not in list(words):
            raise wrong(reason)
        return words(value)

    return read


def word(words: Collection[str]) -> Reader:
    """Return a reader of one of these texts."""
    reason = f"must be one of {', '.join(words)}"

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise wrong(reason)
        return value

    return read


def nullable(reader: Reader) -> Reader:
    """Return a reader that also takes null."""

    def read(value: Any) -> Any:
        return None if value is None else reader(value)

    return read


def listed(reader: Reader, *, most: int) -> Reader:
    """Return a reader of a list of at most so many elements, each read by ``reader``."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) > most:
            raise wrong(f"must be a list of at most {most} elements")
        faults = Faults()
        found = [faults.read(f"[{at}]", reader, each) for at, each in enumerate(value)]
        if faults.found:
            raise Faulty(*faults.found)
        return tuple(found)

    return read


def members(fields: Mapping[str, Field]) -> Reader:
    """Return a reader of an object with these members; it returns those that were given."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong("must be an object")
        faults = Faults()
        found = faults.members(value, fields, unknown=UNKNOWN_FIELD)
        if faults.found:
            raise Faulty(*faults.found)
        return found

    return read


def moment(value: Any) -> int:
    """Read a time, RFC 3339 or milliseconds since 1970; return milliseconds."""
    if isinstance(value, str) and len(value) <= _MOMENT_CHARACTERS_MAX:
        # Digits first: ISO 8601 would read eight of them as a date.
        value = int(value) if value.isascii() and value.isdigit() else parse_rfc3339(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -TIME_MAX_MS <= value <= TIME_MAX_MS:
        raise wrong("must be a time as RFC 3339 has it, or milliseconds since 1970")
    return value
