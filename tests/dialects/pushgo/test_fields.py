"""PushGo's fields: the readings that a recorded exchange cannot show, and what any input at all leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.errors import InvalidRequest
from tocsin.core.event import Severity
from tocsin.core.identifiers import ChannelId, crockford
from tocsin.core.text import trim
from tocsin.dialects.pushgo.fields import (
    DataFault,
    canonical,
    channel_id_in,
    check_attrs,
    check_metadata,
    find_severity,
    identifier_in,
    images_in,
    password_in,
    read_metadata,
    read_time_ms,
    stored_ms,
    tags_in,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        (None, None),
        ("", None),
        (" \u3000", None),
        (0, 0),
        (1, 1000),
        (-1, -1000),
        (999_999_999_999, 999_999_999_999_000),
        (1_000_000_000_000, 1_000_000_000_000),
        (-999_999_999_999, -999_999_999_999_000),
        (-1_000_000_000_000, -1_000_000_000_000),
        ("+5", 5000),
        ("-5", -5000),
        ("-0", 0),
        ("0005", 5000),
        ("0" * 6000 + "5", 5000),
        (" 1713750000\u00a0", 1_713_750_000_000),
        (2**63 - 1, 2**63 - 1),
        (str(-(2**63)), -(2**63)),
    ],
)
def test_a_time_is_read_in_seconds_or_milliseconds(value: object, ms: int | None) -> None:
    assert read_time_ms({"t": value}, "t") == ms


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**63) - 1,
        str(2**63),
        1.0,
        -0.0,
        True,
        [],
        {},
        "x",
        "1_0",
        "1 0",
        "--1",
        "+",
        "\u0661",
        "\u00b2",
        "0x1",
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(DataFault, match="invalid JSON data: `t`"):
        read_time_ms({"t": value}, "t")


def refusal(check: Callable[[], object]) -> str | None:
    """Return the code with which something is refused, or None when it is taken."""
    try:
        check()
    except InvalidRequest as error:
        return error.code
    return None


@given(JSON_VALUES)
def test_a_time_is_taken_or_refused_as_data(value: Any) -> None:
    assert refusal(lambda: read_time_ms({"t": value}, "t")) in {None, "invalid_json_data"}


@given(JSON_VALUES)
def test_metadata_is_taken_or_refused_with_a_code_of_its_own(value: Any) -> None:
    codes = {None, "invalid_json_data", "metadata_key_too_long", "metadata_value_too_long"}

    assert refusal(lambda: check_metadata(read_metadata({"metadata": value}))) in codes


@given(st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=4))
def test_attrs_are_taken_or_refused_with_a_code_of_theirs(attrs: dict[str, Any]) -> None:
    assert (refusal(lambda: check_attrs(attrs)) or "extension_object_").startswith("extension_object_")


@pytest.mark.parametrize(
    ("attrs", "code"),
    [
        ({"a": [], "": 1}, "extension_object_key_required"),
        ({"b": {"c": []}, "a": []}, "extension_object_arrays_unsupported"),
        ({"a": {"c": {}}, "b": []}, "extension_object_nested_object_unsupported"),
    ],
)
def test_of_several_faults_of_attrs_the_first_key_s_is_told(attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        check_attrs(attrs)

    assert error.value.code == code


def test_of_several_faults_of_metadata_the_first_key_s_is_told() -> None:
    with pytest.raises(InvalidRequest, match="key is too long"):
        check_metadata({"z": "v" * 513, "k" * 65: 1})
    with pytest.raises(InvalidRequest, match="value is too long"):
        check_metadata({"k" * 65: 1, "a": "v" * 513})


@given(st.binary(min_size=16, max_size=16))
def test_a_channel_id_is_read_back_however_it_is_written(identifier: bytes) -> None:
    written = crockford(identifier)
    for spelling in (written, written.lower(), f" {written[:5]}-{written[5:]}\u3000", written.replace("0", "o")):
        assert channel_id_in(spelling) == ChannelId(identifier)


@given(st.text())
def test_a_password_is_between_8_and_128_bytes(text: str) -> None:
    fits = 8 <= len(trim(text).encode()) <= 128

    assert refusal(lambda: password_in(text)) == (None if fits else "invalid_password_length")


def test_ids_are_measured_before_their_form_is_judged() -> None:
    with pytest.raises(InvalidRequest, match="op_id is too long"):
        identifier_in("\u00e9" * 65, "op_id", 128)
    with pytest.raises(InvalidRequest, match="op_id format is invalid"):
        identifier_in("\u00e9" * 64, "op_id", 128)


def test_lists_keep_the_first_of_equal_items() -> None:
    assert tags_in(["b", " a", "b ", "a"]) == ["b", "a"]
    assert images_in([]) == []


@pytest.mark.parametrize("text", ["", "urgent", "h\u0131gh", "\u212aritical", "high\u0000"])
def test_only_four_words_are_severities(text: str) -> None:
    assert find_severity(text) is None


def test_a_severity_is_read_in_any_case() -> None:
    assert find_severity("\u00a0CriTICAL ") is Severity.CRITICAL


def test_a_time_beyond_the_calendar_is_stored_as_its_last_or_first_moment() -> None:
    assert stored_ms(2**63 - 1) == 253_402_300_799_999
    assert stored_ms(-(2**63)) == -62_135_596_800_000
    assert stored_ms(1_713_750_000_000) == 1_713_750_000_000


def test_canonical_json_is_compact_and_sorted() -> None:
    assert canonical({"b": 1, "a": {"d": "\u00e9", "c": [1.5, None]}}) == '{"a":{"c":[1.5,null],"d":"\u00e9"},"b":1}'
