"""Ids: they rise, they hold their bucket and their time, and every way of writing them is read back."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.identifiers import (
    BUCKETS,
    IdSequence,
    bucket_of,
    created_ms,
    crockford,
    dashed,
    digest,
    digest_bucket,
    first_id_at,
    hex32,
    parse_crockford,
    parse_dashed,
    parse_event_id,
    parse_hex32,
    parse_prefixed,
    prefixed,
    subject_bucket,
)

IDS = st.binary(min_size=16, max_size=16)
TIMES = st.integers(0, 2**48 - 10_000)
ID = bytes(range(16))


def _sequence() -> IdSequence:
    return IdSequence(random.Random(1).randbytes)


@given(st.lists(TIMES, min_size=1, max_size=50))
def test_ids_rise_whatever_the_clock_does(times: list[int]) -> None:
    sequence = _sequence()
    made = [sequence.make(at_ms) for at_ms in times]
    assert all(earlier < later for earlier, later in pairwise(made))
    assert created_ms(made[-1]) >= times[-1]


def test_ids_rise_past_what_a_millisecond_can_hold() -> None:
    sequence = _sequence()
    made = [sequence.make(5) for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {created_ms(each) for each in made} == {5, 6, 7}


@given(TIMES, st.integers(0, BUCKETS - 1))
def test_an_id_holds_its_time_and_its_bucket(at_ms: int, bucket: int) -> None:
    made = _sequence().make(at_ms, bucket)
    assert (created_ms(made), bucket_of(made), len(made)) == (at_ms, bucket, 16)


@given(TIMES)
def test_an_id_is_a_uuid_of_version_seven(at_ms: int) -> None:
    made = _sequence().make(at_ms)
    assert made[6] >> 4 == 7
    assert made[8] >> 6 == 2


def test_drawn_buckets_are_spread() -> None:
    sequence = _sequence()
    assert {bucket_of(sequence.make(number)) for number in range(2000)} == set(range(BUCKETS))


@given(IDS)
def test_a_digests_bucket_is_one_of_them(name: bytes) -> None:
    assert 0 <= digest_bucket(name) < BUCKETS


@given(TIMES, st.integers(0, BUCKETS - 1))
def test_a_subject_that_is_an_id_is_where_the_id_is(at_ms: int, bucket: int) -> None:
    assert subject_bucket(hex32(_sequence().make(at_ms, bucket))) == bucket


@pytest.mark.parametrize(
    ("subject", "bucket"),
    [
        ("", 17),
        ("order 42", 3),
        ("Größe", 53),
        # An id in all but its version, its variant, its case or its length.
        ("0189aaaaaaaa4aaa85aaaaaaaaaaaaaa", 24),
        ("0189aaaaaaaa7aaa45aaaaaaaaaaaaaa", 16),
        ("0189AAAAAAAA7AAA85AAAAAAAAAAAAAA", 25),
        ("0189aaaaaaaa7aaa85aaaaaaaaaaaaaaa", 61),
        ("0189aaaaaaaa7aaa85aaaaaaaaaaaaaa", 5),
    ],
)
def test_a_subjects_bucket_is_the_same_for_ever(subject: str, bucket: int) -> None:
    assert subject_bucket(subject) == bucket


@given(TIMES, st.integers(0, BUCKETS - 1))
def test_the_first_id_of_a_millisecond_parts_it_from_the_one_before(at_ms: int, bucket: int) -> None:
    assert first_id_at(at_ms) < _sequence().make(at_ms, bucket) < first_id_at(at_ms + 1)


def test_before_1970_there_is_no_id() -> None:
    assert first_id_at(-1) == first_id_at(0) == bytes(16)


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_digests_of_other_parts_are_others(left: list[bytes], right: list[bytes]) -> None:
    assert (digest(*left) == digest(*right)) == (left == right)


def test_digests_stay_the_same_for_ever() -> None:
    assert digest(b"a", b"bc").hex() == "2e59d15427dc6a6a3c4a50be48ecb260"


@given(IDS)
def test_every_writing_is_read_back(identifier: bytes) -> None:
    assert parse_hex32(hex32(identifier)) == identifier
    assert parse_dashed(dashed(identifier)) == identifier
    assert parse_dashed(dashed(identifier).upper()) == identifier
    assert parse_prefixed("evt", prefixed("evt", identifier)) == identifier
    assert parse_crockford(crockford(identifier)) == identifier
    for text in (hex32(identifier), dashed(identifier), prefixed("evt", identifier)):
        assert parse_event_id(text) == identifier


def test_the_writings_are_the_published_ones() -> None:
    assert hex32(ID) == "000102030405060708090a0b0c0d0e0f"
    assert dashed(ID) == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert prefixed("evt", ID) == "evt_000102030405060708090a0b0c0d0e0f"
    assert crockford(ID) == "000G40R40M30E209185GR38E1W"
    assert crockford(bytes(16)) == "0" * 26
    assert crockford(b"\xff" * 16) == "Z" * 25 + "W"


@given(st.text(max_size=40))
def test_no_text_breaks_a_parser(text: str) -> None:
    for found in (parse_event_id(text), parse_crockford(text), parse_dashed(text), parse_hex32(text)):
        assert found is None or len(found) == 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 31,
        "0" * 33,
        "g" * 32,
        "A" * 32,
        "0" * 31 + " ",
        "0" * 31 + "\uff10",
        "0x" + "0" * 30,
        "evt_" + "0" * 31,
        "evt" + "0" * 32,
        "EVT_" + "0" * 32,
        "00010203-0405-0607-0809-0a0b0c0d0e0",
        "00010203-0405-0607-08090a0b0c0d0e0f-",
        "{0010203-0405-0607-0809-0a0b0c0d0e0}",
        "0001020304050607-0809-0a0b-0c0d-0e0f",
    ],
)
def test_what_is_no_event_id_is_none(text: str) -> None:
    assert parse_event_id(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "000g40r40m30e209185gr38e1w",
        "OOOG4OR4OM3OE2O9I85GR38EIW",
        "000G4-0R40M-30E20-9185G-R38E1-W",
        " 000G40R40M30E209185GR38E1W\u2003\n",
        "oooG40R40M30E209l85GR38ELW",
    ],
)
def test_a_channel_is_read_in_every_writing_that_people_use(text: str) -> None:
    assert parse_crockford(text) == ID


@pytest.mark.parametrize(
    "text",
    [
        "000G40R40M30E209185GR38E1",
        "000G40R40M30E209185GR38E1W0",
        "000G40R40M30E209185GR38E1X",
        "000G40R40M30E209185GR38E1U",
        "000G40R40M30E209185GR38E1_",
        "\uff1000G40R40M30E209185GR38E1W",
        "000G40R40M30E209185GR38E1W\x1c",
    ],
)
def test_what_is_no_channel_is_none(text: str) -> None:
    assert parse_crockford(text) is None
