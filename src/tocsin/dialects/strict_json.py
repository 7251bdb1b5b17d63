"""One verdict on JSON for every dialect."""

from __future__ import annotations

from math import isinf
from typing import Any

import msgspec

from tocsin.core.errors import MalformedBody

DEPTH_MAX = 64
"""Levels of nesting; the outermost value is level 1."""


def _finite(text: str) -> float:
    # msgspec's own way takes 14 us for a number at the edge of a double: a second and more for a body full of them.
    value = float(text)
    if isinf(value):
        raise ValueError("a number is out of range")
    return value


_decode = msgspec.json.Decoder(float_hook=_finite).decode
_encode = msgspec.json.Encoder().encode


def decode(body: bytes) -> Any:
    """Return the value of one JSON document.

    Of duplicate keys the last wins. Integers are kept to the last digit.

    Raises:
        MalformedBody: not one JSON document. NaN, Infinity, numbers beyond a double, invalid UTF-8, lone surrogates,
            a byte-order mark, nesting deeper than 64 and integers of more than 4300 digits (CPython's bound against
            parsing in quadratic time) are not JSON here.
    """
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(str(error) or "nested too deeply") from None
    if isinstance(value, dict | list) and body.count(b"[") + body.count(b"{") > DEPTH_MAX:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise MalformedBody("nested too deeply")


def encode(value: Any) -> bytes:
    """Return ``value`` as compact JSON."""
    return _encode(value)
