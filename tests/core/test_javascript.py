"""Numbers and keys as JavaScript has them; Node.js itself is asked where it is installed."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from random import Random

import pytest

from tocsin.core.javascript import listed, parsed, printed

_PRINT = """
const lines = require("fs").readFileSync(0, "utf8").split("\\n");
console.log(JSON.stringify(lines.map((line) => String(JSON.parse(line)))));
"""
_LIST = """
const lines = require("fs").readFileSync(0, "utf8").split("\\n");
console.log(JSON.stringify(lines.map((line) => Object.keys(JSON.parse(line)))));
"""


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("true", "true"),
        ("false", "false"),
        ('"as it is"', "as it is"),
        ("99.990", "99.99"),
        ("3.0", "3"),
        ("3", "3"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("0e5", "0"),
        ("0.1", "0.1"),
        ("-1.5", "-1.5"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("-1e21", "-1e+21"),
        ("1.5e300", "1.5e+300"),
        ("0.000001", "0.000001"),
        ("1e-7", "1e-7"),
        ("1.25e-7", "1.25e-7"),
        ("5e-324", "5e-324"),
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901", "123456789012345680000"),
        ("1234567890123456789012", "1.2345678901234568e+21"),
        ("1" + "0" * 400, "Infinity"),
        ("-1" + "0" * 400, "-Infinity"),
        ("1e-400", "0"),
        ("1e400", "Infinity"),
        ("-1e400", "-Infinity"),
    ],
)
def test_values_are_printed_as_javascript_prints_them(written: str, shown: str) -> None:
    assert printed(parsed(written.encode())) == shown


def test_keys_that_are_indices_come_first_and_by_number() -> None:
    keys = ["b", "10", "a", "9", "01", "-1", "4294967294", "4294967295", "", "0", "1.0", "\u0661"]
    assert listed(dict.fromkeys(keys)) == [
        "0", "9", "10", "4294967294", "b", "a", "01", "-1", "4294967295", "", "1.0", "\u0661",
    ]  # fmt: skip


def test_what_is_no_json_is_a_value_error() -> None:
    for data in (b"", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011 - every kind of it is meant
            parsed(data)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_node_prints_the_same() -> None:
    random = Random(20_260_306)
    doubles = [struct.unpack("<d", random.randbytes(8))[0] for _ in range(4_000)]
    near = [float(f"{random.randrange(10**17)}e{random.randrange(-30, 12)}") for _ in range(4_000)]
    written = [repr(double) for double in doubles + near if double - double == 0]
    written += [str(random.randrange(-(10**size), 10**size)) for size in range(1, 60) for _ in range(20)]
    assert [printed(parsed(text.encode())) for text in written] == _asked(_PRINT, written)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_node_lists_keys_in_the_same_order() -> None:
    random = Random(20_260_306)
    pool = [
        "a",
        "b",
        "-1",
        "01",
        "1.0",
        " 1",
        "1e3",
        "",
        *map(str, range(20)),
        str(2**31),
        str(2**32 - 2),
        str(2**32),
    ]
    written = [json.dumps(dict.fromkeys(random.sample(pool, 12))) for _ in range(500)]
    # What is below 2^32 - 1 is an index by the standard, and any whole number to V8 unless it is so large.
    assert [listed(parsed(text.encode())) for text in written] == _asked(_LIST, written)


def _asked(program: str, lines: list[str]) -> list[object]:
    done = subprocess.run(
        ["node", "-e", program], input="\n".join(lines), capture_output=True, text=True, timeout=60, check=True
    )
    answer: list[object] = json.loads(done.stdout)
    return answer
