"""How SQLite spells lists, and those that it reads in another way than PostgreSQL."""

from __future__ import annotations

from typing import Any

from tocsin.core.delivery import RecordedAttempt
from tocsin.engine import listings
from tocsin.engine.listing import Arm, Listing, Spelling, Where
from tocsin.engine.rows import AttemptQuery

SPELLING = Spelling(
    indexed=lambda table, index: f"{table} indexed by {index}",
    event="cross join event e on e.id = {id}",
    replayed="replayed where event_id = {id}",
    deliveries="{table} indexed by {table}_by_event where event_id = e.id{only}",
    arm="select * from ({})",
    no_bytes="x''",
)


def _attempts(query: AttemptQuery) -> Listing[RecordedAttempt]:
    of = Where()
    # The plus keeps the planner from going through all that the organisation has.
    of.add("+organisation_id = ?", query.organisation_id)
    of.window("event_id", query)
    of.equal("id", query.delivery_id)
    of.equal("event_id", query.event_id)
    ids = " union all ".join(
        f"select id from {table} where {of.text()}" for table in ("delivery", "delivery_history")
    )
    where = Where()
    where.add(f"a.delivery_id in ({ids})", *of.bindings, *of.bindings)
    return listings.of_attempts(
        Arm(columns="a.delivery_id, a.seq, a.number, a.body", tables="attempt a", where=where)
    )


def listing_of(query: Any) -> Listing[Any]:
    """Return the list that a query asks for."""
    return _attempts(query) if isinstance(query, AttemptQuery) else listings.LISTINGS[type(query)](query, SPELLING)
