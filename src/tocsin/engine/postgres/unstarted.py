"""Events that a consumer group has not started: cheap on any history, by stepping over runs of started ones."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from heapq import heapify, heappop, heapreplace
from typing import Any

from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import first_id_at
from tocsin.engine.listing import TOTAL_MAX
from tocsin.engine.postgres.positions import settled_bound
from tocsin.engine.postgres.reading import Reader, readers_of
from tocsin.engine.postgres.runs import GATE, OPEN_MAX_S, SETTLED_MS
from tocsin.engine.postgres.sql import Connection, Row, fetch, fetch_each_part, lock_gate
from tocsin.engine.rows import StandingQuery
from tocsin.engine.runs import LEARNT_MAX, Lesson, Listed, Run, Streak, Window

_PORTION = 500
"""Rows read at once; of several parts each gives its share of them, but no fewer than ``_PORTION_MIN``."""

_PORTION_MIN = 50


class Halted(Unavailable):
    """The search took too long; what it learnt lets the next one come further.

    Attributes:
        lesson: None where it learnt nothing.
    """

    def __init__(self, lesson: Lesson | None) -> None:
        super().__init__("the search took too long; narrow it down", code="search_too_long")
        self.lesson = lesson


class _Late(Exception):
    """The time is over."""


async def unstarted(
    connection: Connection, query: StandingQuery, window: Window, *, now_ms: int, time_max_s: float
) -> Listed:
    """List events without a transaction of the group, and those whose transaction lapsed, oldest first.

    Raises:
        Halted: it took too long.
    """
    # Before anything is read: what lies below can be seen from here on, on every node.
    seen_seq = await settled_bound(connection)
    walk = _Walk(connection, query, now_ms, deadline_s=time.monotonic() + time_max_s)
    try:
        total, page = await _counted(walk, window) if query.counted else (0, [])
        if not query.counted or window.cursor is not None or total > TOTAL_MAX:
            page = await _page(walk, window)
    except _Late:
        raise Halted(walk.lesson(seen_seq)) from None
    return Listed(ids=page, total=total, lesson=walk.lesson(seen_seq))


async def _counted(walk: _Walk, window: Window) -> tuple[int, list[bytes]]:
    """Return how many there are, up to ``TOTAL_MAX`` and one more, and what of the page is among them."""
    total = 0
    page: list[bytes] = []
    async with aclosing(walk.ids(window.since, window.until)) as ids:
        async for event_id in ids:
            if window.offset <= total <= window.offset + window.limit:
                page.append(event_id)
            total += 1
            if total > TOTAL_MAX:
                break
    return total, page


async def _page(walk: _Walk, window: Window) -> list[bytes]:
    # One by one: however far off a page is, no more is kept than its own ids.
    page: list[bytes] = []
    place = 0
    async with aclosing(walk.ids(window.start, window.until)) as ids:
        async for event_id in ids:
            if place >= window.offset:
                page.append(event_id)
            place += 1
            if len(page) > window.limit:
                break
    return page


async def learn(connection: Connection, lesson: Lesson, *, open_max_s: float = OPEN_MAX_S) -> None:
    """Remember the runs, but for those in which an event was stored since they were found.

    Args:
        connection: in a transaction. Whoever stores an event that is as old as a run holds the same gate, so that it
            is either seen here, or sees the run and cuts it.
        open_max_s: where a transaction has been under way for longer, nothing is remembered.
    """
    await lock_gate(connection, GATE)
    ((is_late,),) = await fetch(connection, "is_one_open_for", open_max_s)
    if is_late:
        return
    for first_id, end_id in lesson.runs:
        came = await fetch_each_part(connection, "came_since", lesson.seen_seq, *lesson.name, first_id, end_id)
        if any(row[0] for row in came):
            continue
        within = await fetch(connection, "take_runs_within", *lesson.name, first_id, end_id)
        ends = [end_id, *(row[0] for row in within)]
        await fetch(connection, "save_run", *lesson.name, first_id, max(ends))


class _Walk:
    """Goes through the events of one type in order, from run to run.

    Args:
        deadline_s: by the monotonic clock.
    """

    def __init__(self, connection: Connection, query: StandingQuery, now_ms: int, *, deadline_s: float) -> None:
        self._connection = connection
        self._readers = readers_of(connection)
        self._portion = max(_PORTION_MIN, _PORTION // len(self._readers))
        self._name = (query.organisation_id, query.tx_key, query.type, query.environment.value)
        self._now_ms = now_ms
        self._deadline_s = deadline_s
        self._has_moved = False
        self._streak = Streak()
        self._learnt: list[Run] = []

    def lesson(self, seen_seq: int) -> Lesson | None:
        """Return the runs that were found, as far as they are old enough to be kept; None without any.

        Args:
            seen_seq: every event below this position was there to be seen.
        """
        self._end_streak()
        settled = first_id_at(self._now_ms - SETTLED_MS)
        runs = [(first_id, min(end_id, settled)) for first_id, end_id in self._learnt if first_id < settled]
        return Lesson(self._name, seen_seq, runs) if runs else None

    async def ids(self, start: bytes, end: bytes) -> AsyncGenerator[bytes, None]:
        """Give the ids that the group may start, from ``start`` up to, not including, ``end``."""
        async with (
            aclosing(self._events("lapsed", start, end, self._now_ms)) as lapsed,
            aclosing(self._waiting(start, end)) as waiting,
        ):
            row = await anext(lapsed, None)
            async for event_id in waiting:
                while row is not None and row[0] < event_id:
                    yield row[0]
                    row = await anext(lapsed, None)
                yield event_id
            while row is not None:
                yield row[0]
                row = await anext(lapsed, None)

    async def _waiting(self, start: bytes, end: bytes) -> AsyncGenerator[bytes, None]:
        """Give the ids without a transaction; runs are stepped over, and new ones remembered."""
        position = start
        self._end_streak()
        async with aclosing(self._runs(start, end)) as runs:
            async for first_id, end_id in runs:
                async with aclosing(self._events("looked_at", position, first_id)) as looked_at:
                    async for event_id, started in looked_at:
                        self._has_moved = True
                        if started:
                            self._streak.add(event_id)
                            continue
                        self._end_streak()
                        yield event_id
                if end_id > position and first_id < end:
                    self._streak.join(first_id, end_id)
                    position = end_id

    async def _runs(self, start: bytes, end: bytes) -> AsyncGenerator[Run, None]:
        """Give the known runs in order, one of them perhaps again, and at last the end."""
        while True:
            self._check_time()
            found = await fetch(self._connection, "runs_of", *self._name, start, end, _PORTION)
            for first_id, end_id in found:
                yield first_id, end_id
            if len(found) < _PORTION:
                yield end, end
                return
            start = found[-1][1]

    async def _events(self, name: str, start: bytes, end: bytes, *more: Any) -> AsyncGenerator[Row, None]:
        """Give a statement's rows in the order of the events' ids, with which they begin."""
        async with AsyncExitStack() as streams:
            heads: list[tuple[bytes, int, Row, AsyncGenerator[Row, None]]] = []
            for place, reader in enumerate(self._readers):
                stream = self._of_part(reader, name, start, end, *more)
                await streams.enter_async_context(aclosing(stream))
                row = await anext(stream, None)
                if row is not None:
                    heads.append((row[0], place, row, stream))
            heapify(heads)
            while heads:
                _, place, row, stream = heads[0]
                yield row
                following = await anext(stream, None)
                if following is None:
                    heappop(heads)
                else:
                    heapreplace(heads, (following[0], place, following, stream))

    async def _of_part(
        self, reader: Reader, name: str, start: bytes, end: bytes, *more: Any
    ) -> AsyncGenerator[Row, None]:
        """Give a statement's rows of one part."""
        while start < end:
            self._check_time()
            found = await reader.fetch(name, *self._name, start, end, self._portion, *more)
            for row in found:
                yield row
            if len(found) < self._portion:
                return
            start = found[-1][0] + b"\0"

    def _check_time(self) -> None:
        # Some events are looked at whatever the time, so that whoever comes again comes further.
        if self._has_moved and time.monotonic() > self._deadline_s:
            raise _Late

    def _end_streak(self) -> None:
        streak, self._streak = self._streak, Streak()
        if streak.worth_keeping and len(self._learnt) < LEARNT_MAX:
            self._learnt.append(streak.run)
