"""What each query lists: its tables, its conditions, its order, and how a row becomes a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tocsin.core.audit import AuditRecord
from tocsin.core.delivery import DeliveryPhase, RecordedAttempt
from tocsin.core.device import MailboxItem
from tocsin.core.environment import Environment
from tocsin.core.identifiers import ChannelId, DeliveryId
from tocsin.core.incident import Incident
from tocsin.core.job import Job
from tocsin.engine.codec import attempt_of, audit_of, delivery_of, event_of, incident_of, job_of, transaction_of
from tocsin.engine.listing import PHASE_CODES, Arm, Listing, Spelling, Where, records
from tocsin.engine.rows import (
    AuditQuery,
    DeliveryQuery,
    DeliveryRow,
    IncidentQuery,
    JobQuery,
    MailboxQuery,
    SubscriptionQuery,
    TransactionQuery,
    TransactionRow,
)

_ID_BYTES = 16
_SEQ_MAX = 2**63 - 1

_LIVE = frozenset({DeliveryPhase.NEW, DeliveryPhase.RETRYING, DeliveryPhase.SENDING})


def _deliveries(query: DeliveryQuery, spelling: Spelling) -> Listing[DeliveryRow]:
    where = Where()
    where.add("d.organisation_id = ?", query.organisation_id)
    where.window("d.id", query)
    where.equal("d.destination_id", query.destination_id)
    where.equal("d.event_id", query.event_id)
    where.equal("d.status_code", query.status_code)
    where.equal("e.type", query.event_type)
    where.equal("e.environment", query.environment)
    if query.unreplayed:
        where.add(f"not exists (select 1 from {spelling.replayed.format(id='d.event_id')})")
    if query.attempts_min is not None:
        where.add("d.attempts >= ?", query.attempts_min)
    # The live table has no index by destination: it is small, and each one more is paid for with every delivery.
    live, final = "delivery d", "delivery_history_by_organisation"
    if query.event_id is not None:
        live, final = spelling.indexed("delivery d", "delivery_by_event"), "delivery_history_by_event"
    elif query.destination_id is not None:
        final = "delivery_history_by_destination"
    phases = query.phases or frozenset(DeliveryPhase)
    columns = (
        "d.id, d.organisation_id, d.event_id, d.destination_id, d.state, d.attempts, {moment}, d.status_code, "
        f"d.duration_ms, d.error, {spelling.event_without_data}"
    )
    event = spelling.event.format(id="d.event_id")
    arms = []
    if phases & _LIVE:
        codes = " or ".join(sorted(PHASE_CODES[phase] for phase in _LIVE & phases))
        arms.append(
            Arm(
                columns=columns.format(moment="d.due_ms"),
                tables=f"{live} {event}",
                where=where if phases >= _LIVE else where.and_also(f"({codes})"),
            )
        )
    # Final ones lie apart by their state, so that the few that failed are not searched for among the delivered.
    arms += [
        Arm(
            columns=columns.format(moment="d.settled_ms"),
            tables=f"{spelling.indexed('delivery_history d', final)} {event}",
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
        with_data=query.with_data,
    )


def of_attempts(arm: Arm) -> Listing[RecordedAttempt]:
    """Return the list of attempts; the arm's columns are their delivery's id, place, number and body."""
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


def _transactions(query: TransactionQuery, spelling: Spelling) -> Listing[TransactionRow]:
    where = Where()
    where.add("t.organisation_id = ?", query.organisation_id)
    where.window("t.event_id", query)
    where.equal("t.event_id", query.event_id)
    where.equal("t.tx_key", query.tx_key)
    where.equal("t.event_type", query.type)
    where.equal("t.state", query.state)
    where.equal("t.environment", query.environment)
    tables = "consumer_transaction t"
    if query.event_id is None:
        index = "consumer_transaction_by_organisation" if query.tx_key is None else "consumer_transaction_by_key"
        tables = spelling.indexed(tables, index)
    arm = Arm(
        columns="t.event_id, t.tx_key, t.body, t.environment, t.output",
        tables=tables,
        where=where,
    )
    return Listing(
        arms=(arm,),
        keys=("t.event_id", "t.tx_key"),
        row=lambda row: TransactionRow(transaction_of(row[2], row[4]), Environment(row[3])),
        cursor_of=lambda row: bytes(row[0]) + row[1].encode(),
        keys_of=lambda cursor: (cursor[:_ID_BYTES], cursor[_ID_BYTES:].decode(errors="replace")),
        ascending=True,
        size_bytes=lambda row: len((row[4] or "").encode()),
    )


def _incidents(query: IncidentQuery, spelling: Spelling) -> Listing[Incident]:
    return records(
        spelling.indexed("incident", "incident_by_organisation"),
        query,
        lambda row: incident_of(row[1]),
        environment=query.environment.value,
        state=query.state,
        channel=query.channel,
    )


def _subscriptions(query: SubscriptionQuery, _spelling: Spelling) -> Listing[ChannelId]:
    where = Where()
    where.add("organisation_id = ?", query.organisation_id)
    where.add("device_key = ?", query.device_key)
    arm = Arm(columns="channel_id", tables="subscription", where=where)
    return Listing(arms=(arm,), keys=("channel_id",), row=lambda row: ChannelId(row[0]), ascending=True)


def _mailbox(query: MailboxQuery, spelling: Spelling) -> Listing[MailboxItem]:
    where = Where()
    where.add("e.organisation_id = ?", query.organisation_id)
    where.add("m.device_key = ?", query.device_key)
    where.add("m.expires_ms > ?", query.now_ms)
    where.window("m.event_id", query)
    where.equal("m.delivery_id", query.delivery_id)
    arm = Arm(
        columns=f"m.delivery_id, m.expires_ms, {spelling.event_without_data}",
        tables=f"mailbox m {spelling.event.format(id='m.event_id')}",
        where=where,
    )
    return Listing(
        arms=(arm,),
        keys=("m.delivery_id",),
        row=lambda row: MailboxItem(delivery_id=DeliveryId(row[0]), expires_ms=row[1], event=event_of(row[2:])),
        ascending=True,
        with_data=True,
    )


def _jobs(query: JobQuery, spelling: Spelling) -> Listing[Job]:
    return records(
        spelling.indexed("job", "job_by_organisation"),
        query,
        lambda row: job_of(row[1], row[2]),
        columns="id, body, revision",
        environment=query.environment,
        state=query.state,
    )


def _audit(query: AuditQuery, spelling: Spelling) -> Listing[AuditRecord]:
    index = "organisation" if query.subject is None else "subject"
    return records(
        spelling.indexed("audit", f"audit_by_{index}"),
        query,
        lambda row: audit_of(row[1]),
        actor=query.actor,
        key_id=query.key_id,
        action=query.action,
        subject=query.subject,
    )


LISTINGS: dict[type[Any], Callable[[Any, Spelling], Listing[Any]]] = {
    DeliveryQuery: _deliveries,
    TransactionQuery: _transactions,
    IncidentQuery: _incidents,
    SubscriptionQuery: _subscriptions,
    MailboxQuery: _mailbox,
    JobQuery: _jobs,
    AuditQuery: _audit,
}
