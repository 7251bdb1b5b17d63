"""Lists: what a query may say, and pages of what is in memory."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tocsin.core.errors import InvalidRequest
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import (
    WINDOW,
    CursorForm,
    Listing,
    by_id,
    by_id_and_key,
    by_sequence,
    cursor_shown,
    page_of,
    page_response,
    read_listing,
    read_query,
)
from tocsin.dialects.native.reading import flag_word
from tocsin.engine.rows import Page
from tocsin.web.http import Request

LIMITS = NativeLimits()


def asked(query: str) -> Request:
    return Request({"query_string": query.encode(), "headers": []}, b"")


def faulty_names(query: str) -> list[str]:
    with pytest.raises(InvalidRequest) as raised:
        read_listing(asked(query), WINDOW, LIMITS)
    return [name for name, _ in raised.value.fields]


def test_without_a_query_the_first_page_is_meant() -> None:
    assert read_listing(asked(""), WINDOW, LIMITS) == Listing({}, 50, None)


def test_a_query_is_read() -> None:
    query = "limit=100&cursor=_wAAAAAAAAAAAAAAAAAAAA&since=2026-05-26T12:00:00Z&until=5"
    found = read_listing(asked(query), WINDOW, LIMITS)
    assert found == Listing({"since": 1_779_796_800_000, "until": 5}, 100, b"\xff" + bytes(15))


@pytest.mark.parametrize("query", ["limit=1", "limit=100"])
def test_a_limit_may_be_at_its_bounds(query: str) -> None:
    assert read_listing(asked(query), WINDOW, LIMITS).limit == int(query.partition("=")[2])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("limit=0", ["limit"]),
        ("limit=101", ["limit"]),
        ("limit=", ["limit"]),
        ("limit=-1", ["limit"]),
        ("cursor=", ["cursor"]),
        ("cursor=!", ["cursor"]),
        ("cursor=A", ["cursor"]),
        ("cursor=%C3%A9", ["cursor"]),
        ("cursor=zz", ["cursor"]),
        ("cursor=" + "A" * 21, ["cursor"]),
        ("cursor=" + "A" * 24, ["cursor"]),
        ("cursor=" + "A" * 21 + "B", ["cursor"]),
        ("cursor=" + "A" * 22 + "==", ["cursor"]),
        ("cursor=" + "/" * 21 + "A", ["cursor"]),
        ("cursor=" + "A" * 1025, ["cursor"]),
        ("since=tomorrow", ["since"]),
        ("colour=red&page=2", ["colour", "page"]),
        ("limit=5&limit=6", ["limit"]),
        ("limit=x&since=y&colour=red", ["colour", "since", "limit"]),
    ],
)
def test_every_faulty_parameter_is_named(query: str, names: list[str]) -> None:
    assert faulty_names(query) == names


def test_what_parameters_there_are_is_told() -> None:
    with pytest.raises(InvalidRequest, match="there are: dry_run"):
        read_query(asked("dryrun=true"), {"dry_run": flag_word})
    with pytest.raises(InvalidRequest, match="there are none"):
        read_query(asked("a=1"), {})


def entity(number: int) -> Any:
    return SimpleNamespace(id=number.to_bytes(16, "big"))


def test_pages_of_what_is_in_memory_cover_all_of_it_once() -> None:
    entities = [entity(number) for number in (3, 1, 2, 5, 4)]
    seen: list[int] = []
    cursor: bytes | None = None
    while True:
        page = page_of(entities, Listing({}, 2, cursor))
        assert page.total == 5
        seen += [int.from_bytes(each.id, "big") for each in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [1, 2, 3, 4, 5]


def test_a_page_that_holds_the_last_row_has_no_cursor() -> None:
    assert page_of([entity(1), entity(2)], Listing({}, 2, None)).next_cursor is None
    assert page_of([], Listing({}, 2, None)).next_cursor is None


FORMS: dict[CursorForm, bytes] = {
    by_id: bytes(range(240, 256)),
    by_sequence: (2**63 - 1).to_bytes(8, "big"),
    by_id_and_key: bytes(range(240, 256)) + ("\U0001f600" * 128).encode(),
}
"""Each form with one of its longest cursors."""


@pytest.mark.parametrize("form", FORMS)
def test_a_cursor_is_read_as_it_is_shown(form: CursorForm) -> None:
    query = asked(f"cursor={cursor_shown(FORMS[form])}")
    assert read_listing(query, {}, LIMITS, cursor=form).cursor == FORMS[form]


@pytest.mark.parametrize(
    ("form", "cursor"),
    [
        *((form, other) for form in FORMS for at, other in FORMS.items() if at is not form),
        (by_sequence, b"\x80" + bytes(7)),
        (by_id_and_key, bytes(16)),
        (by_id_and_key, bytes(16) + b"\xff"),
    ],
)
def test_a_cursor_of_another_list_is_refused(form: CursorForm, cursor: bytes) -> None:
    with pytest.raises(InvalidRequest, match="cursor is not one that a list gave"):
        read_listing(asked(f"cursor={cursor_shown(cursor)}"), {}, LIMITS, cursor=form)


def test_a_count_that_was_given_up_says_so() -> None:
    page: Page[int] = Page(rows=[1], next_cursor=b"\xff", total=10_000, total_is_exact=False)
    body = json.loads(page_response("numbers", page, lambda each: each).body)
    assert body == {"numbers": [1], "total": 10_000, "next_cursor": "_w", "total_is_exact": False}


def test_a_search_that_stopped_at_its_bound_says_so() -> None:
    page: Page[int] = Page(rows=[], next_cursor=b"\xff", total=0, partial=True)
    body = json.loads(page_response("numbers", page, lambda each: each).body)
    assert body == {"numbers": [], "total": 0, "next_cursor": "_w", "partial": True}
