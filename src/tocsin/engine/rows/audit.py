"""How the audit trail is listed."""

from __future__ import annotations

from tocsin.core.audit import ActorKind, AuditRecord
from tocsin.core.identifiers import KeyId
from tocsin.engine.rows.queries import Query


class AuditQuery(Query[AuditRecord], frozen=True, kw_only=True):
    """Records of what was done by hand, newest first."""

    actor: ActorKind | None = None
    key_id: KeyId | None = None
    action: str | None = None
    subject: str | None = None
