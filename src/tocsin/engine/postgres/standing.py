"""Where a consumer group stands with events: a page of ids from an index, then all that is shown in one read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.core.transaction import TransactionState
from tocsin.engine.bounds import ScanBounds
from tocsin.engine.codec import EVENT_COLUMNS, event_of, transaction_of
from tocsin.engine.listing import TOTAL_MAX
from tocsin.engine.postgres.payloads import with_data
from tocsin.engine.postgres.sql import Connection, fetch_by_ids, fetch_each_part
from tocsin.engine.postgres.unstarted import unstarted
from tocsin.engine.rows import Page, StandingQuery, StandingRow, TransactionTally
from tocsin.engine.runs import Found, Listed, Window

_WALK_SHARE = 0.8
"""What part of the time that a search has may go into looking for unstarted events; the rest is for showing them."""

_EVENT_WIDTH = len(EVENT_COLUMNS)


async def standings(
    connection: Connection, query: StandingQuery, window: Window, *, now_ms: int, bounds: ScanBounds
) -> Found[StandingRow]:
    """Return one page of events by where the group stands with them."""
    if query.state is None:
        listed = await unstarted(
            connection, query, window, now_ms=now_ms, time_max_s=_WALK_SHARE * bounds.query_max_s
        )
    else:
        listed = await _started(connection, query, query.state, window)
    rows = await _rows(connection, query.tx_key, listed.ids[: window.limit])
    rows = await with_data(connection, query.organisation_id, rows, bounds.page_bytes_max)
    page = Page(
        rows=rows,
        next_cursor=rows[-1].event.id if len(listed.ids) > len(rows) > 0 else None,
        total=min(listed.total, TOTAL_MAX),
        total_is_exact=listed.total <= TOTAL_MAX,
    )
    return Found(page, listed.lesson)


async def _started(connection: Connection, query: StandingQuery, state: TransactionState, window: Window) -> Listed:
    name = (query.organisation_id, query.tx_key, query.type, query.environment.value, state.value)
    counted = 0
    if query.counted:
        counts = await fetch_each_part(connection, "started_total", *name, window.since, window.until, TOTAL_MAX + 1)
        counted = sum(row[0] for row in counts)
    behind = window.offset + window.limit + 1
    rows = await fetch_each_part(connection, "started", *name, window.start, window.until, behind)
    return Listed(ids=sorted(row[0] for row in rows)[window.offset : behind], total=counted)


async def _rows(connection: Connection, tx_key: str, ids: Sequence[bytes]) -> list[StandingRow]:
    read = await fetch_by_ids(connection, "standings", ids, tx_key)
    found = {row[0]: _row(row) for row in read}
    # A transaction may outlive its event by a little.
    return [found[each] for each in ids if each in found]


def _row(row: Sequence[Any]) -> StandingRow:
    body, total, processing = row[_EVENT_WIDTH:]
    return StandingRow(
        event=event_of(row),
        transaction=None if body is None else transaction_of(body),
        tally=TransactionTally(total=total, processing=processing),
    )
