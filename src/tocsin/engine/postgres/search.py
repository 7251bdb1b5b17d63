"""Running a list: one bounded statement for a page of each part, by keyset or offset, and one that counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

import msgspec

from tocsin.engine.bounds import ScanBounds
from tocsin.engine.listing import TOTAL_MAX, Listing, number_statement, page_statement
from tocsin.engine.payloads import fitting
from tocsin.engine.postgres.event_search import Halted, search_events, until
from tocsin.engine.postgres.items import items
from tocsin.engine.postgres.listings import SPELLING, listing_of, readers_for
from tocsin.engine.postgres.payloads import with_data
from tocsin.engine.postgres.reading import Reader
from tocsin.engine.postgres.sql import Connection, Row
from tocsin.engine.postgres.standing import standings
from tocsin.engine.rows import EventQuery, MailboxQuery, Page, Query, StandingQuery
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
    readers = readers_for(connection, query)
    thorough_s = bounds.thorough_count_max_s if query.thorough else None
    total, is_exact = await _total(readers, listing, thorough_s) if query.counted else (0, True)
    behind = None if cursor is None else listing.keys_of(cursor)
    found = await _page(readers, listing, limit=limit, behind=behind, offset=offset)
    read, is_cut = fitting(found, listing.size_bytes, bounds.page_bytes_max)
    rows: list[Any] = [listing.row(row) for row in read[:limit]]
    told = len(rows)
    if isinstance(query, MailboxQuery):
        rows, told = await items(connection, query, rows, bounds.page_bytes_max)
    elif listing.with_data:
        rows = await with_data(connection, query.organisation_id, rows, bounds.page_bytes_max)
        told = len(rows)
    has_more = is_cut or told < len(read)
    return Page(
        rows=rows,
        next_cursor=listing.cursor_of(read[told - 1]) if has_more and told else None,
        total=total,
        total_is_exact=is_exact,
    )


async def _page(
    readers: Sequence[Reader], listing: Listing[T], *, limit: int, behind: tuple[Any, ...] | None, offset: int
) -> list[Row]:
    """Return the rows of a page and one more.

    Of several parts no more than the keys is read of what the offset skips: it may lie in one part or in all.
    """
    if len(readers) > 1 and offset:
        arms = tuple(msgspec.structs.replace(arm, columns=", ".join(listing.keys)) for arm in listing.arms)
        of_keys = msgspec.structs.replace(listing, arms=arms)
        text, bindings = page_statement(of_keys, SPELLING, limit=offset - 1, behind=behind, offset=0)
        skipped = await _in_order(readers, text, bindings, lambda row: row, reverse=not listing.ascending)
        if len(skipped) < offset:
            return []
        behind, offset = skipped[offset - 1], 0
    text, bindings = page_statement(listing, SPELLING, limit=limit, behind=behind, offset=offset)
    if len(readers) == 1:
        return await readers[0].rows_of(text, bindings)
    found = await _in_order(
        readers, text, bindings, lambda row: listing.keys_of(listing.cursor_of(row)), reverse=not listing.ascending
    )
    return found[: limit + 1]


async def _in_order(
    readers: Sequence[Reader],
    text: str,
    bindings: Sequence[Any],
    keys_of: Callable[[Row], tuple[Any, ...]],
    *,
    reverse: bool,
) -> list[Row]:
    """Return the rows that a statement gives for each part, by their keys."""
    return sorted(
        [row for each in readers for row in await each.rows_of(text, bindings)], key=keys_of, reverse=reverse
    )


async def _total(readers: Sequence[Reader], listing: Listing[T], thorough_s: float | None) -> tuple[int, bool]:
    """Return how many match, and whether that is all of them.

    Args:
        thorough_s: how long it may take to count them all; None, and after it, counts to ``TOTAL_MAX``.
    """
    if thorough_s is not None:
        deadline_s = time.monotonic() + thorough_s
        with suppress(Halted):
            total = 0
            for reader in readers:
                async with until(reader.connection, deadline_s):
                    total += await _number(reader, listing, None)
            return total, True
    total = 0
    for reader in readers:
        total += await _number(reader, listing, TOTAL_MAX + 1 - total)
        if total > TOTAL_MAX:
            return TOTAL_MAX, False
    return total, True


async def _number(reader: Reader, listing: Listing[T], limit: int | None) -> int:
    text, bindings = number_statement(listing)
    ((count,),) = await reader.rows_of(text, (*bindings, limit))
    return int(count)
