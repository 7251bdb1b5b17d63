"""Searching events: from the index that has the fewest to look at, a portion at a time, within bounds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import msgspec

from tocsin.engine.bounds import ScanBounds
from tocsin.engine.listing import TOTAL_MAX, event_row_of
from tocsin.engine.rows import EventQuery, EventRow, Page
from tocsin.engine.sqlite.leads import Lead, choose, edge, meet
from tocsin.engine.sqlite.listings import SPELLING
from tocsin.engine.sqlite.payloads import with_data
from tocsin.engine.sqlite.wanted import among, prepare
from tocsin.engine.wanted import Aspect, Condition, Span, Wanted, matching

_PORTIONS = (256, 8_192)
"""Entries of the first portion, and of the largest."""

_TEXT_PORTIONS = (64, 512)
"""The same where payloads are read, which may be a mebibyte each."""

_STEPS_BETWEEN_CHECKS = 2_000
"""Virtual machine steps between two looks at the clock; few, since one step may go through a whole payload."""

_WATCH = "tocsin scan"
_ROW_MARKS = (4, 16, 64, 128)
"""Sizes of the statement that reads rows; few, so that each stays prepared."""


class Halted(Exception):
    """The time for a portion ran out."""


def search_events(
    connection: apsw.Connection,
    query: EventQuery,
    *,
    limit: int,
    cursor: bytes | None,
    offset: int,
    bounds: ScanBounds,
) -> Page[EventRow]:
    """Return one page of events; where a bound was reached, what was found by then and how to go on."""
    wanted = prepare(connection, query)
    if wanted.is_hopeless:
        return Page(rows=[], next_cursor=None, total=0)
    span = wanted.span if cursor is None else wanted.span.behind(cursor, ascending=query.ascending)
    scan = _Scan(connection, wanted, choose(connection, wanted, span), bounds)
    found, stopped_at = scan.find(span, offset=offset, count=limit + 1)
    rows = _rows(connection, query, found[:limit])
    if query.with_data:
        rows = with_data(connection, query.organisation_id, rows, bounds.page_bytes_max)
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
    total, is_exact = scan.count(wanted.span, thorough=query.thorough)
    return msgspec.structs.replace(page, total=total, total_is_exact=is_exact)


def _rows(connection: apsw.Connection, query: EventQuery, ids: Sequence[bytes]) -> list[EventRow]:
    columns = f"{SPELLING.event_without_data}, {SPELLING.status}"
    found: dict[bytes, EventRow] = {}
    start = 0
    while start < len(ids):
        part = ids[start : start + _ROW_MARKS[-1]]
        start += len(part)
        size = next(each for each in _ROW_MARKS if each >= len(part))
        marks = ",".join("?" * size)
        # The plus: of many ids SQLite would think that going through all of the organisation's is less.
        text = f"select {columns} from event e where +e.organisation_id = ? and e.id in ({marks})"
        # Repeating the last id fills the statement up and adds no row.
        bindings = (query.organisation_id, *part, *[part[-1]] * (size - len(part)))
        found.update((row[0], event_row_of(row)) for row in connection.execute(text, bindings))
    return [found[each] for each in ids]


class _Scan:
    """Goes along a lead and keeps what fulfils the conditions that the lead leaves open."""

    def __init__(self, connection: apsw.Connection, wanted: Wanted, lead: Lead, bounds: ScanBounds) -> None:
        self._connection = connection
        self._lead = lead
        self._bounds = bounds
        self._ascending = wanted.query.ascending
        self._patterns = wanted.patterns
        self._meeting = meet(lead, wanted)
        self._is_open = bool(self._meeting.conditions or self._patterns)
        self._sizes = _PORTIONS if wanted.query.text is None else _TEXT_PORTIONS

    def find(self, span: Span, *, offset: int, count: int) -> tuple[list[bytes], bytes | None]:
        """Return the first ids behind ``offset`` others, and where a bound stopped the search before it had them."""
        if not self._is_open:
            text, bindings = self._lead.within(span, ascending=self._ascending, limit=count)
            return [row[0] for row in self._connection.execute(f"{text} offset ?", (*bindings, offset))], None
        found, stopped_at = self._find(span, offset + count)
        return found[offset:], stopped_at

    def _find(self, span: Span, count: int) -> tuple[list[bytes], bytes | None]:
        found: list[bytes] = []
        looked_at, reached = 0, None
        deadline_s = time.monotonic() + self._bounds.time_max_s
        for portion, size in self._portions(span, self._bounds.events_max):
            if looked_at >= self._bounds.events_max:
                return found, reached
            try:
                # The first goes through whatever the time, so that whoever goes on comes further.
                room = min(count - len(found), size)
                found += self._ids(portion, room, deadline_s if looked_at else None)
            except Halted:
                return found, reached
            if len(found) >= count:
                return found, None
            looked_at += size
            reached = _last_of(portion, ascending=self._ascending)
        return found, None

    def count(self, span: Span, *, thorough: bool) -> tuple[int, bool]:
        """Return how many match, and whether that is all of them: ``TOTAL_MAX`` at the most, unless ``thorough``."""
        if thorough:
            return self._count(span, sys.maxsize, sys.maxsize, self._bounds.thorough_count_max_s)
        if not self._is_open:
            text, bindings = self._lead.within(span, ascending=self._ascending, limit=TOTAL_MAX + 1)
            total = int(self._connection.execute(f"select count(*) from ({text})", bindings).get)
            return min(total, TOTAL_MAX), total <= TOTAL_MAX
        return self._count(span, TOTAL_MAX, self._bounds.events_max, self._bounds.count_max_s)

    def _count(self, span: Span, total_max: int, events_max: int, time_max_s: float) -> tuple[int, bool]:
        total = looked_at = 0
        deadline_s = time.monotonic() + time_max_s
        for portion, size in self._portions(span, events_max):
            if looked_at >= events_max:
                return total, False
            try:
                total += self._number(portion, size, deadline_s if looked_at else None)
            except Halted:
                return total, False
            if total > total_max:
                return total_max, False
            looked_at += size
        return total, True

    def _portions(self, span: Span, events_max: int) -> Iterator[tuple[Span, int]]:
        """Yield the lead in portions that grow, each with its size; what matches often is found in the first."""
        limit, most = self._sizes
        left = events_max
        while True:
            limit = max(1, min(limit, most, left))
            size, last = edge(self._connection, self._lead, span, ascending=self._ascending, limit=limit)
            if last is None:
                return
            if self._ascending:
                yield Span(span.low, last + b"\0"), size
            else:
                yield Span(last, span.high), size
            if size < limit:
                return
            span = span.behind(last, ascending=self._ascending)
            left -= size
            limit *= 2

    def _ids(self, portion: Span, count: int, deadline_s: float | None) -> list[bytes]:
        tables, bindings = self._matching(portion, deadline_s)
        direction = "asc" if self._ascending else "desc"
        text = f"select e.id {tables} order by e.id {direction} limit ?"
        with until(self._connection, deadline_s):
            return [row[0] for row in self._connection.execute(text, (*bindings, count))]

    def _number(self, portion: Span, size: int, deadline_s: float | None) -> int:
        if not self._is_open:
            # Each of the lead's entries is a match.
            with until(self._connection, deadline_s):
                return size
        tables, bindings = self._matching(portion, deadline_s)
        with until(self._connection, deadline_s):
            return int(self._connection.execute(f"select count(*) {tables}", bindings).get)

    def _matching(self, portion: Span, deadline_s: float | None) -> tuple[str, tuple[Any, ...]]:
        """Return what follows the columns of a statement for the matches of a portion."""
        lead, bindings = self._lead.within(portion, ascending=self._ascending, limit=-1)
        tables = self._meeting.tables.format(lead=lead)
        conditions = [*self._named(lead, bindings, deadline_s), *self._meeting.conditions]
        text = " and ".join(each.text for each in conditions)
        return f"{tables} where {text}", (*bindings, *(value for each in conditions for value in each.bindings))

    def _named(self, lead: str, bindings: tuple[Any, ...], deadline_s: float | None) -> list[Condition]:
        """Return the patterns as conditions: which names of this portion's events they match."""
        found: list[Condition] = []
        rows = f"from ({lead}) l cross join event e on {self._lead.joins_on}"
        for aspect, patterns in self._patterns.items():
            text = f"select json_group_array(distinct e.{aspect}) {rows} where e.{aspect} is not null"
            with until(self._connection, deadline_s):
                names: list[str] = json.loads(self._connection.execute(text, bindings).get)
            found.append(among(f"e.{Aspect(aspect)}", matching(patterns, names)))
        return found


@contextmanager
def until(connection: apsw.Connection, deadline_s: float | None) -> Iterator[None]:
    """Stop what runs at the deadline; the engine's own bound on every read stands beside it.

    Args:
        deadline_s: by the monotonic clock; None stops nothing.

    Raises:
        Halted: it was stopped, or begun too late.
    """
    if deadline_s is None:
        yield
        return
    is_late = False

    def late() -> bool:
        nonlocal is_late
        is_late = is_late or time.monotonic() > deadline_s
        return is_late

    if late():
        raise Halted
    connection.set_progress_handler(late, _STEPS_BETWEEN_CHECKS, id=_WATCH)
    try:
        yield
    except apsw.InterruptError:
        if is_late:
            raise Halted from None
        raise
    finally:
        connection.set_progress_handler(None, id=_WATCH)


def _last_of(portion: Span, *, ascending: bool) -> bytes:
    return portion.high[:-1] if ascending else portion.low
