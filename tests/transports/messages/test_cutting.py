"""Texts cut at a limit, and cleaned of what does harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.transports.messages.cleaning import cleaned, is_blank, one_line
from tocsin.transports.messages.cutting import ELLIPSIS, cut, head, units
from transports.messages.samples import AWKWARD, FAMILY, FLAG, texts


def test_units_are_utf_16_code_units() -> None:
    assert [units(text) for text in ("", "abc", "\u00e4", "\U0001f41b", FAMILY)] == [0, 3, 1, 2, 11]


@pytest.mark.parametrize("character", AWKWARD)
@pytest.mark.parametrize("before", ["", "a", "aaa"])
def test_no_character_is_ever_cut_in_two(character: str, before: str) -> None:
    text = before + character * 3
    for units_max in range(units(text)):
        kept = head(text, units_max)
        assert units(kept) <= units_max
        whole = [before[:units_max], *(before + character * count for count in range(3))]
        assert kept in whole
    assert head(text, units(text)) is text


def test_two_flags_are_parted_between_them() -> None:
    assert head(FLAG * 3, 9) == FLAG * 2
    assert head("a" + FLAG * 3, 10) == "a" + FLAG * 2


def test_a_character_without_end_is_cut_anyway() -> None:
    flood = "a" + "\u0301" * 500
    assert head(flood, 300) == flood[:300]
    joined = ("\U0001f468\u200d" * 500) + "b"
    assert units(head(joined, 300)) == 300


def test_what_fits_stays_the_same_object() -> None:
    text = "\U0001f41b" * 128
    assert cut(text, 256) is text
    assert cut(text, 255) == "\U0001f41b" * 127 + ELLIPSIS
    assert cut("abc", 0) == ""
    assert cut("abc", 1) == ELLIPSIS
    assert cut("one  two", 6) == "one" + ELLIPSIS


@given(texts(400).map(cleaned), st.integers(0, 300))
def test_a_cut_text_fits_and_begins_as_it_began(text: str, units_max: int) -> None:
    kept = cut(text, units_max)
    assert units(kept) <= units_max
    assert kept is text or text.startswith(kept.removesuffix(ELLIPSIS))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00e4 \U0001f41b\ttab\nline", "plain \u00e4 \U0001f41b\ttab\nline"),
        ("a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h", "a\nb\nc\nd\ne\nf\ng\nh"),
        ("\x00\x1b[31m\x07\x7f", "\u2400\u241b[31m\u2407\u2421"),
        ("\x80\x9b", "\ufffd\ufffd"),
        ("\ud83d lone \udc1b \uffff \ufdd0", "\ufffd lone \ufffd \ufffd \ufffd"),
        ("\u202egpj.exe\u202c \u2066x\u2069", "gpj.exe x"),
        ("\u05e9\u200f\u200e \u061c", "\u05e9\u200f\u200e \u061c"),
        ("z" + "\u0300\u0489" * 40 + "y", "z" + "\u0300\u0489" * 4 + "y"),
        (FAMILY + FLAG, FAMILY + FLAG),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0062\U000e007f"),
    ],
)
def test_texts_are_cleaned(text: str, shown: str) -> None:
    assert cleaned(text) == shown
    assert cleaned(shown) == shown


def test_a_name_has_one_line() -> None:
    assert one_line("a\r\n\r\n  b\u2028c\n") == "a b c"
    assert one_line(" kept  as it is ") == " kept  as it is "


def test_blank_is_what_nobody_sees() -> None:
    for text in ("", " \t\n", "\u200b\ufeff\u2060", "\u3164", "\u202e\u2066", "\u2800", "\ufe0f", "\U000e0041"):
        assert is_blank(text), ascii(text)
    for text in ("a", " - ", "\u200ba", "\U0001f41b", "\u2400"):
        assert not is_blank(text), ascii(text)
