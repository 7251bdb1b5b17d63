"""Numbers at the edges of a double: each is read as its nearest double, or refused where that is none."""

from __future__ import annotations

import json
import struct
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tocsin.core.errors import MalformedBody
from tocsin.dialects.strict_json import decode, encode

LARGEST = 2**1024 - 2**971
"""The largest double. From half a step above it on, the nearest is infinity."""
BEYOND = 2**1024 - 2**970
SMALLEST = Fraction(1, 2**1074)
"""The smallest double; half of it, and what is less, is nearest to zero."""


def digits_of(value: Fraction) -> str:
    """Return a value, whose denominator is a power of two, to the last of its decimal digits."""
    shift = value.denominator.bit_length() - 1
    assert value.denominator == 1 << shift
    return f"{value.numerator * 5**shift}e-{shift}"


def bits(value: float) -> bytes:
    return struct.pack(">d", value)


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    ("text", "hexadecimal"),
    [
        ("1.7976931348623157e308", "0x1.fffffffffffffp+1023"),
        ("1.7976931348623158e+308", "0x1.fffffffffffffp+1023"),
        (f"{LARGEST}.0", "0x1.fffffffffffffp+1023"),
        (f"{BEYOND - 1}.99999", "0x1.fffffffffffffp+1023"),
        ("0.00017976931348623157e312", "0x1.fffffffffffffp+1023"),
        ("2.2250738585072014e-308", "0x1.0p-1022"),
        ("2.2250738585072011e-308", "0x0.fffffffffffffp-1022"),
        ("2.2250738585072012e-308", "0x1.0p-1022"),
        ("5e-324", "0x0.0000000000001p-1022"),
        (digits_of(SMALLEST), "0x0.0000000000001p-1022"),
        (digits_of(SMALLEST / 2 + Fraction(1, 2**1200)), "0x0.0000000000001p-1022"),
        (digits_of(SMALLEST / 2), "0x0.0p+0"),
        ("2e-324", "0x0.0p+0"),
        ("1e-400", "0x0.0p+0"),
        ("0e999999", "0x0.0p+0"),
        ("0.0", "0x0.0p+0"),
        ("9007199254740993.0", "0x1.0p+53"),
        ("9007199254740993.00000000000000000000000000000000001", "0x1.0000000000001p+53"),
        ("0.1", "0x1.999999999999ap-4"),
        ("1.00000000000000011102230246251565404", "0x1.0p+0"),
        ("1.00000000000000011102230246251565405", "0x1.0000000000001p+0"),
    ],
)
def test_a_number_is_read_as_its_nearest_double(sign: str, text: str, hexadecimal: str) -> None:
    assert bits(decode(f"{sign}{text}".encode())) == bits(float.fromhex(f"{sign}{hexadecimal}"))
    (within,) = decode(f'[{{"a": {sign}{text}}}]'.encode())
    assert bits(within["a"]) == bits(float.fromhex(f"{sign}{hexadecimal}"))


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    "text",
    [
        f"{BEYOND}.0",
        f"{BEYOND}e0",
        "1.7976931348623159e308",
        "1.8e308",
        "1e309",
        "1e999999",
        "0.1e310",
        f"1{'0' * 309}.5",
    ],
)
def test_a_number_whose_nearest_double_is_infinite_is_refused_wherever_it_stands(sign: str, text: str) -> None:
    for document in (f"{sign}{text}", f"[1, {sign}{text}]", f'{{"a": {{"b": {sign}{text}}}}}'):
        with pytest.raises(MalformedBody):
            decode(document.encode())


@given(st.integers(0, 2**63 - 1), st.integers(-400, 400))
@example(17976931348623157, 292)
@example(17976931348623159, 292)
@example(49406564584124654, -340)
@example(24703282292062327, -340)
def test_what_is_read_is_what_python_reads(digits: int, exponent: int) -> None:
    text = f"{digits}e{exponent}"
    expected = json.loads(text)
    if expected == float("inf"):
        with pytest.raises(MalformedBody):
            decode(text.encode())
    else:
        assert bits(decode(text.encode())) == bits(expected)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(float(LARGEST))
@example(float(SMALLEST))
@example(-0.0)
def test_every_double_comes_back_as_it_was_written(value: float) -> None:
    assert bits(decode(encode(value))) == bits(value)
    assert bits(decode(repr(value).encode())) == bits(value)


@pytest.mark.parametrize("value", [2**53 + 1, 2**64, -(2**64), LARGEST, BEYOND, 10**400, -(10**400)])
def test_a_whole_number_is_no_double_however_large(value: int) -> None:
    found = decode(f"[{value}]".encode())
    assert found == [value]
    assert type(found[0]) is int
