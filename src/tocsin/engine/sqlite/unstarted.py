"""Events that a consumer group has not started: cheap on any history, by a low-water mark."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import apsw
import msgspec

from tocsin.core.event import Event
from tocsin.core.identifiers import first_id_at
from tocsin.engine.codec import EVENT_COLUMNS, event_of
from tocsin.engine.rows import Page, UnstartedQuery
from tocsin.engine.sqlite.sql import first

T = TypeVar("T")

TOTAL_MAX = 10_000
"""Up to how many matches are counted."""

SETTLING_MS = 60_000
"""Events younger than this may still be joined by older ones whose commit is under way."""

_EVENT = ", ".join(f"e.{column}" for column in EVENT_COLUMNS)


class Found(msgspec.Struct, Generic[T], frozen=True):
    """A page, and the new low-water mark when the search learnt one: bindings of ``raise_low_water``."""

    page: Page[T]
    low_water: tuple[Any, ...] | None = None


def unstarted(
    connection: apsw.Connection, query: UnstartedQuery, *, limit: int, offset: int, now_ms: int
) -> Found[Event]:
    """List unstarted events from the low-water mark on, and learn how far it may rise.

    A transaction whose lease ran out counts as unstarted wherever its event stands.
    """
    name = (query.organisation_id, query.tx_key, query.type, query.environment.value)
    mark = first(connection, "low_water", *name)
    low_water = b"" if mark is None else bytes(mark[0])
    since = b"" if query.since_ms is None else first_id_at(query.since_ms)
    until = b"\xff" * 16 if query.until_ms is None else first_id_at(query.until_ms + 1)
    waiting = (
        "select id from event indexed by event_by_type where organisation_id = ? and type = ? and id >= ? and id < ? "
        "and environment = ? and not exists "
        "(select 1 from consumer_transaction t where t.event_id = event.id and t.tx_key = ?)"
    )
    lapsed = (
        "select t.event_id from consumer_transaction t join event e on e.id = t.event_id "
        "where t.organisation_id = ? and t.tx_key = ? and t.event_type = ? and t.lease_until_ms <= ? "
        "and t.state = 'processing' and t.event_id >= ? and t.event_id < ? and e.environment = ?"
    )
    behind = max(low_water, since)
    bindings = (
        *(query.organisation_id, query.type, behind, until, query.environment.value, query.tx_key),
        *(query.organisation_id, query.tx_key, query.type, now_ms, since, until, query.environment.value),
    )
    both = f"{waiting} union all {lapsed}"
    total = int(
        connection.execute(f"select count(*) from (select 1 from ({both}) limit {TOTAL_MAX + 1})", bindings).get
    )
    text = f"select {_EVENT} from ({both}) u join event e on e.id = u.id order by e.id limit ? offset ?"
    rows = connection.execute(text, (*bindings, limit, offset)).fetchall()
    page = Page(
        rows=[event_of(row) for row in rows],
        next_cursor=None,
        total=min(total, TOTAL_MAX),
        total_is_exact=total <= TOTAL_MAX,
    )
    if since > low_water or query.until_ms is not None:
        return Found(page)
    head: list[tuple[Any, ...]] = connection.execute(f"{waiting} order by id limit 1", bindings[:6]).fetchall()
    risen = first_id_at(now_ms - SETTLING_MS)
    if head:
        risen = min(risen, head[0][0])
    return Found(page, (*name, risen) if risen > low_water else None)
