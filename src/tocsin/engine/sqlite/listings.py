"""What each query lists: its tables, its conditions, its order, and how a row becomes a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

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
    EventRow,
    IncidentQuery,
    MailboxQuery,
    Query,
    SubscriptionQuery,
    TransactionQuery,
    TransactionRow,
)
from tocsin.engine.sqlite.transact import transaction_of

T = TypeVar("T")

EVENT = ", ".join(f"e.{column}" for column in EVENT_COLUMNS)
EVENT_WITHOUT_DATA = EVENT.replace("e.data", "x''")
_EVENT_WIDTH = len(EVENT_COLUMNS)
_ID_BYTES = 16
_SEQ_MAX = 2**63 - 1

PHASE_CODES = {
    DeliveryPhase.SENDING: "state = 1",
    DeliveryPhase.RETRYING: "(state in (0, 2) and attempts > 0)",
    DeliveryPhase.NEW: "(state in (0, 2) and attempts = 0)",
    DeliveryPhase.DELIVERED: "state = 3",
    DeliveryPhase.EXPIRED: "state = 4",
    DeliveryPhase.CANCELLED: "state = 5",
}
"""How a row of ``delivery`` or ``delivery_history`` is seen to be in a phase."""

STATUSES = list(EventStatus)
"""Where a status stands here is how it is counted with in SQL."""

_RANK = (
    "case "
    + " ".join(
        f"when {PHASE_CODES[phase]} then {STATUSES.index(status)}" for phase, status in STATUS_OF_PHASE.items()
    )
    + " end"
)
STATUS = (
    f"case when exists (select 1 from replayed where event_id = e.id) then {STATUSES.index(EventStatus.REPLAYED)} "
    f"else coalesce((select min(rank) from (select {_RANK} as rank from delivery where event_id = e.id "
    f"union all select {_RANK} from delivery_history where event_id = e.id)), "
    f"{STATUSES.index(EventStatus.RECEIVED)}) end"
)
"""The status of an event as an index into ``EventStatus``: ``core.delivery.event_status`` in SQL."""

EVENT_WITH_STATUS = f"select {EVENT}, {STATUS} from event e where e.organisation_id = ? and e.id = ?"
"""One event and its status, for ``event_row_of``."""


def event_row_of(row: Sequence[Any]) -> EventRow:
    """Return the event and the status of a row of ``EVENT_COLUMNS`` and the status."""
    return EventRow(event_of(row), STATUSES[row[_EVENT_WIDTH]])


class Where:
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

    def and_also(self, condition: str) -> Where:
        """Return these conditions and one more, which has no bindings."""
        more = Where()
        more.conditions = [*self.conditions, condition]
        more.bindings = self.bindings
        return more

    def text(self) -> str:
        return " and ".join(self.conditions)


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a list's rows: ``select <columns> from <tables> <joined> where ...``.

    Attributes:
        joined: tables that only add columns, one row to each; they are not needed to count.
    """

    columns: str
    tables: str
    where: Where
    joined: str = ""


def _id_of(row: Sequence[Any]) -> bytes:
    return bytes(row[0])


def _as_id(cursor: bytes) -> tuple[Any, ...]:
    return (cursor,)


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list, and how its pages follow one another.

    Attributes:
        arms: where its rows come from; more than one have the one key as their first column.
        keys: the columns that order it and tell its rows apart.
        cursor_of: a row's keys as bytes.
        keys_of: the keys of a cursor; any bytes give some keys, since clients may send what they like.
    """

    arms: tuple[Arm, ...]
    keys: tuple[str, ...]
    row: Callable[[Sequence[Any]], T]
    cursor_of: Callable[[Sequence[Any]], bytes] = _id_of
    keys_of: Callable[[bytes], tuple[Any, ...]] = _as_id
    ascending: bool = False


_LIVE = frozenset({DeliveryPhase.NEW, DeliveryPhase.RETRYING, DeliveryPhase.SENDING})


def _deliveries(query: DeliveryQuery) -> Listing[DeliveryRow]:
    where = Where()
    where.add("d.organisation_id = ?", query.organisation_id)
    where.window("d.id", query)
    where.equal("d.destination_id", query.destination_id)
    where.equal("d.event_id", query.event_id)
    where.equal("d.status_code", query.status_code)
    where.equal("e.type", query.event_type)
    where.equal("e.environment", query.environment)
    if query.unreplayed:
        where.add("not exists (select 1 from replayed where event_id = d.event_id)")
    if query.attempts_min is not None:
        where.add("d.attempts >= ?", query.attempts_min)
    # The live table has no index by destination: it is small, and each one more is paid for with every delivery.
    live, final = "", "delivery_history_by_organisation"
    if query.event_id is not None:
        live, final = "indexed by delivery_by_event", "delivery_history_by_event"
    elif query.destination_id is not None:
        final = "delivery_history_by_destination"
    phases = query.phases or frozenset(DeliveryPhase)
    columns = (
        "d.id, d.organisation_id, d.event_id, d.destination_id, d.state, d.attempts, {moment}, d.status_code, "
        f"d.duration_ms, d.error, {EVENT if query.with_data else EVENT_WITHOUT_DATA}"
    )
    event = "cross join event e on e.id = d.event_id"
    arms = []
    if phases & _LIVE:
        codes = " or ".join(sorted(PHASE_CODES[phase] for phase in _LIVE & phases))
        arms.append(
            Arm(
                columns=columns.format(moment="d.due_ms"),
                tables=f"delivery d {live} {event}",
                where=where if phases >= _LIVE else where.and_also(f"({codes})"),
            )
        )
    # Final ones lie apart by their state, so that the few that failed are not searched for among the delivered.
    arms += [
        Arm(
            columns=columns.format(moment="d.settled_ms"),
            tables=f"delivery_history d indexed by {final} {event}",
            where=where.and_also(f"d.{PHASE_CODES[phase]}"),
        )
        for phase in DeliveryPhase
        if phase in phases - _LIVE
    ]
    return Listing(
        arms=tuple(arms),
        keys=("d.id",),
        row=lambda row: DeliveryRow(delivery_of(row[:10]), event_of(row[10:])),
        ascending=query.ascending,
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
    arm = Arm(columns="a.delivery_id, a.seq, a.number, a.body", tables="attempt a", where=where)
    return Listing(
        arms=(arm,),
        keys=("a.seq",),
        row=lambda row: RecordedAttempt(
            delivery_id=DeliveryId(row[0]), sequence=row[1], number=row[2], attempt=attempt_of(row[3])
        ),
        cursor_of=lambda row: int(row[1]).to_bytes(8, "big"),
        keys_of=lambda cursor: (int.from_bytes(cursor[:8], "big") & _SEQ_MAX,),
        ascending=True,
    )


def _transactions(query: TransactionQuery) -> Listing[TransactionRow]:
    where = Where()
    where.add("t.organisation_id = ?", query.organisation_id)
    where.window("t.event_id", query)
    where.equal("t.event_id", query.event_id)
    where.equal("t.tx_key", query.tx_key)
    where.equal("t.event_type", query.type)
    where.equal("t.state", query.state)
    where.equal("t.environment", query.environment)
    if query.event_id is not None:
        index = ""
    elif query.tx_key is not None:
        index = "indexed by consumer_transaction_by_key"
    else:
        index = "indexed by consumer_transaction_by_organisation"
    arm = Arm(
        columns=f"t.event_id, t.tx_key, t.body, t.output, {EVENT}",
        tables=f"consumer_transaction t {index}",
        joined="cross join event e on e.id = t.event_id",
        where=where,
    )
    return Listing(
        arms=(arm,),
        keys=("t.event_id", "t.tx_key"),
        row=lambda row: TransactionRow(transaction_of(row[2], row[3]), event_of(row[4:])),
        cursor_of=lambda row: bytes(row[0]) + row[1].encode(),
        keys_of=lambda cursor: (cursor[:_ID_BYTES], cursor[_ID_BYTES:].decode(errors="replace")),
        ascending=True,
    )


def _incidents(query: IncidentQuery) -> Listing[Incident]:
    where = Where()
    where.add("organisation_id = ?", query.organisation_id)
    where.window("id", query)
    where.equal("state", query.state)
    where.equal("channel", query.channel)
    tables = "incident indexed by incident_by_organisation"
    arm = Arm(columns="id, body", tables=tables, where=where)
    return Listing(arms=(arm,), keys=("id",), row=lambda row: incident_of(row[1]))


def _subscriptions(query: SubscriptionQuery) -> Listing[ChannelId]:
    where = Where()
    where.add("organisation_id = ?", query.organisation_id)
    where.add("device_key = ?", query.device_key)
    arm = Arm(columns="channel_id", tables="subscription", where=where)
    return Listing(arms=(arm,), keys=("channel_id",), row=lambda row: ChannelId(row[0]), ascending=True)


def _mailbox(query: MailboxQuery) -> Listing[MailboxItem]:
    where = Where()
    where.add("e.organisation_id = ?", query.organisation_id)
    where.add("m.device_key = ?", query.device_key)
    where.add("m.expires_ms > ?", query.now_ms)
    where.window("m.event_id", query)
    where.equal("m.delivery_id", query.delivery_id)
    arm = Arm(
        columns=f"m.delivery_id, m.expires_ms, {EVENT}",
        tables="mailbox m cross join event e on e.id = m.event_id",
        where=where,
    )
    return Listing(
        arms=(arm,),
        keys=("m.delivery_id",),
        row=lambda row: MailboxItem(delivery_id=DeliveryId(row[0]), expires_ms=row[1], event=event_of(row[2:])),
        ascending=True,
    )


LISTINGS: dict[type[Any], Callable[[Any], Listing[Any]]] = {
    DeliveryQuery: _deliveries,
    AttemptQuery: _attempts,
    TransactionQuery: _transactions,
    IncidentQuery: _incidents,
    SubscriptionQuery: _subscriptions,
    MailboxQuery: _mailbox,
}
