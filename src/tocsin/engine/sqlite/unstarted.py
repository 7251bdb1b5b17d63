"""Events that a consumer group has not started: cheap on any history, by stepping over runs of started ones."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import chain, islice
from typing import Any

import apsw
import msgspec

from tocsin.engine.rows import StandingQuery
from tocsin.engine.sqlite.sql import SQL, first

TOTAL_MAX = 10_000
"""Up to how many matches are counted."""

_RUN_MIN = 16
"""Started events in a row that are worth remembering; so many may have to be looked at for each unstarted one."""

_LEARNT_MAX = 256
"""Runs that one search remembers, so that writing them down holds up nobody; the next one remembers further ones."""

_PORTION = 500
"""Rows read at once."""

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


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is asked for.

    Attributes:
        since: the first id that may be listed.
        until: the first id that may not.
        cursor: the last id of the page before; any bytes, since clients may send what they like.
    """

    since: bytes
    until: bytes
    limit: int
    cursor: bytes | None
    offset: int

    @property
    def start(self) -> bytes:
        """The first id that the page may hold."""
        return self.since if self.cursor is None else max(self.since, self.cursor + b"\0")


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of a page of events.

    Attributes:
        ids: of the page, and of one more event where there is a next page.
        total: all that match; counted to ``TOTAL_MAX`` and one more.
        lesson: what the search learnt for the next one.
    """

    ids: list[bytes]
    total: int
    lesson: Lesson | None = None


class Halted(apsw.InterruptError):
    """The search took too long; what it learnt lets the next one come further.

    Attributes:
        lesson: None where it learnt nothing.
    """

    def __init__(self, lesson: Lesson | None) -> None:
        super().__init__("interrupted")
        self.lesson = lesson


def unstarted(connection: apsw.Connection, query: StandingQuery, window: Window, *, now_ms: int) -> Listed:
    """List events without a transaction of the group, and those whose transaction lapsed, oldest first.

    Raises:
        Halted: it took too long.
    """
    walk = _Walk(connection, query, now_ms)
    try:
        ids = walk.ids(window.since, window.until)
        counted = list(islice(ids, TOTAL_MAX + 1))
        # One by one past what is counted: however far off a page is, no more is kept than its own ids.
        ids = chain(counted, ids) if window.cursor is None else walk.ids(window.start, window.until)
        page = list(islice(ids, window.offset, window.offset + window.limit + 1))
    except apsw.InterruptError as error:
        raise Halted(walk.lesson()) from error
    return Listed(ids=page, total=len(counted), lesson=walk.lesson())


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


class _Walk:
    """Goes through the events of one type in order, from run to run."""

    def __init__(self, connection: apsw.Connection, query: StandingQuery, now_ms: int) -> None:
        self._connection = connection
        self._name = (query.organisation_id, query.tx_key, query.type, query.environment.value)
        self._now_ms = now_ms
        row = first(connection, "newest_event")
        self._seen_seq = 0 if row is None else int(row[0])
        self._learnt: list[_Run] = []

    def lesson(self) -> Lesson | None:
        return Lesson(self._name, self._seen_seq, self._learnt) if self._learnt else None

    def ids(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Give the ids that the group may start, from ``start`` up to, not including, ``end``."""
        lapsed = self._events("lapsed", start, end, self._now_ms)
        return merge(self._waiting(start, end), (row[0] for row in lapsed))

    def _waiting(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Give the ids without a transaction; runs are stepped over, and new ones remembered."""
        position = start
        streak = _Streak()
        try:
            for first_id, end_id in chain(self._runs(start, end), [(end, end)]):
                for event_id, started in self._events("looked_at", position, first_id):
                    if started:
                        streak.add(event_id)
                        continue
                    self._keep(streak)
                    streak = _Streak()
                    yield event_id
                if end_id > position and first_id < end:
                    streak.join(first_id, end_id)
                    position = end_id
        finally:
            self._keep(streak)

    def _runs(self, start: bytes, end: bytes) -> Iterator[_Run]:
        """Give the known runs in order, one of them perhaps again."""
        while True:
            found = self._portion("runs_of", start, end)
            yield from found
            if len(found) < _PORTION:
                return
            start = found[-1][1]

    def _events(self, name: str, start: bytes, end: bytes, *more: Any) -> Iterator[tuple[Any, ...]]:
        """Give a statement's rows, each of which begins with an event's id."""
        while start < end:
            found = self._portion(name, start, end, *more)
            yield from found
            if len(found) < _PORTION:
                return
            start = found[-1][0] + b"\0"

    def _portion(self, name: str, start: bytes, end: bytes, *more: Any) -> list[Any]:
        """Return the next rows; no statement stays open between two of them, and with it an old snapshot."""
        return self._connection.execute(SQL[name], (*self._name, start, end, _PORTION, *more)).fetchall()

    def _keep(self, streak: _Streak) -> None:
        if streak.worth_keeping and len(self._learnt) < _LEARNT_MAX:
            self._learnt.append(streak.run)


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
