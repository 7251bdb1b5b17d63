"""What is asked, and the pages that answer it."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from tocsin.core.delivery import (
    Delivery,
    DeliveryPhase,
    EventStatus,
    RecordedAttempt,
)
from tocsin.core.destination import Filter
from tocsin.core.device import MailboxItem
from tocsin.core.event import Dialect, Environment, Event, Severity
from tocsin.core.identifiers import ChannelId, DeliveryId, DestinationId, EventId, OrganisationId
from tocsin.core.incident import Incident, IncidentState
from tocsin.core.transaction import Transaction, TransactionState

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Rows, how to go on, and how many there are in all.

    Attributes:
        next_cursor: None on the last page.
        total: all that match; counted to 10,000 at the most, unless the query is ``thorough``, and for no longer than
            the engine's bound.
        total_is_exact: False where the count stopped there: there are at least so many.
        partial: the search stopped at the engine's bound before the page was full, or even before it found anything;
            the cursor goes on from there.
    """

    rows: list[T]
    next_cursor: bytes | None
    total: int
    total_is_exact: bool = True
    partial: bool = False


class Query(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A search whose rows are of type T; times are inclusive, of acceptance, in milliseconds.

    Attributes:
        counted: False spares counting all that match; the page's total is then not to be relied on.
        thorough: True counts events or deliveries past 10,000, and for longer: somebody waits for the figure.
    """

    organisation_id: OrganisationId
    since_ms: int | None = None
    until_ms: int | None = None
    counted: bool = True
    thorough: bool = False


class EventRow(msgspec.Struct, frozen=True):
    """An event and its status."""

    event: Event
    status: EventStatus


class EventQuery(Query[EventRow], frozen=True, kw_only=True):
    """Events, newest first, that fulfil everything that is given.

    A search that finds little among much is cut off at the engine's bound; its page is ``partial`` then.

    Attributes:
        filter: which events, by the rules of a destination's filter; it has no condition on the data.
        dialect, source, type, subject, severity: exact values, which need not be safe from being read as patterns; a
            subject is one incident or thing.
        text: stands in the data, ASCII capitals and small letters being the same; see ``core.spelling``.
        destination_id: those with a delivery to it.
        with_data: False leaves the data out, which may be a mebibyte each; the events' data is empty then.
        ascending: oldest first.
        unreplayed: True leaves out those that another took the place of.
    """

    filter: Filter = Filter()
    dialect: Dialect | None = None
    environment: Environment | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    text: str | None = None
    severity: Severity | None = None
    status: EventStatus | None = None
    destination_id: DestinationId | None = None
    unreplayed: bool = False
    with_data: bool = True
    ascending: bool = False


class DeliveryRow(msgspec.Struct, frozen=True):
    """A delivery and its event."""

    delivery: Delivery
    event: Event


class DeliveryQuery(Query[DeliveryRow], frozen=True, kw_only=True):
    """Deliveries, newest first, or oldest first with ``ascending``.

    Attributes:
        environment: of the event.
        unreplayed: True leaves out those whose event another took the place of.
        phases: any of these; empty is all.
        status_code: of the last attempt.
        with_data: False leaves the events' data out.
    """

    destination_id: DestinationId | None = None
    event_id: EventId | None = None
    event_type: str | None = None
    environment: Environment | None = None
    unreplayed: bool = False
    phases: frozenset[DeliveryPhase] = frozenset()
    status_code: int | None = None
    attempts_min: int | None = None
    with_data: bool = True
    ascending: bool = False


class AttemptQuery(Query[RecordedAttempt], frozen=True, kw_only=True):
    """Attempts of one delivery, or of all deliveries of one event, oldest first."""

    delivery_id: DeliveryId | None = None
    event_id: EventId | None = None


class TransactionTally(msgspec.Struct, frozen=True, kw_only=True):
    """How many consumer groups have begun an event.

    Attributes:
        processing: how many of them are at work on it.
    """

    total: int
    processing: int


class StandingRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where a consumer group stands with one event, all of it at the same moment.

    Attributes:
        transaction: the group's own, without its output, which may be long; None where it has none.
        tally: of all groups.
    """

    event: Event
    transaction: Transaction | None
    tally: TransactionTally


class StandingQuery(Query[StandingRow], frozen=True, kw_only=True):
    """Events of one type by where a consumer group stands with them, oldest first.

    The cost follows the rows returned and the groups that have begun them, not the events stored.

    Attributes:
        state: of the group's transaction; None is what the group may start: events without one, and those whose
            transaction lapsed.
    """

    tx_key: str
    type: str
    environment: Environment
    state: TransactionState | None = None


class TransactionRow(msgspec.Struct, frozen=True):
    """A transaction and its event's environment."""

    transaction: Transaction
    environment: Environment


class TransactionQuery(Query[TransactionRow], frozen=True, kw_only=True):
    """Transactions, their events oldest first."""

    tx_key: str | None = None
    type: str | None = None
    state: TransactionState | None = None
    environment: Environment | None = None
    event_id: EventId | None = None


class IncidentQuery(Query[Incident], frozen=True, kw_only=True):
    """Incidents of one environment, newest first."""

    environment: Environment
    state: IncidentState | None = None
    channel: str | None = None


class SubscriptionQuery(Query[ChannelId], frozen=True, kw_only=True):
    """The channels that a device subscribes to."""

    device_key: str


class MailboxQuery(Query[MailboxItem], frozen=True, kw_only=True):
    """What waits in a device's mailbox at ``now_ms``, oldest first.

    Attributes:
        delivery_id: only the item of this delivery.
    """

    device_key: str
    now_ms: int
    delivery_id: DeliveryId | None = None


class TailPage(msgspec.Struct, frozen=True):
    """Events in the order of their commits, and the cursor to go on from.

    Attributes:
        positions: of each event: the cursor that goes on behind it.
        destinations: where the deliveries of each event go; empty where that was not asked for.
        more: whether there is something behind the cursor already.
    """

    events: list[Event]
    cursor: int
    positions: list[int] = []
    destinations: list[frozenset[DestinationId]] = []
    more: bool = False
