"""How PostgreSQL spells lists, and those that it reads in another way than SQLite."""

from __future__ import annotations

from typing import Any

from tocsin.core.delivery import RecordedAttempt
from tocsin.core.identifiers import bucket_of
from tocsin.engine import listings
from tocsin.engine.listing import EVENT, Arm, Listing, Spelling, Where
from tocsin.engine.rows import AttemptQuery

SPELLING = Spelling(
    indexed=lambda table, _index: table,
    # The offset keeps the planner from joining in another way than one event at a time, by its key.
    event="cross join lateral (select * from event where bucket = get_byte({id}, 8) & 63 and id = {id} offset 0) e",
    replayed="replayed where bucket = get_byte({id}, 8) & 63 and event_id = {id} offset 0",
    # Nor from going through a whole table instead of looking at one event after another.
    deliveries="{table} where event_id = e.id{only} offset 0",
    arm="({})",
    no_bytes="''::bytea",
)

_EVENTS_BY_ID = (
    "from unnest(?) as wanted (id) " + SPELLING.event.format(id="wanted.id") + " where e.organisation_id = ?"
)

EVENT_WITH_STATUS = f"select {EVENT}, {SPELLING.status} {_EVENTS_BY_ID}"
"""Events by their ids and organisation, each with its status, for ``event_row_of``."""

EVENT_WITHOUT_DATA_WITH_STATUS = f"select {SPELLING.event_without_data}, {SPELLING.status} {_EVENTS_BY_ID}"
"""The same, the data empty."""


def _attempts(query: AttemptQuery) -> Listing[RecordedAttempt]:
    of = Where()
    of.add("organisation_id = ?", query.organisation_id)
    of.window("event_id", query)
    of.equal("event_id", query.event_id)
    if query.delivery_id is not None:
        of.equal("bucket", bucket_of(query.delivery_id))
        of.equal("id", query.delivery_id)
    ids = " union all ".join(
        f"(select id from {table} where {of.text()} offset 0)" for table in ("delivery", "delivery_history")
    )
    attempts = "select * from attempt where bucket = get_byte(d.id, 8) & 63 and delivery_id = d.id offset 0"
    where = Where()
    where.add("true", *of.bindings, *of.bindings)
    arm = Arm(
        columns="a.delivery_id, a.seq, a.number, a.body",
        tables=f"({ids}) d cross join lateral ({attempts}) a",
        where=where,
    )
    return listings.of_attempts(arm)


def listing_of(query: Any) -> Listing[Any]:
    """Return the list that a query asks for."""
    return _attempts(query) if isinstance(query, AttemptQuery) else listings.LISTINGS[type(query)](query, SPELLING)
