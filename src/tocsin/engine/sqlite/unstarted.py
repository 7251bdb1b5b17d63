"""Events that a consumer group has not started: cheap on any history, by stepping over runs of started ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from typing import Any, Generic, TypeVar

import apsw
import msgspec

from tocsin.core.event import Event
from tocsin.core.identifiers import EventId, first_id_at
from tocsin.engine.codec import event_of
from tocsin.engine.rows import Page, UnstartedQuery
from tocsin.engine.sqlite.sql import SQL, fetch_by_marks, first

T = TypeVar("T")

TOTAL_MAX = 10_000
"""Up to how many matches are counted."""

_RUN_MIN = 16
"""Started events in a row that are worth remembering; so many may have to be looked at for each unstarted one."""

_END = b"\xff" * 17
"""Behind every id."""

_Run = tuple[bytes, bytes]
"""The first id, and the first behind the last."""


class Lesson(msgspec.Struct, frozen=True):
    """Runs of started events that a search came across.

    Attributes:
        name: organisation, consumer group, type and environment.
        seen_seq: the newest event that the search could see.
    """

    name: tuple[Any, ...]
    seen_seq: int
    runs: list[_Run]


class Found(msgspec.Struct, Generic[T], frozen=True):
    """A page, and what the search learnt for the next one."""

    page: Page[T]
    lesson: Lesson | None = None


def unstarted(
    connection: apsw.Connection,
    query: UnstartedQuery,
    *,
    limit: int,
    cursor: bytes | None,
    offset: int,
    now_ms: int,
) -> Found[Event]:
    """List events without a transaction of the group, and those whose transaction lapsed, oldest first."""
    walk = _Walk(connection, query)
    since = b"" if query.since_ms is None else first_id_at(query.since_ms)
    until = _END if query.until_ms is None else first_id_at(query.until_ms + 1)
    waiting = walk.collect(since, until, TOTAL_MAX + 1)
    lapsed = walk.lapsed(since, until, now_ms)
    total = len(waiting) + len(lapsed)
    wanted = offset + limit + 1
    behind = waiting if cursor is None else waiting[bisect_right(waiting, cursor) :]
    if len(waiting) > TOTAL_MAX and len(behind) < wanted:
        behind = walk.collect(since if cursor is None else max(since, cursor + b"\0"), until, wanted)
    if cursor is not None:
        lapsed = lapsed[bisect_right(lapsed, cursor) :]
    ids = sorted(behind[:wanted] + lapsed)[offset:]
    page = Page(
        rows=_events(connection, ids[:limit]),
        next_cursor=ids[limit - 1] if len(ids) > limit > 0 else None,
        total=min(total, TOTAL_MAX),
        total_is_exact=total <= TOTAL_MAX,
    )
    return Found(page, walk.lesson())


def learn(connection: apsw.Connection, lesson: Lesson) -> None:
    """Remember the runs, but for those in which an event was stored since they were found."""
    for first_id, end_id in lesson.runs:
        if first(connection, "came_since", lesson.seen_seq, *_without_key(lesson.name), first_id, end_id) is not None:
            continue
        within = connection.execute(SQL["take_runs_within"], (*lesson.name, first_id, end_id)).fetchall()
        ends: list[Any] = [end_id, *(row[0] for row in within)]
        connection.execute(SQL["save_run"], (*lesson.name, first_id, max(ends)))


def _without_key(name: tuple[Any, ...]) -> tuple[Any, ...]:
    return name[0], name[2], name[3]


def _events(connection: apsw.Connection, ids: list[bytes]) -> list[Event]:
    found = {row[0]: event_of(row) for row in fetch_by_marks(connection, "events_by_id", (), ids)}
    return [found[EventId(each)] for each in ids]


class _Walk:
    """Goes through the events of one type in order, from run to run."""

    def __init__(self, connection: apsw.Connection, query: UnstartedQuery) -> None:
        self._connection = connection
        self._query = query
        self._name = (query.organisation_id, query.tx_key, query.type, query.environment.value)
        self._of_group = (query.tx_key, query.organisation_id, query.type, query.environment.value)
        row = first(connection, "newest_event")
        self._seen_seq = 0 if row is None else int(row[0])
        self._learnt: list[_Run] = []
        self._streak = _Streak()

    def lesson(self) -> Lesson | None:
        return Lesson(self._name, self._seen_seq, self._learnt) if self._learnt else None

    def lapsed(self, start: bytes, end: bytes, now_ms: int) -> list[bytes]:
        rows = self._connection.execute(SQL["lapsed_between"], (*self._of_group, start, end, now_ms))
        return [row[0] for row in rows]

    def collect(self, start: bytes, end: bytes, count_max: int) -> list[bytes]:
        """Return up to that many ids without a transaction, from ``start`` up to, not including, ``end``."""
        found: list[bytes] = []
        position = start
        runs: Iterator[_Run] = self._connection.execute(SQL["runs_of"], (*self._name, start, end))
        for first_id, end_id in chain(runs, [(end, end)]):
            if first_id > position:
                self._look(position, first_id, found, count_max)
            if len(found) >= count_max or first_id == end:
                break
            if end_id > position:
                self._streak.join(first_id, end_id)
                position = end_id
        self._end_streak()
        return found

    def _look(self, start: bytes, end: bytes, found: list[bytes], count_max: int) -> None:
        for event_id, started in self._connection.execute(SQL["started_between"], (*self._of_group, start, end)):
            if started:
                self._streak.add(event_id)
                continue
            self._end_streak()
            found.append(event_id)
            if len(found) >= count_max:
                return

    def _end_streak(self) -> None:
        if self._streak.worth_keeping:
            self._learnt.append(self._streak.run)
        self._streak = _Streak()


class _Streak:
    """Started events in a row, some of them in runs that are known already."""

    def __init__(self) -> None:
        self._first: bytes | None = None
        self._end = b""
        self._added = 0
        self._joined = 0

    def add(self, event_id: bytes) -> None:
        if self._first is None:
            self._first = event_id
        self._end = event_id + b"\0"
        self._added += 1

    def join(self, first_id: bytes, end_id: bytes) -> None:
        if self._first is None:
            self._first = first_id
        self._end = max(self._end, end_id)
        self._joined += 1

    @property
    def worth_keeping(self) -> bool:
        return self._added >= _RUN_MIN or self._joined > 1

    @property
    def run(self) -> _Run:
        assert self._first is not None
        return self._first, self._end
