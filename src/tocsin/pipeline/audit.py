"""Who acts in this request, so that what is changed by hand can be told without every function passing it on.

A request's actor is noted where its key is checked, and asked for where something is written: by the catalog for all
that it holds, by the use cases for the rest. Nobody acts in what runs beside the requests, and nothing is recorded.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import msgspec

from tocsin.core.audit import Actor, AuditId, AuditRecord
from tocsin.core.clock import Clock
from tocsin.core.identifiers import IdSequence, OrganisationId


class Acting(msgspec.Struct, frozen=True):
    """Somebody who acts.

    Attributes:
        client: the peer's address.
    """

    organisation_id: OrganisationId
    actor: Actor
    client: str
    clock: Clock
    ids: IdSequence

    def record(
        self,
        action: str,
        subject: str | None = None,
        summary: dict[str, Any] | None = None,
        *,
        organisation_id: OrganisationId | None = None,
    ) -> AuditRecord:
        """Return a record of what they do.

        Args:
            organisation_id: whose trail it belongs to; None is the actor's own.
        """
        at_ms = self.clock.now_ms()
        return AuditRecord(
            id=AuditId(self.ids.make(at_ms)),
            organisation_id=self.organisation_id if organisation_id is None else organisation_id,
            at_ms=at_ms,
            actor=self.actor,
            action=action,
            subject=subject,
            summary={} if summary is None else summary,
            client=self.client,
        )


_ACTING: ContextVar[Acting | None] = ContextVar("acting", default=None)
"""Each request is answered in a context of its own."""


class Audit:
    """Notes who acts.

    Args:
        ids: name the records.
    """

    def __init__(self, *, clock: Clock, ids: IdSequence) -> None:
        self._clock = clock
        self._ids = ids

    def enter(self, organisation_id: OrganisationId, actor: Actor, client: str) -> None:
        """Note who acts from here on, in this request."""
        _ACTING.set(Acting(organisation_id, actor, client, self._clock, self._ids))


def acting() -> Acting | None:
    """Return who acts, or None where nobody does."""
    return _ACTING.get()


def record_of(action: str, subject: str | None = None, summary: dict[str, Any] | None = None) -> AuditRecord | None:
    """Return a record of what whoever acts here does, or None where nobody acts."""
    found = _ACTING.get()
    return None if found is None else found.record(action, subject, summary)
