"""Searching events: from the index that has the fewest to look at, a portion at a time, within bounds.

Where events lie in several parts, each part is searched by itself, with its share of the bounds, and what was found
is put in order. A part that stopped at a bound has said nothing of what lies behind: the page ends at the nearest of
such stops.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from typing import Any

import asyncpg
import msgspec

from tocsin.engine.bounds import ScanBounds
from tocsin.engine.listing import TOTAL_MAX, event_row_of
from tocsin.engine.postgres.leads import ROWS_OF_LEAD, Lead, choose, edge, meet
from tocsin.engine.postgres.listings import EVENT_WITHOUT_DATA_WITH_STATUS
from tocsin.engine.postgres.payloads import with_data
from tocsin.engine.postgres.reading import Reader, readers_of, rows_by_ids
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
    prepared = [(reader, await prepare(reader, query)) for reader in readers_of(connection)]
    hopeful = [(reader, wanted) for reader, wanted in prepared if not wanted.is_hopeless]
    if not hopeful:
        return Page(rows=[], next_cursor=None, total=0)
    whole = hopeful[0][1].span
    span = whole if cursor is None else whole.behind(cursor, ascending=query.ascending)
    between = await cuts(connection)
    events_max = max(1, bounds.events_max // len(hopeful))
    scans = [
        _Scan(reader, wanted, await choose(reader, wanted, span, between), events_max, cuts=between)
        for reader, wanted in hopeful
    ]
    looks = _Shares(bounds.time_max_s, len(scans))
    looked = _Looked(query.ascending)
    for scan in scans:
        with looks.next() as time_max_s:
            looked.add(*await scan.find(span, count=offset + limit + 1, time_max_s=time_max_s))
    found, stopped_at = looked.first(offset + limit + 1)
    found = found[offset:]
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
    if is_whole and looked.count <= TOTAL_MAX and (stopped_at is None or not query.thorough):
        # Everything was gone through already, as far as the bounds let it.
        return msgspec.structs.replace(page, total=looked.count, total_is_exact=stopped_at is None)
    total, is_exact = await _total(scans, whole, bounds, thorough=query.thorough)
    return msgspec.structs.replace(page, total=total, total_is_exact=is_exact)


async def _rows(connection: Connection, query: EventQuery, ids: Sequence[bytes]) -> list[EventRow]:
    read = await rows_by_ids(connection, EVENT_WITHOUT_DATA_WITH_STATUS, ids, query.organisation_id)
    found = {row[0]: event_row_of(row) for row in read}
    # What hangs on an event may outlive it by a little.
    return [found[each] for each in ids if each in found]


async def _total(scans: Sequence[_Scan], span: Span, bounds: ScanBounds, *, thorough: bool) -> tuple[int, bool]:
    """Return how many match, and whether that is all of them: ``TOTAL_MAX`` at the most, unless ``thorough``."""
    shares = _Shares(bounds.thorough_count_max_s if thorough else bounds.count_max_s, len(scans))
    total, is_exact = 0, True
    for scan in scans:
        with shares.next() as time_max_s:
            count, is_all = await scan.count(span, thorough=thorough, time_max_s=time_max_s)
        total, is_exact = total + count, is_exact and is_all
        if total > TOTAL_MAX and not thorough:
            return TOTAL_MAX, False
    return total, is_exact


class _Looked:
    """What was found in each part, in order, and where bounds stopped the search of some."""

    def __init__(self, ascending: bool) -> None:
        self._ascending = ascending
        self._found: list[list[bytes]] = []
        self._stops: list[bytes] = []

    def add(self, found: list[bytes], stopped_at: bytes | None) -> None:
        """Add a part's."""
        self._found.append(found)
        if stopped_at is not None:
            self._stops.append(stopped_at)

    @property
    def count(self) -> int:
        """How many were found in all."""
        return sum(map(len, self._found))

    def first(self, count: int) -> tuple[list[bytes], bytes | None]:
        """Return the first ids up to the nearest stop, and that stop where there are fewer up to there."""
        if len(self._found) == 1:
            return self._found[0], self._stops[0] if self._stops else None
        found = sorted(chain.from_iterable(self._found), reverse=not self._ascending)
        if not self._stops:
            return found[:count], None
        stop = min(self._stops) if self._ascending else max(self._stops)
        found = [each for each in found if (each <= stop if self._ascending else each >= stop)]
        return (found[:count], None) if len(found) >= count else (found, stop)


class _Shares:
    """Deals a bound on time out to the parts: each gets as much as the others, and what it leaves goes to them."""

    def __init__(self, time_s: float, parts: int) -> None:
        self._left_s = time_s
        self._parts = parts

    @contextmanager
    def next(self) -> Iterator[float]:
        """Give the next part's share in seconds."""
        began_s = time.monotonic()
        yield self._left_s / self._parts
        self._left_s = max(0.0, self._left_s - (time.monotonic() - began_s))
        self._parts -= 1


class _Scan:
    """Goes along a lead and keeps what fulfils the conditions that the lead leaves open."""

    def __init__(self, reader: Reader, wanted: Wanted, lead: Lead, events_max: int, *, cuts: Sequence[bytes]) -> None:
        self._reader = reader
        self._cuts = cuts
        self._lead = lead
        self._events_max = events_max
        self._ascending = wanted.query.ascending
        self._patterns = wanted.patterns
        self._meeting = meet(lead, wanted)
        self._is_open = bool(self._meeting.conditions or self._patterns)
        self._sizes = _PORTIONS if wanted.query.text is None else _TEXT_PORTIONS

    async def find(self, span: Span, *, count: int, time_max_s: float) -> tuple[list[bytes], bytes | None]:
        """Return the first ids, and where a bound stopped the search before it had so many."""
        if not self._is_open:
            return await self._first(span, count), None
        return await self._find(span, count, time_max_s)

    async def _first(self, span: Span, count: int) -> list[bytes]:
        """Return the first of the lead's entries."""
        found: list[bytes] = []
        for window in windows(span, self._cuts, ascending=self._ascending):
            text, bindings = self._lead.within(window, ascending=self._ascending, limit=count - len(found))
            found += [row[0] for row in await self._reader.rows_of(text, bindings)]
            if len(found) >= count:
                break
        return found

    async def _find(self, span: Span, count: int, time_max_s: float) -> tuple[list[bytes], bytes | None]:
        found: list[bytes] = []
        looked_at, reached = 0, None
        deadline_s = time.monotonic() + time_max_s
        async for portion, size in self._portions(span, self._events_max):
            if looked_at >= self._events_max:
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

    async def count(self, span: Span, *, thorough: bool, time_max_s: float) -> tuple[int, bool]:
        """Return how many match, and whether that is all of them: ``TOTAL_MAX`` at the most, unless ``thorough``."""
        if thorough:
            return await self._count(span, sys.maxsize, sys.maxsize, time_max_s)
        if not self._is_open:
            total = await self._number_to(span, TOTAL_MAX + 1)
            return min(total, TOTAL_MAX), total <= TOTAL_MAX
        return await self._count(span, TOTAL_MAX, self._events_max, time_max_s)

    async def _number_to(self, span: Span, limit: int) -> int:
        """Return how many entries the lead has, up to a limit."""
        total = 0
        for window in windows(span, self._cuts, ascending=self._ascending):
            text, bindings = self._lead.within(window, ascending=self._ascending, limit=limit - total)
            ((count,),) = await self._reader.rows_of(f"select count(*) from ({text}) as entries", bindings)
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
                size, last = await edge(self._reader, self._lead, rest, ascending=self._ascending, limit=limit)
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
        async with until(self._reader.connection, deadline_s):
            return [row[0] for row in await self._reader.rows_of(text, (*bindings, count))]

    async def _number(self, portion: Span, size: int, deadline_s: float | None) -> int:
        if not self._is_open:
            # Each of the lead's entries is a match.
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise Halted
            return size
        tables, bindings = await self._matching(portion, deadline_s)
        async with until(self._reader.connection, deadline_s):
            ((count,),) = await self._reader.rows_of(f"select count(*) {tables}", bindings)
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
            async with until(self._reader.connection, deadline_s):
                names = [row[0] for row in await self._reader.rows_of(text, bindings)]
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
