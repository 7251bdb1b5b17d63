"""What happened, as streams tell it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tocsin.core.delivery import Attempt, Delivery, DeliveryState
from tocsin.core.event import Event
from tocsin.core.identifiers import DestinationId, created_ms
from tocsin.core.spelling import fold_document
from tocsin.core.stream import StreamFilter, StreamKind, Told
from tocsin.engine.rows import Finished, Settlement


class DeliveryChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a delivery.

    Attributes:
        delivery: as it stands now.
        attempt: the one that ended; None where it was given up without one.
        number: the attempt's, from 1.
    """

    delivery: Delivery
    attempt: Attempt | None
    number: int


class Happening:
    """An event that was accepted, or a change of one of its deliveries.

    Attributes:
        change: None for the event itself.
        destinations: where its deliveries go, or this one; may be empty for an event where nobody asks.
        position: the event's in the history; None for a change.
        work_bytes: of data that were looked through for texts, so far.
        told: its messages, by how they are written and the position that they name: one serves many readers.
    """

    __slots__ = ("_folded", "change", "destinations", "event", "position", "told", "work_bytes")

    def __init__(
        self,
        event: Event,
        *,
        destinations: frozenset[DestinationId] = frozenset(),
        position: int | None = None,
        change: DeliveryChange | None = None,
    ) -> None:
        self.event = event
        self.destinations = destinations
        self.position = position
        self.change = change
        self.work_bytes = 0
        self.told: dict[tuple[Render, int], Told] = {}
        self._folded: bytes | None = None

    @property
    def kind(self) -> StreamKind:
        """What it is."""
        return StreamKind.EVENT if self.change is None else StreamKind.DELIVERY

    def is_wanted(self, wanted: StreamFilter) -> bool:
        """Return whether it is told to who wants this; looks through the data only where nothing else decides."""
        if not wanted.wants(self.kind, self.event, self.destinations):
            return False
        if wanted.text is None:
            return True
        if self._folded is None:
            self._folded = fold_document(self.event.data)
        self.work_bytes += len(self._folded)
        return wanted.text.stands_in(self._folded)


Render = Callable[[Happening, str], bytes]
"""Writes a message that names this position, as readers see it."""


def change_of(settlement: Settlement, *, now_ms: int) -> Happening | None:
    """Return what a recorded settlement tells, or None where a delivery was only given back."""
    lease, attempt, then = settlement.lease, settlement.attempt, settlement.then
    final = isinstance(then, Finished)
    if attempt is None and not final:
        return None
    counted = attempt is not None and (isinstance(then, Finished) or then.counted)
    delivery = Delivery(
        id=lease.delivery_id,
        organisation_id=lease.event.organisation_id,
        event_id=lease.event.id,
        destination_id=lease.destination_id,
        state=then.state if isinstance(then, Finished) else DeliveryState.READY,
        attempts_made=lease.attempts_made + counted,
        created_ms=created_ms(lease.delivery_id),
        due_ms=None if isinstance(then, Finished) else then.due_ms,
        settled_ms=now_ms if final else None,
        status_code=None if attempt is None else attempt.status_code,
        duration_ms=None if attempt is None else attempt.duration_ms,
        error=None if attempt is None else attempt.error,
    )
    change = DeliveryChange(delivery=delivery, attempt=attempt, number=lease.attempts_made + 1)
    return Happening(lease.event, destinations=frozenset({lease.destination_id}), change=change)
