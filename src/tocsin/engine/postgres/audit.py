"""The audit trail: kept in the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.core.audit import AuditRecord
from tocsin.engine.codec import audit_row
from tocsin.engine.postgres.sql import Connection, write_at_once


async def keep(connection: Connection, records: Iterable[AuditRecord | None]) -> None:
    """Keep these records; None is none."""
    await write_at_once(connection, "insert_audit", [audit_row(each) for each in records if each is not None])
