"""Values on the command line: what each spelling means."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.cli.client.values import moment_ms, pairs, scalar
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure

NOW_MS = 1_772_793_000_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-1.5", -1.5), ("1e3", 1000.0), ("true", True), ("false", False), ("null", None),
        ('"3"', "3"), ("[1, 2]", [1, 2]), ('{"a": 1}', {"a": 1}),
        ("", ""), ("api", "api"), ("007", "007"), ("1_0", "1_0"), ("+1", "+1"), ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("True", "True"), ("[broken", "[broken"), ("1.", "1."), ("\u0663", "\u0663"), ("a=b", "a=b"),
    ],
)  # fmt: skip
def test_a_value_is_the_json_it_is_or_a_text(text: str, value: Any) -> None:
    told = scalar(text)
    assert (told, type(told)) == (value, type(value))
    assert pairs([f"name={text}"], "--field") == {"name": value}


@pytest.mark.parametrize("text", ["", "name", "=value"])
def test_a_pair_without_a_name_or_a_value_is_refused(text: str) -> None:
    with pytest.raises(Failure) as raised:
        pairs([text], "--field")
    assert raised.value.status == USAGE
    assert raised.value.message.startswith("--field takes name=value")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", NOW_MS - 250), ("90s", NOW_MS - 90_000), ("5m", NOW_MS - 300_000), ("1h", NOW_MS - 3_600_000),
        ("7d", NOW_MS - 604_800_000), ("2w", NOW_MS - 1_209_600_000),
        ("1772793000", NOW_MS), ("1772793000000", NOW_MS), ("0", 0),
        ("2026-03-06T10:30:00Z", NOW_MS), ("2026-03-06T11:30:00+01:00", NOW_MS), ("2026-03-06 10:30", NOW_MS),
        ("2026-03-06", NOW_MS - 37_800_000),
    ],
)  # fmt: skip
def test_a_moment_has_several_spellings(text: str, ms: int) -> None:
    assert moment_ms(text, NOW_MS) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "1 h", "-5m", "5 m", "\u0663h", "2026-13-01", "1h30m", "9" * 20])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Failure) as raised:
        moment_ms(text, NOW_MS)
    assert raised.value.status == USAGE
