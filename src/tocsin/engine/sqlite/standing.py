"""Where a consumer group stands with events: a page of ids from an index, then all that is shown in one read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import apsw
import msgspec

from tocsin.core.identifiers import first_id_at
from tocsin.core.transaction import TransactionState
from tocsin.engine.codec import EVENT_COLUMNS, event_of
from tocsin.engine.rows import Page, StandingQuery, StandingRow, TransactionTally
from tocsin.engine.sqlite.sql import SQL, fetch_by_marks, first
from tocsin.engine.sqlite.transact import transaction_of
from tocsin.engine.sqlite.unstarted import TOTAL_MAX, Lesson, Listed, Window, unstarted

T = TypeVar("T")

_END = b"\xff" * 17
"""Behind every id."""

_EVENT_WIDTH = len(EVENT_COLUMNS)


class Found(msgspec.Struct, Generic[T], frozen=True):
    """A page, and what the search learnt for the next one."""

    page: Page[T]
    lesson: Lesson | None = None


def standings(
    connection: apsw.Connection, query: StandingQuery, *, limit: int, cursor: bytes | None, offset: int, now_ms: int
) -> Found[StandingRow]:
    """Return one page of events by where the group stands with them."""
    window = Window(
        since=b"" if query.since_ms is None else first_id_at(query.since_ms),
        until=_END if query.until_ms is None else first_id_at(query.until_ms + 1),
        limit=limit,
        cursor=cursor,
        offset=offset,
    )
    if query.state is None:
        listed = unstarted(connection, query, window, now_ms=now_ms)
    else:
        listed = _started(connection, query, query.state, window)
    shown = listed.ids[:limit]
    page = Page(
        rows=_rows(connection, query.tx_key, shown),
        next_cursor=shown[-1] if len(listed.ids) > limit > 0 else None,
        total=min(listed.total, TOTAL_MAX),
        total_is_exact=listed.total <= TOTAL_MAX,
    )
    return Found(page, listed.lesson)


def _started(connection: apsw.Connection, query: StandingQuery, state: TransactionState, window: Window) -> Listed:
    name = (query.organisation_id, query.tx_key, query.type, query.environment.value, state.value)
    counted = first(connection, "started_total", *name, window.since, window.until, TOTAL_MAX + 1)
    page = (window.start, window.until, window.limit + 1, window.offset)
    rows = connection.execute(SQL["started"], (*name, *page))
    return Listed(ids=[row[0] for row in rows], total=0 if counted is None else counted[0])


def _rows(connection: apsw.Connection, tx_key: str, ids: Sequence[bytes]) -> list[StandingRow]:
    found = {row[0]: _row(row) for row in fetch_by_marks(connection, "standings", (tx_key,), ids)}
    return [found[each] for each in ids]


def _row(row: Sequence[Any]) -> StandingRow:
    body, total, processing = row[_EVENT_WIDTH:]
    return StandingRow(
        event=event_of(row),
        transaction=None if body is None else transaction_of(body),
        tally=TransactionTally(total=total, processing=processing),
    )
