"""The audit trail: who changed what by hand, from where, and what it came to; never a secret."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NewType

import msgspec

from tocsin.core.identifiers import KeyId, OrganisationId

AuditId = NewType("AuditId", bytes)


class ActorKind(StrEnum):
    """By what somebody was let in."""

    OPERATOR = "operator"
    """A key with the operator's scope."""
    KEY = "key"
    """Any other API key."""
    OTHER = "other"
    """No API key: a token of Native Frame's, PushGo's gateway token, or nothing where that is allowed."""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts.

    Attributes:
        key_id, name: of the API key; None without one. The name is the one it had then.
    """

    kind: ActorKind
    key_id: KeyId | None = None
    name: str | None = None


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done by hand.

    Attributes:
        action: what was done, the same word for ever: ``destination.updated``.
        subject: what it was done to, as the API writes its id; None where it is no single thing.
        summary: what changed, without secrets.
        client: the peer's address.
    """

    id: AuditId
    organisation_id: OrganisationId
    at_ms: int
    actor: Actor
    action: str
    subject: str | None = None
    summary: dict[str, Any] = {}
    client: str = ""
