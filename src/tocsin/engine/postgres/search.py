"""Running a list: one bounded statement for a page, by keyset or offset, and one that counts."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, TypeVar, cast

from tocsin.engine.bounds import ScanBounds
from tocsin.engine.listing import TOTAL_MAX, Listing, number_statement, page_statement
from tocsin.engine.payloads import fitting
from tocsin.engine.postgres.event_search import Halted, search_events, until
from tocsin.engine.postgres.listings import SPELLING, listing_of
from tocsin.engine.postgres.payloads import with_data
from tocsin.engine.postgres.reading import rows_of
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.postgres.standing import standings
from tocsin.engine.rows import EventQuery, Page, Query, StandingQuery
from tocsin.engine.runs import Found, window_of

T = TypeVar("T")


async def search(
    connection: Connection,
    query: Query[T],
    *,
    limit: int,
    cursor: bytes | None,
    offset: int,
    now_ms: int,
    bounds: ScanBounds,
) -> Found[T]:
    """Return one page of what the query matches, all of it as it stood at one moment.

    Args:
        connection: in a transaction of its own, whose snapshot is one for all statements.
        bounds: of searches through events, and of every page.

    Raises:
        Halted: of ``unstarted``: it took too long.
    """
    if isinstance(query, EventQuery):
        events = await search_events(connection, query, limit=limit, cursor=cursor, offset=offset, bounds=bounds)
        return cast("Found[T]", Found(events))
    if isinstance(query, StandingQuery):
        window = window_of(query, limit=limit, cursor=cursor, offset=offset)
        return cast("Found[T]", await standings(connection, query, window, now_ms=now_ms, bounds=bounds))
    return Found(await _listed(connection, query, limit=limit, cursor=cursor, offset=offset, bounds=bounds))


async def _listed(
    connection: Connection, query: Query[T], *, limit: int, cursor: bytes | None, offset: int, bounds: ScanBounds
) -> Page[T]:
    listing = listing_of(query)
    thorough_s = bounds.thorough_count_max_s if query.thorough else None
    total, is_exact = await _total(connection, listing, thorough_s) if query.counted else (0, True)
    text, bindings = page_statement(listing, SPELLING, limit=limit, cursor=cursor, offset=offset)
    read, is_cut = fitting(await rows_of(connection, text, bindings), listing.size_bytes, bounds.page_bytes_max)
    shown = read[:limit]
    rows: list[Any] = [listing.row(row) for row in shown]
    if listing.with_data:
        rows = await with_data(connection, query.organisation_id, rows, bounds.page_bytes_max)
    has_more = is_cut or len(rows) < len(read)
    return Page(
        rows=rows,
        next_cursor=listing.cursor_of(shown[len(rows) - 1]) if has_more and rows else None,
        total=total,
        total_is_exact=is_exact,
    )


async def _total(connection: Connection, listing: Listing[T], thorough_s: float | None) -> tuple[int, bool]:
    """Return how many match, and whether that is all of them.

    Args:
        thorough_s: how long it may take to count them all; None, and after it, counts to ``TOTAL_MAX``.
    """
    if thorough_s is not None:
        with suppress(Halted):
            async with until(connection, time.monotonic() + thorough_s):
                return await _number(connection, listing, None), True
    found = await _number(connection, listing, TOTAL_MAX + 1)
    return min(found, TOTAL_MAX), found <= TOTAL_MAX


async def _number(connection: Connection, listing: Listing[T], limit: int | None) -> int:
    text, bindings = number_statement(listing)
    ((count,),) = await rows_of(connection, text, (*bindings, limit))
    return int(count)
