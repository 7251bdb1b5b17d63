"""Readers: each takes what it says and refuses the rest, and a table finds every fault at once."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.core.errors import InvalidRequest, MalformedBody
from tocsin.core.event import Severity
from tocsin.dialects.native.reading import (
    Faulty,
    Field,
    Reader,
    choice,
    digits,
    flag,
    flag_word,
    listed,
    members,
    moment,
    nullable,
    number,
    read_body,
    text,
    whole,
    word,
)

TABLE = {
    "name": Field(text(1, 3), required=True),
    "count": Field(whole(1, 5)),
    "inner": Field(members({"tags": Field(listed(text(1, 2), most=2)), "on": Field(flag)})),
}


@pytest.mark.parametrize(
    ("reader", "value", "read"),
    [
        (text(1, 3), " abc\u00a0", "abc"),
        (text(0, 3), "", ""),
        (number(0.5, 2), 2, 2.0),
        (number(0.5, 2), 0.5, 0.5),
        (whole(1, 3), 3, 3),
        (digits(1, 100), "007", 7),
        (flag, False, False),
        (flag_word, "true", True),
        (choice(Severity), "high", Severity.HIGH),
        (word(["a", "b"]), "b", "b"),
        (nullable(flag), None, None),
        (listed(flag, most=1), [True], (True,)),
        (moment, 1_700_000_000_000, 1_700_000_000_000),
        (moment, "1700000000000", 1_700_000_000_000),
        (moment, "2026-05-26T12:00:00Z", 1_779_796_800_000),
        (moment, "2026-05-26T14:00:00.250+02:00", 1_779_796_800_250),
    ],
)
def test_a_sound_value_is_read(reader: Reader, value: Any, read: Any) -> None:
    assert reader(value) == read


@pytest.mark.parametrize(
    ("reader", "value"),
    [
        (text(1, 3), "abcd"),
        (text(1, 3), "  "),
        (text(1, 3), "a\x07b"),
        (text(1, 3), "a\x85b"),
        (text(1, 3), 3),
        (text(1, 3), None),
        (number(0.5, 2), 2.01),
        (number(0.5, 2), 0.49),
        (number(0, 2), True),
        (number(0, 2), "1"),
        (number(0, 2), 10**400),
        (whole(1, 3), 0),
        (whole(1, 3), 4),
        (whole(1, 3), 2.0),
        (whole(0, 3), True),
        (whole(1, 3), "2"),
        (digits(1, 100), "101"),
        (digits(1, 100), "1_0"),
        (digits(1, 100), "+1"),
        (digits(1, 100), "\u0663"),
        (digits(1, 100), ""),
        (digits(1, 100), "9" * 5000),
        (flag, 1),
        (flag, "true"),
        (flag_word, "1"),
        (choice(Severity), "HIGH"),
        (choice(Severity), ["high"]),
        (word(["a"]), "b"),
        (word(["a"]), {}),
        (listed(flag, most=1), [True, True]),
        (listed(flag, most=1), {"0": True}),
        (moment, "yesterday"),
        (moment, ""),
        (moment, 1.5),
        (moment, True),
        (moment, None),
        (moment, 10**15),
        (moment, "1" * 41),
    ],
)
def test_an_unsound_value_is_refused(reader: Reader, value: Any) -> None:
    with pytest.raises(Faulty):
        reader(value)


def test_every_fault_is_found_with_the_path_to_it() -> None:
    body = b'{"count": 9, "inner": {"tags": ["a", "long", 7], "on": true}, "colour": 1}'
    with pytest.raises(InvalidRequest) as raised:
        read_body(body, TABLE)

    assert [name for name, _ in raised.value.fields] == ["colour", "name", "count", "inner.tags"]

    with pytest.raises(InvalidRequest) as raised:
        read_body(b'{"name": "a", "inner": {"tags": ["a", "long"], "off": 1, "on": 1}}', TABLE)

    assert [name for name, _ in raised.value.fields] == ["inner.off", "inner.tags[1]", "inner.on"]
    assert raised.value.detail.endswith("(and 2 more)")


def test_only_the_members_that_were_given_are_returned() -> None:
    assert read_body(b'{"name": "a"}', TABLE) == {"name": "a"}


def test_a_body_that_is_no_object_has_no_field_to_blame() -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_body(b"[]", TABLE)
    assert raised.value.fields == ()


@pytest.mark.parametrize("body", [b"", b"{", b'{"name": NaN}', b'{"name": "a"} x'])
def test_a_body_that_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_body(body, TABLE)


def test_a_long_unknown_name_is_shown_shortened() -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_body(b'{"name": "a", "%b": 1}' % (b"x" * 1000), TABLE)
    assert raised.value.fields[0][0] == "x" * 64
