"""How PostgreSQL spells lists, and those that it reads in another way than SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tocsin.core.delivery import RecordedAttempt
from tocsin.core.identifiers import bucket_of
from tocsin.engine import listings
from tocsin.engine.listing import EVENT, Arm, Listing, Spelling, Where
from tocsin.engine.postgres.reading import Reader, reader_of, readers_of
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.rows import AttemptQuery, DeliveryQuery, IncidentQuery, MailboxQuery, TransactionQuery

_OF_PART = " and bucket = any($part)"

SPELLING = Spelling(
    indexed=lambda table, _index: table,
    # The offset keeps the planner from joining in another way than one event at a time, by its key.
    event=(
        "cross join lateral "
        f"(select * from event where bucket = get_byte({{id}}, 8) & 63 and id = {{id}}{_OF_PART} offset 0) e"
    ),
    replayed=f"replayed where bucket = get_byte({{id}}, 8) & 63 and event_id = {{id}}{_OF_PART} offset 0",
    # Nor from going through a whole table instead of looking at one event after another.
    deliveries=f"{{table}} where event_id = e.id{_OF_PART}{{only}} offset 0",
    of_part=_OF_PART,
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

_DISTRIBUTED: dict[type[Any], str] = {DeliveryQuery: "d", TransactionQuery: "t", IncidentQuery: "incident"}
"""Which of a list's tables has the rows, where these lie in parts."""


def _attempts(query: AttemptQuery) -> Listing[RecordedAttempt]:
    of = Where()
    of.add("organisation_id = ?", query.organisation_id)
    of.window("event_id", query)
    of.equal("event_id", query.event_id)
    if query.delivery_id is not None:
        of.equal("bucket", bucket_of(query.delivery_id))
        of.equal("id", query.delivery_id)
    ids = " union all ".join(
        f"(select id from {table} where {of.text()}{_OF_PART} offset 0)" for table in ("delivery", "delivery_history")
    )
    attempts = (
        f"select * from attempt where bucket = get_byte(d.id, 8) & 63 and delivery_id = d.id{_OF_PART} offset 0"
    )
    where = Where()
    where.add("true", *of.bindings, *of.bindings)
    arm = Arm(
        columns="a.delivery_id, a.seq, a.number, a.body",
        tables=f"({ids}) d cross join lateral ({attempts}) a",
        where=where,
    )
    return listings.of_attempts(arm)


def _mailbox(query: MailboxQuery) -> Listing[Sequence[Any]]:
    """Return the list of a mailbox's rows; their events, which may lie in any part, are read by their ids."""
    where = Where()
    where.add("exists (select 1 from device where key = m.device_key and organisation_id = ?)", query.organisation_id)
    where.add("m.device_key = ?", query.device_key)
    where.add("m.expires_ms > ?", query.now_ms)
    where.window("m.event_id", query)
    where.equal("m.delivery_id", query.delivery_id)
    arm = Arm(columns="m.delivery_id, m.expires_ms, m.event_id", tables="mailbox m", where=where)
    return Listing(arms=(arm,), keys=("m.delivery_id",), row=lambda row: row, ascending=True)


def listing_of(query: Any) -> Listing[Any]:
    """Return the list that a query asks for, within one part where it lies in several."""
    if isinstance(query, AttemptQuery):
        return _attempts(query)
    if isinstance(query, MailboxQuery):
        return _mailbox(query)
    listing = listings.LISTINGS[type(query)](query, SPELLING)
    table = _DISTRIBUTED.get(type(query))
    if table is None:
        return listing
    of_part = f"{table}.bucket = any($part)"
    arms = tuple(msgspec.structs.replace(arm, where=arm.where.and_also(of_part)) for arm in listing.arms)
    return msgspec.structs.replace(listing, arms=arms)


def readers_for(connection: Connection, query: Any) -> list[Reader]:
    """Return what reads the parts in which a query's rows may lie; what hangs on one event lies in one."""
    every = readers_of(connection)
    if len(every) == 1 or not (isinstance(query, AttemptQuery) or type(query) in _DISTRIBUTED):
        return every[:1]
    for name in ("delivery_id", "event_id"):
        identifier = getattr(query, name, None)
        if identifier is not None:
            return [reader_of(connection, identifier)]
    return every
