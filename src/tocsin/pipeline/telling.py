"""Telling people: what a message needs beside its event is looked up before the attempt is made."""

from __future__ import annotations

import asyncio

import structlog

from tocsin.core.clock import Clock
from tocsin.core.delivery import Attempt, Delivered, DeliveryPhase, Exchange, Posted
from tocsin.core.destination import Destination, IncidentStyle
from tocsin.core.event import Event, Severity
from tocsin.core.identifiers import DeliveryId, DestinationId, created_ms
from tocsin.core.incident import Incident
from tocsin.core.quiet_hours import may_wait, quiet_over_ms, urgent_lane
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import DeliveryQuery
from tocsin.pipeline.settling import broken
from tocsin.transports.protocol import Done, Shipment, Transport

_WAITING = frozenset({DeliveryPhase.NEW, DeliveryPhase.RETRYING, DeliveryPhase.SENDING})

_log = structlog.get_logger("tocsin.telling")


class Telling:
    """A way out to people, which is told of the incident as it stands and of what quiet hours held back.

    Args:
        transport: what makes the attempts.
        edits: whether its remote lets a message be changed that was sent.
    """

    def __init__(self, transport: Transport, *, engine: Engine, clock: Clock, edits: bool) -> None:
        self._transport = transport
        self._engine = engine
        self._clock = clock
        self._edits = edits
        self._tasks: set[asyncio.Task[None]] = set()
        self._noted: dict[DestinationId, tuple[int, DeliveryId]] = {}

    async def open(self) -> None:
        """See ``Transport``."""
        await self._transport.open()

    async def close(self) -> None:
        """See ``Transport``."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._transport.close()

    def start(self, shipment: Shipment, done: Done) -> None:
        """See ``Transport``."""
        event, destination = shipment.lease.event, shipment.target.destination
        now_ms = self._clock.now_ms()
        over_ms = quiet_over_ms(destination.quiet_hours, created_ms(event.id), now_ms) if may_wait(event) else None
        if over_ms is not None and not self._notes(shipment, over_ms):
            over_ms = None
        if event.incident_state is None and over_ms is None:
            self._transport.start(shipment, done)
            return
        task = asyncio.get_running_loop().create_task(self._start(shipment, done, over_ms))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self, shipment: Shipment, done: Done, over_ms: int | None) -> None:
        event, destination = shipment.lease.event, shipment.target.destination
        try:
            incident = await self._incident(event)
            posted = await self._standing(shipment, event) if incident is not None else None
            if posted is not None and posted.event_id > event.id:
                self._leave_note(shipment)
                done(shipment, _told_by_a_later_one(self._clock.now_ms()))
                return
            note = ""
            if over_ms is not None:
                note = await self._note(destination, over_ms)
            # An edit rings nobody and shows no note, so what has to be noticed is a message of its own.
            if posted is not None and (note or await self._escalates(event, posted)):
                posted = None
            whole = Shipment(shipment.lease, shipment.target, incident, posted, note)
            # The dispatcher knows the attempt by its lease, which is the same.
            self._transport.start(whole, done)
        except Exception as fault:  # noqa: BLE001  whatever it is, the dispatcher waits for an outcome
            _log.warning("message_not_prepared", destination=destination.id.hex(), exc_info=fault)
            done(shipment, broken(self._clock.now_ms(), f"the message was not prepared: {type(fault).__name__}"))

    def _notes(self, shipment: Shipment, over_ms: int) -> bool:
        """Return whether this message has the note, which is the first one's; it keeps it when it is tried again."""
        this = over_ms, shipment.lease.delivery_id
        noted = self._noted.get(shipment.lease.destination_id)
        if noted is None or noted[0] < over_ms:
            noted = self._noted[shipment.lease.destination_id] = this
        return noted == this

    def _leave_note(self, shipment: Shipment) -> None:
        """Leave the note to the next message: of this one nothing is sent."""
        noted = self._noted.get(shipment.lease.destination_id)
        if noted is not None and noted[1] == shipment.lease.delivery_id:
            del self._noted[shipment.lease.destination_id]

    async def _incident(self, event: Event) -> Incident | None:
        if event.incident_state is None or event.subject is None:
            return None
        (found,) = await self._engine.find(Incident, event.organisation_id, [bytes.fromhex(event.subject)])
        return found

    async def _standing(self, shipment: Shipment, event: Event) -> Posted | None:
        """Return the message that tells how the incident stands, or None where each event has one of its own."""
        destination, lane = shipment.target.destination, shipment.lease.lane
        edits = self._edits and destination.ordered and destination.incidents is IncidentStyle.EDIT
        if not edits or lane is None or event.subject is None:
            return None
        usual = event.subject.encode()
        keys = [destination.id + usual, destination.id + urgent_lane(usual)]
        found = [each for each in await self._engine.find(Posted, event.organisation_id, keys) if each is not None]
        return max(found, key=lambda each: each.event_id, default=None)

    async def _escalates(self, event: Event, posted: Posted) -> bool:
        """Return whether an incident has become critical since the message that stands."""
        if event.severity is not Severity.CRITICAL:
            return False
        (told,) = await self._engine.find(Event, event.organisation_id, [posted.event_id])
        return told is None or told.severity is not Severity.CRITICAL

    async def _note(self, destination: Destination, over_ms: int) -> str:
        """Return the line that says how much quiet hours held back; above the first message that follows them."""
        query = DeliveryQuery(
            organisation_id=destination.organisation_id,
            destination_id=destination.id,
            phases=_WAITING,
            until_ms=over_ms,
            with_data=False,
        )
        page = await self._engine.search(query, limit=1)
        quiet = destination.quiet_hours
        assert quiet is not None
        hours = f"quiet hours, {quiet.start} to {quiet.end} {quiet.timezone}"
        if page.total <= 1:
            return f"🌙 Held back during {hours}"
        least = "" if page.total_is_exact else "at least "
        return f"🌙 {least}{page.total} messages were held back during {hours}"


def _told_by_a_later_one(now_ms: int) -> Delivered:
    """Return the outcome of an event of which nothing is sent, lest the message go back to how things stood."""
    line = "(nothing was sent: a later message tells how the incident stands)"
    return Delivered(Attempt(started_ms=now_ms, duration_ms=0, exchange=Exchange(request_line=line)))
