"""The audit trail: kept in the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from tocsin.core.audit import AuditRecord
from tocsin.engine.codec import audit_body, audit_of
from tocsin.engine.rows import AuditQuery
from tocsin.engine.sqlite.listings import Arm, Listing, Where
from tocsin.engine.sqlite.sql import write_rows


def keep(connection: apsw.Connection, records: Sequence[AuditRecord]) -> None:
    """Keep these records."""
    write_rows(connection, "insert_audit", [_row(each) for each in records])


def listing(query: AuditQuery) -> Listing[AuditRecord]:
    """Return the list of records that a query asks for."""
    where = Where()
    where.add("organisation_id = ?", query.organisation_id)
    where.window("id", query)
    where.equal("actor", query.actor)
    where.equal("key_id", query.key_id)
    where.equal("action", query.action)
    where.equal("subject", query.subject)
    index = "organisation" if query.subject is None else "subject"
    arm = Arm(columns="id, body", tables=f"audit indexed by audit_by_{index}", where=where)
    return Listing(arms=(arm,), keys=("id",), row=lambda row: audit_of(row[1]))


def _row(record: AuditRecord) -> tuple[object, ...]:
    actor = record.actor
    return (
        record.id,
        record.organisation_id,
        actor.kind.value,
        actor.key_id,
        record.action,
        record.subject,
        audit_body(record),
    )
