"""The pull mailbox: an event is put where a PushGo device finds it, by whatever dialect it came."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tocsin.core.clock import DAY_MS, Clock
from tocsin.core.delivery import Attempt, Deferred, Delivered, ErrorClass, Exchange, Outcome, Rejected
from tocsin.core.errors import TocsinError, Unavailable
from tocsin.core.identifiers import DeliveryId, EventId, OrganisationId
from tocsin.transports.protocol import Done, Shipment

_PATIENCE_S = 1.0
"""When to come back to a store that cannot write and does not say until when."""


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
        destination = shipment.target.destination
        started_ms, started_s = self._clock.now_ms(), self._clock.monotonic_s()
        known, failure = True, None
        try:
            known = await self._put(shipment, started_ms + self._kept_ms)
        except Exception as error:  # noqa: BLE001  whatever it is, the dispatcher waits for an outcome
            failure = error
        attempt = Attempt(
            started_ms=started_ms,
            duration_ms=round((self._clock.monotonic_s() - started_s) * 1000),
            exchange=Exchange(request_line=f"PUT mailbox of {destination.name}"),
            error_class=ErrorClass.INTERNAL if failure is not None or not known else None,
            error=_error(failure, known=known),
        )
        done(shipment, _outcome(attempt, failure, known=known))

    async def _put(self, shipment: Shipment, expires_ms: int) -> bool:
        event, device_key = shipment.lease.event, shipment.target.secret_address.get("device_key")
        if not isinstance(device_key, str):
            return False
        return await self._mailboxes.put(
            event.organisation_id, device_key, shipment.lease.delivery_id, event.id, expires_ms
        )


def _error(failure: Exception | None, *, known: bool) -> str | None:
    if isinstance(failure, TocsinError):
        return failure.detail
    if failure is not None:
        return f"a fault of ours: {type(failure).__name__}"
    return None if known else "there is no such device"


def _outcome(attempt: Attempt, failure: Exception | None, *, known: bool) -> Outcome:
    if isinstance(failure, Unavailable):
        # Nobody at the other end refused anything: this uses up no retry.
        return Deferred(attempt, failure.retry_after_s or _PATIENCE_S, counted=False)
    if failure is not None:
        return Deferred(attempt)
    return Delivered(attempt) if known else Rejected(attempt)
