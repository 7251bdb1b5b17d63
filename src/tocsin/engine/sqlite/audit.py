"""The audit trail: kept in the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from tocsin.core.audit import AuditRecord
from tocsin.engine.codec import audit_row
from tocsin.engine.sqlite.sql import write_rows


def keep(connection: apsw.Connection, records: Sequence[AuditRecord]) -> None:
    """Keep these records."""
    write_rows(connection, "insert_audit", [audit_row(each) for each in records])
