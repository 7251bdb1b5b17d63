"""Where a consumer group stands with events: a page of ids from an index, then all that is shown in one read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from tocsin.core.transaction import TransactionState
from tocsin.engine.codec import EVENT_COLUMNS, event_of, transaction_of
from tocsin.engine.listing import TOTAL_MAX
from tocsin.engine.rows import Page, StandingQuery, StandingRow, TransactionTally
from tocsin.engine.runs import Found, Listed, Window
from tocsin.engine.sqlite.payloads import with_data
from tocsin.engine.sqlite.sql import SQL, fetch_by_marks, first
from tocsin.engine.sqlite.unstarted import unstarted

_EVENT_WIDTH = len(EVENT_COLUMNS)


def standings(
    connection: apsw.Connection, query: StandingQuery, window: Window, *, now_ms: int, page_bytes_max: int
) -> Found[StandingRow]:
    """Return one page of events by where the group stands with them."""
    if query.state is None:
        listed = unstarted(connection, query, window, now_ms=now_ms)
    else:
        listed = _started(connection, query, query.state, window)
    rows = _rows(connection, query.tx_key, listed.ids[: window.limit])
    rows = with_data(connection, query.organisation_id, rows, page_bytes_max)
    page = Page(
        rows=rows,
        next_cursor=rows[-1].event.id if len(listed.ids) > len(rows) > 0 else None,
        total=min(listed.total, TOTAL_MAX),
        total_is_exact=listed.total <= TOTAL_MAX,
    )
    return Found(page, listed.lesson)


def _started(connection: apsw.Connection, query: StandingQuery, state: TransactionState, window: Window) -> Listed:
    name = (query.organisation_id, query.tx_key, query.type, query.environment.value, state.value)
    bounds = (window.since, window.until, TOTAL_MAX + 1)
    counted = first(connection, "started_total", *name, *bounds) if query.counted else None
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
