"""Searching events: from the index that has the fewest to look at, a portion at a time, within bounds."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from tocsin.engine.bounds import ScanBounds
from tocsin.engine.listing import TOTAL_MAX, event_row_of
from tocsin.engine.postgres.leads import ROWS_OF_LEAD, Lead, choose, edge, meet
from tocsin.engine.postgres.listings import EVENT_WITHOUT_DATA_WITH_STATUS
from tocsin.engine.postgres.payloads import with_data
from tocsin.engine.postgres.reading import rows_of
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.postgres.wanted import among, prepare
from tocsin.engine.postgres.windows import cuts, windows
from tocsin.engine.rows import EventQuery, EventRow, Page
from tocsin.engine.wanted import Aspect, Condition, Span, Wanted, matching

_PORTIONS = (256, 8_192)
"""Entries of the first portion, and of the largest."""

_TEXT_PORTIONS = (64, 512)
"""The same where payloads are read, which may be a mebibyte each."""


class Halted(Exception):
    """The time for a portion ran out."""


async def search_events(
    connection: Connection,
    query: EventQuery,
    *,
    limit: int,
    cursor: bytes | None,
    offset: int,
    bounds: ScanBounds,
) -> Page[EventRow]:
    """Return one page of events; where a bound was reached, what was found by then and how to go on."""
    wanted = await prepare(connection, query)
    if wanted.is_hopeless:
        return Page(rows=[], next_cursor=None, total=0)
    span = wanted.span if cursor is None else wanted.span.behind(cursor, ascending=query.ascending)
    between = await cuts(connection)
    lead = await choose(connection, wanted, span, between)
    scan = _Scan(connection, wanted, lead, bounds, cuts=between)
    found, stopped_at = await scan.find(span, offset=offset, count=limit + 1)
    rows = await _rows(connection, query, found[:limit])
    if query.with_data:
        rows = await with_data(connection, query.organisation_id, rows, bounds.page_bytes_max)
    has_more = len(found) > len(rows) > 0
    page: Page[EventRow] = Page(
        rows=rows,
        next_cursor=rows[-1].event.id if has_more else stopped_at,
        total=0,
        partial=stopped_at is not None and not has_more,
    )
    if not query.counted:
        return page
    is_whole = cursor is None and not offset and not has_more
    if is_whole and len(found) <= TOTAL_MAX and (stopped_at is None or not query.thorough):
        # Everything was gone through already, as far as the bounds let it.
        return msgspec.structs.replace(page, total=len(found), total_is_exact=stopped_at is None)
    total, is_exact = await scan.count(wanted.span, thorough=query.thorough)
    return msgspec.structs.replace(page, total=total, total_is_exact=is_exact)


async def _rows(connection: Connection, query: EventQuery, ids: Sequence[bytes]) -> list[EventRow]:
    if not ids:
        return []
    read = await rows_of(connection, EVENT_WITHOUT_DATA_WITH_STATUS, (list(ids), query.organisation_id))
    found = {row[0]: event_row_of(row) for row in read}
    # What hangs on an event may outlive it by a little.
    return [found[each] for each in ids if each in found]


class _Scan:
    """Goes along a lead and keeps what fulfils the conditions that the lead leaves open."""

    def __init__(
        self, connection: Connection, wanted: Wanted, lead: Lead, bounds: ScanBounds, *, cuts: Sequence[bytes]
    ) -> None:
        self._connection = connection
        self._cuts = cuts
        self._lead = lead
        self._bounds = bounds
        self._ascending = wanted.query.ascending
        self._patterns = wanted.patterns
        self._meeting = meet(lead, wanted)
        self._is_open = bool(self._meeting.conditions or self._patterns)
        self._sizes = _PORTIONS if wanted.query.text is None else _TEXT_PORTIONS

    async def find(self, span: Span, *, offset: int, count: int) -> tuple[list[bytes], bytes | None]:
        """Return the first ids behind ``offset`` others, and where a bound stopped the search before it had them."""
        if not self._is_open:
            return (await self._first(span, offset + count))[offset:], None
        found, stopped_at = await self._find(span, offset + count)
        return found[offset:], stopped_at

    async def _first(self, span: Span, count: int) -> list[bytes]:
        """Return the first of the lead's entries."""
        found: list[bytes] = []
        for window in windows(span, self._cuts, ascending=self._ascending):
            text, bindings = self._lead.within(window, ascending=self._ascending, limit=count - len(found))
            found += [row[0] for row in await rows_of(self._connection, text, bindings)]
            if len(found) >= count:
                break
        return found

    async def _find(self, span: Span, count: int) -> tuple[list[bytes], bytes | None]:
        found: list[bytes] = []
        looked_at, reached = 0, None
        deadline_s = time.monotonic() + self._bounds.time_max_s
        async for portion, size in self._portions(span, self._bounds.events_max):
            if looked_at >= self._bounds.events_max:
                return found, reached
            try:
                # The first goes through whatever the time, so that whoever goes on comes further.
                room = min(count - len(found), size)
                found += await self._ids(portion, room, deadline_s if looked_at else None)
            except Halted:
                return found, reached
            if len(found) >= count:
                return found, None
            looked_at += size
            reached = _last_of(portion, ascending=self._ascending)
        return found, None

    async def count(self, span: Span, *, thorough: bool) -> tuple[int, bool]:
        """Return how many match, and whether that is all of them: ``TOTAL_MAX`` at the most, unless ``thorough``."""
        if thorough:
            return await self._count(span, sys.maxsize, sys.maxsize, self._bounds.thorough_count_max_s)
        if not self._is_open:
            total = await self._number_to(span, TOTAL_MAX + 1)
            return min(total, TOTAL_MAX), total <= TOTAL_MAX
        return await self._count(span, TOTAL_MAX, self._bounds.events_max, self._bounds.count_max_s)

    async def _number_to(self, span: Span, limit: int) -> int:
        """Return how many entries the lead has, up to a limit."""
        total = 0
        for window in windows(span, self._cuts, ascending=self._ascending):
            text, bindings = self._lead.within(window, ascending=self._ascending, limit=limit - total)
            ((count,),) = await rows_of(self._connection, f"select count(*) from ({text}) as entries", bindings)
            total += count
            if total >= limit:
                break
        return total

    async def _count(self, span: Span, total_max: int, events_max: int, time_max_s: float) -> tuple[int, bool]:
        total = looked_at = 0
        deadline_s = time.monotonic() + time_max_s
        async for portion, size in self._portions(span, events_max):
            if looked_at >= events_max:
                return total, False
            try:
                total += await self._number(portion, size, deadline_s if looked_at else None)
            except Halted:
                return total, False
            if total > total_max:
                return total_max, False
            looked_at += size
        return total, True

    async def _portions(self, span: Span, events_max: int) -> AsyncIterator[tuple[Span, int]]:
        """Yield the lead in portions that grow, each with its size; what matches often is found in the first."""
        limit, most = self._sizes
        left = events_max
        for window in windows(span, self._cuts, ascending=self._ascending):
            rest = window
            while True:
                limit = max(1, min(limit, most, left))
                size, last = await edge(self._connection, self._lead, rest, ascending=self._ascending, limit=limit)
                if last is None:
                    break
                if self._ascending:
                    yield Span(rest.low, last + b"\0"), size
                else:
                    yield Span(last, rest.high), size
                left -= size
                if size < limit:
                    break
                rest = rest.behind(last, ascending=self._ascending)
                limit *= 2

    async def _ids(self, portion: Span, count: int, deadline_s: float | None) -> list[bytes]:
        tables, bindings = await self._matching(portion, deadline_s)
        direction = "asc" if self._ascending else "desc"
        text = f"select e.id {tables} order by e.id {direction} limit ?"
        async with until(self._connection, deadline_s):
            return [row[0] for row in await rows_of(self._connection, text, (*bindings, count))]

    async def _number(self, portion: Span, size: int, deadline_s: float | None) -> int:
        if not self._is_open:
            # Each of the lead's entries is a match.
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise Halted
            return size
        tables, bindings = await self._matching(portion, deadline_s)
        async with until(self._connection, deadline_s):
            ((count,),) = await rows_of(self._connection, f"select count(*) {tables}", bindings)
            return int(count)

    async def _matching(self, portion: Span, deadline_s: float | None) -> tuple[str, tuple[Any, ...]]:
        """Return what follows the columns of a statement for the matches of a portion."""
        lead, bindings = self._lead.within(portion, ascending=self._ascending, limit=None)
        tables = self._meeting.tables.format(lead=lead)
        conditions = [*await self._named(lead, bindings, deadline_s), *self._meeting.conditions]
        text = " and ".join(each.text for each in conditions)
        return f"{tables} where {text}", (*bindings, *(value for each in conditions for value in each.bindings))

    async def _named(self, lead: str, bindings: tuple[Any, ...], deadline_s: float | None) -> list[Condition]:
        """Return the patterns as conditions: which names of this portion's events they match."""
        found: list[Condition] = []
        rows = ROWS_OF_LEAD.format(lead=lead)
        for aspect, patterns in self._patterns.items():
            text = f"select distinct e.{aspect} {rows} where e.{aspect} is not null"
            async with until(self._connection, deadline_s):
                names = [row[0] for row in await rows_of(self._connection, text, bindings)]
            found.append(among(f"e.{Aspect(aspect)}", matching(patterns, names)))
        return found


@asynccontextmanager
async def until(connection: Connection, deadline_s: float | None) -> AsyncIterator[None]:
    """Stop what runs at the deadline; what the transaction read before stays, and it can read on.

    Args:
        deadline_s: by the monotonic clock; None stops nothing.

    Raises:
        Halted: it was stopped, or begun too late.
    """
    if deadline_s is None:
        yield
        return
    left_ms = round((deadline_s - time.monotonic()) * 1000)
    if left_ms <= 0:
        raise Halted
    await connection.execute(f"savepoint portion; set local statement_timeout = {left_ms}")
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        if time.monotonic() < deadline_s - 0.001:
            raise
        await connection.execute("rollback to savepoint portion")
        raise Halted from error
    await connection.execute("release savepoint portion; set local statement_timeout to default")


def _last_of(portion: Span, *, ascending: bool) -> bytes:
    return portion.high[:-1] if ascending else portion.low
