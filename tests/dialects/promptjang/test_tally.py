"""The statistics count for no longer than they may, and say when a count is not the whole truth."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import DEFAULT_ORGANISATION
from tocsin.dialects.promptjang.account import Tally
from tocsin.engine.rows import EventQuery, Page

QUERY = EventQuery(organisation_id=DEFAULT_ORGANISATION)


@dataclass
class Searches:
    """As much of an engine as is asked, and the clock that its searches move."""

    results: list[Page[Any] | Unavailable]
    each_s: float = 1.0
    passed_s: float = 0.0
    asked: list[int] = field(default_factory=list)

    def now_ms(self) -> int:
        return 0

    def monotonic_s(self) -> float:
        return self.passed_s

    async def search(self, _query: EventQuery, *, limit: int) -> Page[Any]:
        self.asked.append(limit)
        self.passed_s += self.each_s
        result = self.results.pop(0)
        if isinstance(result, Unavailable):
            raise result
        return result


def counted(searches: Searches, times: int, *, budget_s: float = 5.0) -> tuple[list[int | None], bool]:
    engine: Any = searches

    async def run() -> tuple[list[int | None], bool]:
        tally = Tally(engine, searches, budget_s=budget_s)
        return [await tally(QUERY) for _ in range(times)], tally.exact

    return asyncio.run(run())


def page(total: int, *, exact: bool = True) -> Page[Any]:
    return Page(rows=[], next_cursor=None, total=total, total_is_exact=exact)


def test_counts_are_totals_of_searches_that_read_next_to_nothing() -> None:
    searches = Searches([page(3), page(0)])
    assert counted(searches, 2) == ([3, 0], True)
    assert searches.asked == [1, 1]


def test_a_capped_count_is_told_and_not_called_exact() -> None:
    assert counted(Searches([page(10_000, exact=False), page(1)]), 2) == ([10_000, 1], False)


def test_a_count_that_took_too_long_is_left_out() -> None:
    too_long = Unavailable("the search took too long", code="search_too_long")
    assert counted(Searches([too_long, page(1)]), 2) == ([None, 1], False)


def test_what_is_left_when_the_budget_is_spent_is_not_counted() -> None:
    searches = Searches([page(1), page(2), page(3)])
    assert counted(searches, 3, budget_s=2.0) == ([1, 2, None], False)


def test_a_store_that_cannot_be_read_is_no_figure() -> None:
    with pytest.raises(Unavailable):
        counted(Searches([Unavailable("the store cannot be read now")]), 1)
