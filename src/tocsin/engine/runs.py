"""Runs of started events, which a consumer group that looks for unstarted ones steps over at once."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from tocsin.core.identifiers import first_id_at
from tocsin.engine.rows import Page, StandingQuery

T = TypeVar("T")

_END = b"\xff" * 17
"""Behind every id."""

RUN_MIN = 16
"""Started events in a row that are worth remembering; so many may have to be looked at for each unstarted one."""

LEARNT_MAX = 256
"""Runs that one search remembers, so that writing them down holds up nobody; the next one remembers further ones."""

Run = tuple[bytes, bytes]
"""The first id, and the first behind the last."""


class Lesson(msgspec.Struct, frozen=True):
    """Runs of started events that a search came across.

    Attributes:
        name: organisation, consumer group, type and environment.
        seen_seq: up to where in the order of commits the search could see every event.
    """

    name: tuple[Any, ...]
    seen_seq: int
    runs: list[Run]


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


class Streak:
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
        return self._added >= RUN_MIN or self._joined > 1

    @property
    def run(self) -> Run:
        assert self._first is not None
        return self._first, self._end


class Found(msgspec.Struct, Generic[T], frozen=True):
    """A page, and what the search learnt for the next one."""

    page: Page[T]
    lesson: Lesson | None = None


def window_of(query: StandingQuery, *, limit: int, cursor: bytes | None, offset: int) -> Window:
    """Return which part of the list is asked for."""
    return Window(
        since=b"" if query.since_ms is None else first_id_at(query.since_ms),
        until=_END if query.until_ms is None else first_id_at(query.until_ms + 1),
        limit=limit,
        cursor=cursor,
        offset=offset,
    )
