"""Running a list: one bounded statement for a page, by keyset or offset, and one that counts."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, TypeVar, cast

import apsw

from tocsin.engine.bounds import ScanBounds
from tocsin.engine.listing import TOTAL_MAX, Listing, number_statement, page_statement
from tocsin.engine.payloads import fitting
from tocsin.engine.rows import EventQuery, Page, Query, StandingQuery
from tocsin.engine.runs import Found, window_of
from tocsin.engine.sqlite.event_search import Halted, search_events, until
from tocsin.engine.sqlite.listings import SPELLING, listing_of
from tocsin.engine.sqlite.payloads import with_data
from tocsin.engine.sqlite.standing import standings

T = TypeVar("T")

_WIDE = ScanBounds()


def search(
    connection: apsw.Connection,
    query: Query[T],
    *,
    limit: int,
    cursor: bytes | None,
    offset: int,
    now_ms: int,
    bounds: ScanBounds = _WIDE,
) -> Found[T]:
    """Return one page of what the query matches.

    Args:
        bounds: of searches through events, and of every page.
    """
    if isinstance(query, EventQuery):
        events = search_events(connection, query, limit=limit, cursor=cursor, offset=offset, bounds=bounds)
        return cast("Found[T]", Found(events))
    if isinstance(query, StandingQuery):
        window = window_of(query, limit=limit, cursor=cursor, offset=offset)
        found = standings(connection, query, window, now_ms=now_ms, page_bytes_max=bounds.page_bytes_max)
        return cast("Found[T]", found)
    listing = listing_of(query)
    thorough_s = bounds.thorough_count_max_s if query.thorough else None
    total, is_exact = _total(connection, listing, thorough_s) if query.counted else (0, True)
    behind = None if cursor is None else listing.keys_of(cursor)
    text, bindings = page_statement(listing, SPELLING, limit=limit, behind=behind, offset=offset)
    read, is_cut = fitting(connection.execute(text, bindings), listing.size_bytes, bounds.page_bytes_max)
    shown = read[:limit]
    rows: list[Any] = [listing.row(row) for row in shown]
    if listing.with_data:
        rows = with_data(connection, query.organisation_id, rows, bounds.page_bytes_max)
    has_more = is_cut or len(rows) < len(read)
    return Found(
        Page(
            rows=rows,
            next_cursor=listing.cursor_of(shown[len(rows) - 1]) if has_more and rows else None,
            total=total,
            total_is_exact=is_exact,
        )
    )


def _total(connection: apsw.Connection, listing: Listing[T], thorough_s: float | None) -> tuple[int, bool]:
    """Return how many match, and whether that is all of them.

    Args:
        thorough_s: how long it may take to count them all; None, and after it, counts to ``TOTAL_MAX``.
    """
    if thorough_s is not None:
        with suppress(Halted), until(connection, time.monotonic() + thorough_s):
            return _number(connection, listing, -1), True
    found = _number(connection, listing, TOTAL_MAX + 1)
    return min(found, TOTAL_MAX), found <= TOTAL_MAX


def _number(connection: apsw.Connection, listing: Listing[T], limit: int) -> int:
    text, bindings = number_statement(listing)
    return int(connection.execute(text, (*bindings, limit)).get)
