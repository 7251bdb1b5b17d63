"""Globs: those of the shell, and never more work than a text is long."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.glob import glob, glob_fault, is_glob, prefix_of


@given(st.text("ab.*?[]!-\n", max_size=10), st.text("ab.[]!-\n", max_size=10))
def test_globs_are_those_of_the_shell_and_match_whole_texts(pattern: str, text: str) -> None:
    assert bool(glob(pattern)(text)) == fnmatch.fnmatchcase(text, pattern)


@given(st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "[]]", "[*]"]), max_size=8).map("".join))
def test_parts_are_found_in_any_order_of_wildcards(pattern: str) -> None:
    for text in ("", "a", "ab", "ba", "aab", "abab", "b]a*", "a" * 9, "ab" * 5):
        assert bool(glob(pattern)(text)) == fnmatch.fnmatchcase(text, pattern)


@given(st.text("ab.-!]\n", max_size=8))
def test_what_is_no_glob_matches_only_itself(text: str) -> None:
    assert not is_glob(text)
    assert glob(text)(text)
    assert not glob(text)(f"{text}x")


@pytest.mark.parametrize("pattern", ["*", "a?", "[a]"])
def test_a_glob_is_told_by_its_characters(pattern: str) -> None:
    assert is_glob(pattern)


def test_the_beginning_that_a_pattern_asks_for_is_told() -> None:
    assert [prefix_of(each) for each in ("a.*", "*", "a", "*a*", "a?*", "a[*", "a*b")] == ["a.", "", *[None] * 5]


class _Counted(str):
    """A text that keeps from where it was searched."""

    __slots__ = ("searched",)
    searched: list[int]

    def find(self, part: str, at: int) -> int:  # type: ignore[override]
        self.searched.append(at)
        return super().find(part, at)


def searched(pattern: str, text: str) -> list[int]:
    counted = _Counted(text)
    counted.searched = []
    glob(pattern)(counted)
    return counted.searched


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*a*a*a*a*a*b*", "a" * 1024),
        ("*a" * 127 + "*b*", "a" * 1024),
        ("*ab" * 80 + "*c*", "ab" * 512),
        ("*a*b*a*b*c*", "ab" * 512),
    ],
)
def test_each_part_is_looked_for_once_and_behind_the_one_before(pattern: str, text: str) -> None:
    places = searched(pattern, text)
    assert len(places) == pattern.count("*") - 1
    assert places == sorted(places)
    assert len(set(places)) == len(places)


def test_a_wrong_end_is_told_without_a_search() -> None:
    assert searched("*a*a*a*a*a*b", "a" * 1024) == []
    assert searched("b*a*a*a*a*a*", "a" * 1024) == []


@pytest.mark.parametrize("pattern", ["[", "a[", "[]", "[!]", "[a]["])
def test_a_bracket_that_is_not_closed_is_a_fault(pattern: str) -> None:
    assert glob_fault(pattern) == "has a [ without its ]"


@pytest.mark.parametrize("pattern", ["", "a", "]", "*", "[a]", "[[]", "[]]", "[!]]", "[a]*[b]?"])
def test_any_other_pattern_is_none(pattern: str) -> None:
    assert glob_fault(pattern) is None
