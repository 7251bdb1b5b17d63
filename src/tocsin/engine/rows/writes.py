"""What is written: events with their conditions, settlements, amendments, steps of transactions."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.core.audit import AuditRecord
from tocsin.core.delivery import (
    Attempt,
    DeliveryState,
    Lease,
    NewDelivery,
)
from tocsin.core.event import Environment, Event, IdempotencyKey
from tocsin.core.identifiers import ChannelId, DeliveryId, EventId, OrganisationId
from tocsin.core.incident import IncidentChange, IncidentRefusal
from tocsin.core.quota import QuotaCharge
from tocsin.core.transaction import TransactionState


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to store, the conditions for it, and where it goes.

    Attributes:
        record: kept with it once it is accepted.
    """

    event: Event
    deliveries: tuple[NewDelivery, ...] = ()
    idempotency: tuple[IdempotencyKey, ...] = ()
    incident: IncidentChange | None = None
    quota: QuotaCharge | None = None
    mailbox_channel: ChannelId | None = None
    mailbox_expires_ms: int | None = None
    record: AuditRecord | None = None


class Accepted(msgspec.Struct, frozen=True):
    """Stored; ``event`` has its incident's state filled in, ``leases`` are those asked for."""

    event: Event
    leases: tuple[Lease, ...] = ()


class Repeated(msgspec.Struct, frozen=True):
    """The same request was stored before, as this event."""

    event_id: EventId


class KeyConflict(msgspec.Struct, frozen=True):
    """The key was used for another request, stored as this event."""

    event_id: EventId


class QuotaExceeded(msgspec.Struct, frozen=True):
    """The counter stands at its limit."""

    limit: int


class IncidentRefused(msgspec.Struct, frozen=True):
    """The incident's rule forbids it."""

    reason: IncidentRefusal


class AcceptFailed(msgspec.Struct, frozen=True):
    """This event alone could not be stored; a fault of ours."""

    error: str


Acceptance = Accepted | Repeated | KeyConflict | QuotaExceeded | IncidentRefused | AcceptFailed


class Finished(msgspec.Struct, frozen=True):
    """The delivery is final."""

    state: DeliveryState


class RetryAt(msgspec.Struct, frozen=True):
    """It is tried again; ``counted`` False leaves the number of attempts as it was."""

    due_ms: int
    counted: bool = True


class Settlement(msgspec.Struct, frozen=True):
    """What became of a lease; without an attempt it is only released."""

    lease: Lease
    attempt: Attempt | None
    then: Finished | RetryAt


class Cancel(msgspec.Struct, frozen=True):
    """Stop a live delivery; of one that is being sent, what comes back is kept as a late attempt.

    Attributes:
        record: kept with it once it is done.
    """

    organisation_id: OrganisationId
    delivery_id: DeliveryId
    record: AuditRecord | None = None


class Retry(msgspec.Struct, frozen=True):
    """Make a delivery due now: a final one goes back into the queue with a fresh schedule.

    Attributes:
        record: kept with it once it is done.
    """

    organisation_id: OrganisationId
    delivery_id: DeliveryId
    due_ms: int
    record: AuditRecord | None = None


Amendment = Cancel | Retry


class AmendmentResult(StrEnum):
    """What an amendment came to."""

    DONE = "done"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    """The delivery is final (cancel), or being sent right now (retry)."""


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    """What every step says: whose transaction of which event, when, and by whom."""

    organisation_id: OrganisationId
    event_id: EventId
    tx_key: str
    environment: Environment
    now_ms: int
    by: str


class Begin(_Step, frozen=True, kw_only=True):
    """Start a transaction; ``lease_until_ms`` lets another take it over then."""

    lease_until_ms: int | None = None


class End(_Step, frozen=True, kw_only=True):
    """End a transaction with an output."""

    state: TransactionState
    output: str | None = None


class Move(_Step, frozen=True, kw_only=True):
    """Put an existing transaction into a state; ``lease_until_ms`` holds where that is processing."""

    state: TransactionState
    lease_until_ms: int | None = None


TransactionStep = Begin | End | Move
