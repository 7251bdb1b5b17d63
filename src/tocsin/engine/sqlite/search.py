"""Finding and listing: each query becomes one bounded statement, newest first, by keyset or offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import apsw
import msgspec

from tocsin.core.delivery import STATUS_OF_PHASE, DeliveryPhase, EventStatus, RecordedAttempt
from tocsin.core.device import MailboxItem
from tocsin.core.identifiers import ChannelId, DeliveryId, first_id_at
from tocsin.core.incident import Incident
from tocsin.engine.codec import EVENT_COLUMNS, attempt_of, delivery_of, event_of, incident_of
from tocsin.engine.rows import (
    AttemptQuery,
    DeliveryQuery,
    DeliveryRow,
    EventQuery,
    EventRow,
    IncidentQuery,
    MailboxQuery,
    Page,
    Query,
    SubscriptionQuery,
    TransactionQuery,
    TransactionRow,
    UnstartedQuery,
)
from tocsin.engine.sqlite.transact import unpack_transaction
from tocsin.engine.sqlite.unstarted import TOTAL_MAX, Found, unstarted

T = TypeVar("T")

_EVENT = ", ".join(f"e.{column}" for column in EVENT_COLUMNS)
_EVENT_WIDTH = len(EVENT_COLUMNS)

_PHASE_CODE = {
    DeliveryPhase.SENDING: "state = 1",
    DeliveryPhase.RETRYING: "(state in (0, 2) and attempts > 0)",
    DeliveryPhase.NEW: "(state in (0, 2) and attempts = 0)",
    DeliveryPhase.DELIVERED: "state = 3",
    DeliveryPhase.EXPIRED: "state = 4",
    DeliveryPhase.CANCELLED: "state = 5",
}
_STATUSES = list(EventStatus)
_RANK = (
    "case "
    + " ".join(
        f"when {_PHASE_CODE[phase]} then {_STATUSES.index(status)}" for phase, status in STATUS_OF_PHASE.items()
    )
    + " end"
)
_STATUS = (
    f"case when exists (select 1 from replayed where event_id = e.id) then {_STATUSES.index(EventStatus.REPLAYED)} "
    f"else coalesce((select min(rank) from (select {_RANK} as rank from delivery where event_id = e.id "
    f"union all select {_RANK} from delivery_history where event_id = e.id)), "
    f"{_STATUSES.index(EventStatus.RECEIVED)}) end"
)
"""The status of an event as an index into ``EventStatus``: ``core.delivery.event_status`` in SQL."""


EVENT_WITH_STATUS = f"select {_EVENT}, {_STATUS} from event e where e.organisation_id = ? and e.id = ?"
"""One event and its status, for ``event_row_of``."""


def event_row_of(row: Sequence[Any]) -> EventRow:
    """Return the event and the status of a row of ``EVENT_COLUMNS`` and the status."""
    return EventRow(event_of(row), _STATUSES[row[_EVENT_WIDTH]])


class _Where:
    """Conditions of one statement, collected with their bindings."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.bindings: list[Any] = []

    def add(self, condition: str, *bindings: Any) -> None:
        self.conditions.append(condition)
        self.bindings.extend(bindings)

    def equal(self, column: str, value: Any) -> None:
        if value is not None:
            self.add(f"{column} = ?", value)

    def window(self, column: str, query: Query[Any]) -> None:
        """Bound an id by the query's times, both inclusive."""
        if query.since_ms is not None:
            self.add(f"{column} >= ?", first_id_at(query.since_ms))
        if query.until_ms is not None:
            self.add(f"{column} < ?", first_id_at(query.until_ms + 1))

    def text(self) -> str:
        return " and ".join(self.conditions) or "1"


class _Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One list: ``select <columns> from <tables> where ... order by <key> [desc]``."""

    columns: str
    tables: str
    where: _Where
    key: str
    row: Callable[[Sequence[Any]], T]
    key_of: Callable[[Sequence[Any]], bytes]
    ascending: bool = False


def search(
    connection: apsw.Connection, query: Query[T], *, limit: int, cursor: bytes | None, offset: int, now_ms: int
) -> Found[T]:
    """Return one page of what the query matches."""
    if isinstance(query, UnstartedQuery):
        return cast("Found[T]", unstarted(connection, query, limit=limit, offset=offset, now_ms=now_ms))
    listing = _LISTINGS[type(query)](query)
    return Found(cast("Page[T]", _page(connection, listing, limit=limit, cursor=cursor, offset=offset)))


def _page(
    connection: apsw.Connection, listing: _Listing[T], *, limit: int, cursor: bytes | None, offset: int
) -> Page[T]:
    where = listing.where
    counted = f"select count(*) from (select 1 from {listing.tables} where {where.text()} limit {TOTAL_MAX + 1})"
    total = int(connection.execute(counted, where.bindings).get)
    conditions, bindings = where.text(), list(where.bindings)
    if cursor is not None:
        conditions += f" and {listing.key} {'>' if listing.ascending else '<'} ?"
        bindings.append(cursor)
    text = (
        f"select {listing.columns} from {listing.tables} where {conditions} "
        f"order by {listing.key} {'asc' if listing.ascending else 'desc'} limit ? offset ?"
    )
    rows = connection.execute(text, (*bindings, limit + 1, offset)).fetchall()
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(
        rows=[listing.row(row) for row in rows],
        next_cursor=listing.key_of(rows[-1]) if more and rows else None,
        total=min(total, TOTAL_MAX),
        total_is_exact=total <= TOTAL_MAX,
    )


def _events(query: EventQuery) -> _Listing[EventRow]:
    where = _Where()
    where.add("e.organisation_id = ?", query.organisation_id)
    where.window("e.id", query)
    where.equal("e.subject", query.subject)
    where.equal("e.source", query.source)
    where.equal("e.type", query.type)
    where.equal("e.dialect", query.dialect)
    where.equal("e.environment", query.environment)
    where.equal("e.severity", query.severity)
    if query.destination_id is not None:
        where.add(
            "(exists (select 1 from delivery where event_id = e.id and destination_id = ?) "
            "or exists (select 1 from delivery_history where event_id = e.id and destination_id = ?))",
            query.destination_id,
            query.destination_id,
        )
    if query.status is not None:
        where.add(f"{_STATUS} = ?", _STATUSES.index(query.status))
    index = "organisation"
    for column, value in (("subject", query.subject), ("source", query.source), ("type", query.type)):
        if value is not None:
            index = column
            break
    return _Listing(
        columns=f"{_EVENT}, {_STATUS}",
        tables=f"event e indexed by event_by_{index}",
        where=where,
        key="e.id",
        row=event_row_of,
        key_of=lambda row: row[0],
        ascending=query.ascending,
    )


def _deliveries(query: DeliveryQuery) -> _Listing[DeliveryRow]:
    arm = _Where()
    arm.add("organisation_id = ?", query.organisation_id)
    arm.window("id", query)
    arm.equal("destination_id", query.destination_id)
    arm.equal("event_id", query.event_id)
    arm.equal("status_code", query.status_code)
    if query.attempts_min is not None:
        arm.add("attempts >= ?", query.attempts_min)
    if query.phases:
        arm.add("(" + " or ".join(sorted(_PHASE_CODE[phase] for phase in query.phases)) + ")")
    columns = "id, organisation_id, event_id, destination_id, state, attempts, {}, status_code, duration_ms, error"
    live = f"select {columns.format('due_ms as moment')} from delivery where {arm.text()}"
    final = f"select {columns.format('settled_ms')} from delivery_history where {arm.text()}"
    where = _Where()
    where.bindings.extend(arm.bindings * 2)
    where.equal("e.type", query.event_type)
    return _Listing(
        columns=f"d.*, {_EVENT}",
        tables=f"({live} union all {final}) d join event e on e.id = d.event_id",
        where=where,
        key="d.id",
        row=lambda row: DeliveryRow(delivery_of(row[:10]), event_of(row[10:])),
        key_of=lambda row: row[0],
    )


def _attempts(query: AttemptQuery) -> _Listing[RecordedAttempt]:
    where = _Where()
    where.add("d.organisation_id = ?", query.organisation_id)
    where.equal("d.id", query.delivery_id)
    where.equal("d.event_id", query.event_id)
    both = (
        "select id, organisation_id, event_id from delivery "
        "union all select id, organisation_id, event_id from delivery_history"
    )
    return _Listing(
        columns="a.delivery_id, a.seq, a.number, a.body",
        tables=f"({both}) d join attempt a on a.delivery_id = d.id",
        where=where,
        key="a.seq",
        row=lambda row: RecordedAttempt(
            delivery_id=DeliveryId(row[0]), sequence=row[1], number=row[2], attempt=attempt_of(row[3])
        ),
        key_of=lambda row: int(row[1]).to_bytes(8, "big"),
        ascending=True,
    )


def _transactions(query: TransactionQuery) -> _Listing[TransactionRow]:
    where = _Where()
    where.add("t.organisation_id = ?", query.organisation_id)
    where.window("t.event_id", query)
    where.equal("t.event_id", query.event_id)
    where.equal("t.tx_key", query.tx_key)
    where.equal("t.event_type", query.type)
    where.equal("t.state", query.state)
    where.equal("e.environment", query.environment)
    return _Listing(
        columns=f"t.body, {_EVENT}",
        tables="consumer_transaction t join event e on e.id = t.event_id",
        where=where,
        key="t.event_id" if query.tx_key is not None else "t.event_id || cast(t.tx_key as blob)",
        row=lambda row: TransactionRow(unpack_transaction(row[0]), event_of(row[1:])),
        key_of=_event_id if query.tx_key is not None else _event_id_and_key,
        ascending=True,
    )


def _event_id(row: Sequence[Any]) -> bytes:
    return bytes(row[1])


def _event_id_and_key(row: Sequence[Any]) -> bytes:
    """Return what tells transactions of one event apart, where several consumer groups are listed together."""
    return bytes(row[1]) + unpack_transaction(row[0]).tx_key.encode()


def _incidents(query: IncidentQuery) -> _Listing[Incident]:
    where = _Where()
    where.add("organisation_id = ?", query.organisation_id)
    where.window("id", query)
    where.equal("state", query.state)
    where.equal("channel", query.channel)
    return _Listing(
        columns="id, body",
        tables="incident",
        where=where,
        key="id",
        row=lambda row: incident_of(row[1]),
        key_of=lambda row: row[0],
    )


def _subscriptions(query: SubscriptionQuery) -> _Listing[ChannelId]:
    where = _Where()
    where.add("organisation_id = ?", query.organisation_id)
    where.add("device_key = ?", query.device_key)
    return _Listing(
        columns="channel_id",
        tables="subscription",
        where=where,
        key="channel_id",
        row=lambda row: ChannelId(row[0]),
        key_of=lambda row: row[0],
        ascending=True,
    )


def _mailbox(query: MailboxQuery) -> _Listing[MailboxItem]:
    where = _Where()
    where.add("e.organisation_id = ?", query.organisation_id)
    where.add("m.device_key = ?", query.device_key)
    where.add("m.expires_ms > ?", query.now_ms)
    where.equal("m.delivery_id", query.delivery_id)
    return _Listing(
        columns=f"m.delivery_id, m.expires_ms, {_EVENT}",
        tables="mailbox m join event e on e.id = m.event_id",
        where=where,
        key="m.delivery_id",
        row=lambda row: MailboxItem(delivery_id=DeliveryId(row[0]), expires_ms=row[1], event=event_of(row[2:])),
        key_of=lambda row: row[0],
        ascending=True,
    )


_LISTINGS: dict[type[Any], Callable[[Any], _Listing[Any]]] = {
    EventQuery: _events,
    DeliveryQuery: _deliveries,
    AttemptQuery: _attempts,
    TransactionQuery: _transactions,
    IncidentQuery: _incidents,
    SubscriptionQuery: _subscriptions,
    MailboxQuery: _mailbox,
}
