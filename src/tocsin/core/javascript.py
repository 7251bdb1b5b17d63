"""Values as JavaScript prints them, and in the order in which it lists them.

PingPilot runs on it: its clients know 99.990 as 99.99 and 3.0 as 3, and are told faults in that order.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import msgspec

_INTEGER_EXACT_MAX = 2**53
"""Up to here every integer is a double, and its own digits are the shortest."""
_POINT_MAX = 21
"""A number with more digits before its point is written with an exponent."""
_ZEROS_MAX = 6
"""So is one with as many zeros behind its point, or more."""
_INDEX_MAX = 2**32 - 2
_INDEX_CHARACTERS_MAX = 10

_decode = msgspec.json.Decoder(float_hook=float).decode


def parsed(data: bytes) -> Any:
    """Return the value of a JSON document, its fractions as the nearest doubles.

    Raises:
        ValueError: it is not JSON, or nested too deeply to be read.
    """
    try:
        return _decode(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def printed(value: str | float | bool) -> str:
    """Return what ``String(value)`` returns.

    An integer of any size is taken for the double that ``JSON.parse`` makes of it.

    Source: ECMAScript, section "Number::toString".
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and -_INTEGER_EXACT_MAX <= value <= _INTEGER_EXACT_MAX:
        return str(value)
    try:
        double = float(value)
    except OverflowError:
        return "Infinity" if value > 0 else "-Infinity"
    if not isfinite(double):
        return "NaN" if double != double else "Infinity" if double > 0 else "-Infinity"
    if double == 0:
        return "0"
    return ("-" if double < 0 else "") + _positive(abs(double))


def listed(keys: dict[str, Any]) -> list[str]:
    """Return an object's keys as JavaScript lists them: array indices by number, then the others as they were added.

    Source: ECMAScript, section "OrdinaryOwnPropertyKeys".
    """
    indices = [key for key in keys if _is_index(key)]
    if not indices:
        return list(keys)
    return sorted(indices, key=int) + [key for key in keys if not _is_index(key)]


def _positive(double: float) -> str:
    mantissa, _, exponent = repr(double).partition("e")
    whole, _, fraction = mantissa.partition(".")
    written = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(written))
    digits = written.rstrip("0")
    if len(digits) <= point <= _POINT_MAX:
        return digits + "0" * (point - len(digits))
    if 0 < point <= _POINT_MAX:
        return f"{digits[:point]}.{digits[point:]}"
    if -_ZEROS_MAX < point <= 0:
        return f"0.{'0' * -point}{digits}"
    behind = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{behind}e{point - 1:+d}"


def _is_index(key: str) -> bool:
    return (
        key.isascii()
        and key.isdigit()
        and len(key) <= _INDEX_CHARACTERS_MAX
        and (key[0] != "0" or key == "0")
        and int(key) <= _INDEX_MAX
    )
