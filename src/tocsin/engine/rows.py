"""The values that cross the engine's border: batches in, results out, queries and pages."""

from __future__ import annotations

from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from tocsin.core.delivery import (
    Attempt,
    Delivery,
    DeliveryPhase,
    DeliveryState,
    EventStatus,
    Lease,
    NewDelivery,
    RecordedAttempt,
)
from tocsin.core.destination import Destination
from tocsin.core.device import Device, MailboxItem
from tocsin.core.event import Dialect, Environment, Event, IdempotencyKey, Severity
from tocsin.core.identifiers import ChannelId, DeliveryId, DestinationId, EventId, OrganisationId
from tocsin.core.incident import Incident, IncidentChange, IncidentRefusal, IncidentState
from tocsin.core.organisation import ApiKey, Category, Channel, Organisation, ServiceKey
from tocsin.core.quota import QuotaCharge
from tocsin.core.transaction import Transaction, TransactionState

T = TypeVar("T")


class EngineRefused(Exception):
    """The store cannot be opened; the text says why and what to do."""


class Durability(StrEnum):
    """What a returned write has survived."""

    FSYNC = "fsync"
    REPLICATED = "replicated"


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What the store is and promises."""

    engine: str
    version: str
    durability: Durability


# -- accept ------------------------------------------------------------------------------------------------


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to store, the conditions for it, and where it goes."""

    event: Event
    deliveries: tuple[NewDelivery, ...] = ()
    idempotency: tuple[IdempotencyKey, ...] = ()
    incident: IncidentChange | None = None
    quota: QuotaCharge | None = None
    mailbox_channel: ChannelId | None = None
    mailbox_expires_ms: int | None = None


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


# -- settle and amend --------------------------------------------------------------------------------------


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
    """Stop a live delivery; of one that is being sent, what comes back is kept as a late attempt."""

    organisation_id: OrganisationId
    delivery_id: DeliveryId


class Retry(msgspec.Struct, frozen=True):
    """Make a delivery due now: a final one goes back into the queue, a waiting one goes first."""

    organisation_id: OrganisationId
    delivery_id: DeliveryId
    due_ms: int


class Deliver(msgspec.Struct, frozen=True):
    """Add a delivery of a past event."""

    organisation_id: OrganisationId
    event_id: EventId
    delivery: NewDelivery
    due_ms: int


Amendment = Cancel | Retry | Deliver


class AmendmentResult(StrEnum):
    """What an amendment came to."""

    DONE = "done"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    """The delivery is final (cancel), or being sent right now (retry)."""


# -- transactions ------------------------------------------------------------------------------------------


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """Start a transaction; ``lease_until_ms`` lets another take it over then."""

    organisation_id: OrganisationId
    event_id: EventId
    tx_key: str
    environment: Environment
    now_ms: int
    by: str
    lease_until_ms: int | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """End a transaction with an output."""

    organisation_id: OrganisationId
    event_id: EventId
    tx_key: str
    environment: Environment
    now_ms: int
    by: str
    state: TransactionState
    output: str | None = None


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Put an existing transaction into a state."""

    organisation_id: OrganisationId
    event_id: EventId
    tx_key: str
    environment: Environment
    now_ms: int
    by: str
    state: TransactionState


TransactionStep = Begin | End | Move


# -- queries -----------------------------------------------------------------------------------------------


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Rows, how to go on, and how many there are in all.

    Attributes:
        next_cursor: None on the last page.
        total: all that match; counted to 10,000 at the most.
        total_is_exact: False where the count stopped there.
    """

    rows: list[T]
    next_cursor: bytes | None
    total: int
    total_is_exact: bool = True


class Query(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A search whose rows are of type T; times are inclusive, of acceptance, in milliseconds."""

    organisation_id: OrganisationId
    since_ms: int | None = None
    until_ms: int | None = None


class EventRow(msgspec.Struct, frozen=True):
    """An event and its status."""

    event: Event
    status: EventStatus


class EventQuery(Query[EventRow], frozen=True, kw_only=True):
    """Events, newest first.

    Attributes:
        destination_id: those with a delivery to it.
        subject: those of one incident or thing, oldest first with ``ascending``.
    """

    dialect: Dialect | None = None
    environment: Environment | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    severity: Severity | None = None
    status: EventStatus | None = None
    destination_id: DestinationId | None = None
    ascending: bool = False


class DeliveryRow(msgspec.Struct, frozen=True):
    """A delivery and its event."""

    delivery: Delivery
    event: Event


class DeliveryQuery(Query[DeliveryRow], frozen=True, kw_only=True):
    """Deliveries, newest first.

    Attributes:
        phases: any of these; empty is all.
        status_code: of the last attempt.
    """

    destination_id: DestinationId | None = None
    event_id: EventId | None = None
    event_type: str | None = None
    phases: frozenset[DeliveryPhase] = frozenset()
    status_code: int | None = None
    attempts_min: int | None = None


class AttemptQuery(Query[RecordedAttempt], frozen=True, kw_only=True):
    """Attempts of one delivery, or of all deliveries of one event, oldest first."""

    delivery_id: DeliveryId | None = None
    event_id: EventId | None = None


class UnstartedQuery(Query[Event], frozen=True, kw_only=True):
    """Events of one type that a consumer group has not started, oldest first.

    Its cost follows the rows returned, not the events stored.
    """

    tx_key: str
    type: str
    environment: Environment


class TransactionRow(msgspec.Struct, frozen=True):
    """A transaction and its event."""

    transaction: Transaction
    event: Event


class TransactionQuery(Query[TransactionRow], frozen=True, kw_only=True):
    """Transactions, their events oldest first."""

    tx_key: str | None = None
    type: str | None = None
    state: TransactionState | None = None
    environment: Environment | None = None
    event_id: EventId | None = None


class IncidentQuery(Query[Incident], frozen=True, kw_only=True):
    """Incidents, newest first."""

    state: IncidentState | None = None
    channel: str | None = None


class SubscriptionQuery(Query[ChannelId], frozen=True, kw_only=True):
    """The channels that a device subscribes to."""

    device_key: str


class MailboxQuery(Query[MailboxItem], frozen=True, kw_only=True):
    """What waits in a device's mailbox at ``now_ms``, oldest first.

    Attributes:
        after: only the item of this delivery id.
    """

    device_key: str
    now_ms: int
    delivery_id: DeliveryId | None = None


class TailPage(msgspec.Struct, frozen=True):
    """Events in the order of their commits, and the cursor to go on from."""

    events: list[Event]
    cursor: int


# -- catalog -----------------------------------------------------------------------------------------------

Entity = Organisation | ApiKey | ServiceKey | Channel | Category | Destination
"""What the catalog holds: few, read all the time, kept in memory by every process."""


class Save(msgspec.Struct, frozen=True):
    """Insert (revision 0) or replace the entity that still has this revision.

    Attributes:
        unique_name: refused when another entity of the kind has it in the organisation; None does not claim one.
    """

    entity: Entity
    unique_name: str | None = None


class Remove(msgspec.Struct, frozen=True):
    """Remove an entity, whatever its revision."""

    kind: type[Entity]
    organisation_id: OrganisationId
    id: bytes


CatalogOp = Save | Remove


class CatalogResult(StrEnum):
    """What an op of the catalog came to."""

    DONE = "done"
    NAME_TAKEN = "name_taken"
    CHANGED_MEANWHILE = "changed_meanwhile"
    NOT_FOUND = "not_found"
    SKIPPED = "skipped"
    """Another op of the list was refused."""


class CatalogDelta(msgspec.Struct, frozen=True):
    """What changed: entities as they stand, with their revision, and the ids that are gone."""

    revision: int
    saved: list[Entity]
    removed: list[tuple[type[Entity], bytes]]


# -- mailboxes ---------------------------------------------------------------------------------------------


class SaveDevice(msgspec.Struct, frozen=True):
    """Insert or replace a device."""

    device: Device


class Subscribe(msgspec.Struct, frozen=True):
    """Subscribe a device to a channel, unless the channel has ``limit`` devices."""

    organisation_id: OrganisationId
    device_key: str
    channel_id: ChannelId
    limit: int


class Unsubscribe(msgspec.Struct, frozen=True):
    """End a subscription."""

    organisation_id: OrganisationId
    device_key: str
    channel_id: ChannelId


class KeepSubscriptions(msgspec.Struct, frozen=True):
    """End every subscription of a device but these."""

    organisation_id: OrganisationId
    device_key: str
    channel_ids: tuple[ChannelId, ...]


class PutItem(msgspec.Struct, frozen=True):
    """Put an event into a device's mailbox."""

    organisation_id: OrganisationId
    device_key: str
    delivery_id: DeliveryId
    event_id: EventId
    expires_ms: int


class AckItem(msgspec.Struct, frozen=True):
    """Take an item out of a device's mailbox."""

    organisation_id: OrganisationId
    device_key: str
    delivery_id: DeliveryId


MailboxOp = SaveDevice | Subscribe | Unsubscribe | KeepSubscriptions | PutItem | AckItem


class MailboxResult(StrEnum):
    """What an op on mailboxes came to."""

    DONE = "done"
    UNCHANGED = "unchanged"
    """It was so already, or there was nothing to remove."""
    LIMIT = "limit"
    NOT_FOUND = "not_found"
    """The organisation has no such device, or no such event."""
