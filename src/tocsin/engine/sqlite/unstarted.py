"""Events that a consumer group has not started: cheap on any history, by stepping over runs of started ones."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import chain, islice
from typing import Any

import apsw

from tocsin.engine.listing import TOTAL_MAX
from tocsin.engine.rows import StandingQuery
from tocsin.engine.runs import LEARNT_MAX, Lesson, Listed, Run, Streak, Window
from tocsin.engine.sqlite.sql import SQL, first

_PORTION = 500
"""Rows read at once."""


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
        counted = list(islice(ids, TOTAL_MAX + 1)) if query.counted else []
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
        self._learnt: list[Run] = []

    def lesson(self) -> Lesson | None:
        return Lesson(self._name, self._seen_seq, self._learnt) if self._learnt else None

    def ids(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Give the ids that the group may start, from ``start`` up to, not including, ``end``."""
        lapsed = self._events("lapsed", start, end, self._now_ms)
        return merge(self._waiting(start, end), (row[0] for row in lapsed))

    def _waiting(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Give the ids without a transaction; runs are stepped over, and new ones remembered."""
        position = start
        streak = Streak()
        try:
            for first_id, end_id in chain(self._runs(start, end), [(end, end)]):
                for event_id, started in self._events("looked_at", position, first_id):
                    if started:
                        streak.add(event_id)
                        continue
                    self._keep(streak)
                    streak = Streak()
                    yield event_id
                if end_id > position and first_id < end:
                    streak.join(first_id, end_id)
                    position = end_id
        finally:
            self._keep(streak)

    def _runs(self, start: bytes, end: bytes) -> Iterator[Run]:
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

    def _keep(self, streak: Streak) -> None:
        if streak.worth_keeping and len(self._learnt) < LEARNT_MAX:
            self._learnt.append(streak.run)
