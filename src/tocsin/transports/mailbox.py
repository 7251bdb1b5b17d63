"""The pull mailbox: an event is put where a PushGo device finds it, by whatever dialect it came."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tocsin.core.clock import DAY_MS, Clock
from tocsin.core.delivery import Attempt, Deferred, Delivered, ErrorClass, Exchange, Outcome, Rejected
from tocsin.core.errors import TocsinError
from tocsin.core.identifiers import DeliveryId, EventId, OrganisationId
from tocsin.transports.protocol import Done, Shipment


class Mailboxes(Protocol):
    """Where the items are kept."""

    async def put(
        self,
        organisation_id: OrganisationId,
        device_key: str,
        delivery_id: DeliveryId,
        event_id: EventId,
        expires_ms: int,
    ) -> bool:
        """Put an event into a device's mailbox; return False when the organisation has no such device.

        Raises:
            Unavailable: the store cannot write now.
        """
        ...


class MailboxTransport:
    """Puts events into mailboxes.

    Args:
        kept_ms: how long an item waits for its device.
    """

    def __init__(self, mailboxes: Mailboxes, *, clock: Clock, kept_ms: int = 30 * DAY_MS) -> None:
        self._mailboxes = mailboxes
        self._clock = clock
        self._kept_ms = kept_ms
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Nothing is to be made ready."""

    async def close(self) -> None:
        """Abandon what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, shipment: Shipment, done: Done) -> None:
        """Begin one attempt."""
        task = asyncio.get_running_loop().create_task(self._attempt(shipment, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, shipment: Shipment, done: Done) -> None:
        event, destination = shipment.lease.event, shipment.target.destination
        started_ms, started_s = self._clock.now_ms(), self._clock.monotonic_s()
        error: str | None = None
        known = True
        try:
            known = await self._mailboxes.put(
                event.organisation_id,
                str(shipment.target.secret_address.get("device_key", "")),
                shipment.lease.delivery_id,
                event.id,
                started_ms + self._kept_ms,
            )
            if not known:
                error = "there is no such device"
        except TocsinError as failure:
            error = failure.detail
        attempt = Attempt(
            started_ms=started_ms,
            duration_ms=round((self._clock.monotonic_s() - started_s) * 1000),
            exchange=Exchange(request_line=f"PUT mailbox of {destination.name}"),
            error_class=None if error is None else ErrorClass.INTERNAL,
            error=error,
        )
        outcome: Outcome = Delivered(attempt)
        if error is not None:
            outcome = Deferred(attempt) if known else Rejected(attempt)
        done(shipment, outcome)
