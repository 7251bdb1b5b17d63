"""A client's ledger of what it was told, and how it is held against what a store has.

The work: events are accepted, each with a key, a charge and two deliveries; one delivery of each ends, the other is
put off. The ledger notes what was answered. Whatever happened to the process or the disk, what the ledger has is in
the store, and everything in the store is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec

from tocsin.core.delivery import Attempt, DeliveryState, Exchange, Lease, NewDelivery
from tocsin.core.event import Dialect, Event, idempotency_key
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, DestinationId, EventId, IdSequence, bucket_of
from tocsin.core.quota import QuotaCharge
from tocsin.engine.codec import STATE_CODES
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import Accepted, Finished, NewEvent, RetryAt, Settlement
from tocsin.engine.sqlite import SqliteEngine
from tocsin.engine.sqlite.connection import DATABASE_FILE
from tocsin.engine.sqlite.sql import write_rows
from tocsin.testing.clock import ManualClock

COUNTER = "faults"
DELIVERIES = 2


class Entry(msgspec.Struct, frozen=True):
    """One answer: ``stored`` names an event, ``ended`` and ``put_off`` a delivery whose attempt was recorded."""

    kind: str
    id: bytes


Note = Callable[[Entry], None]


class Client:
    """Does the work and notes the answers.

    Args:
        entropy: of the ids; two clients of one store need different ones.
    """

    def __init__(self, engine: Engine, clock: ManualClock, note: Note, *, entropy: Callable[[int], bytes]) -> None:
        self._engine = engine
        self._clock = clock
        self._note = note
        self._ids = IdSequence(entropy)

    def new_event(self, *, size: int = 300) -> NewEvent:
        """Return an event with its key, its charge and its deliveries."""
        now_ms = self._clock.now_ms()
        event_id = EventId(self._ids.make(now_ms))
        key = idempotency_key(DEFAULT_ORGANISATION, "faults", event_id.hex(), bytes(16), expires_after_ms=86_400_000)
        return NewEvent(
            event=Event(
                id=event_id,
                organisation_id=DEFAULT_ORGANISATION,
                dialect=Dialect.TOCSIN,
                source="faults",
                type="test",
                time_ms=now_ms,
                data=b"x" * size,
            ),
            deliveries=tuple(self._delivery(leased=True) for _ in range(DELIVERIES)),
            idempotency=(key,),
            quota=QuotaCharge(COUNTER, None),
        )

    def _delivery(self, *, leased: bool) -> NewDelivery:
        made = self._ids.make(self._clock.now_ms())
        return NewDelivery(id=DeliveryId(made), destination_id=DestinationId(bytes(15) + made[-1:]), leased=leased)

    async def accept(self, batch: list[NewEvent]) -> list[Lease]:
        """Store a batch; return the leases.

        Raises:
            Unavailable: nothing was answered.
        """
        results = await self._engine.accept(batch, lease_until_ms=self._clock.now_ms() + 60_000)
        leases: list[Lease] = []
        for result in results:
            assert isinstance(result, Accepted), result
            self._note(Entry("stored", result.event.id))
            leases.extend(result.leases)
        return leases

    async def settle(self, leases: list[Lease]) -> None:
        """End every second delivery, put the others off.

        Raises:
            Unavailable: nothing was answered.
        """
        now_ms = self._clock.now_ms()
        exchange = Exchange(request_line="POST https://receiver.example", response_body=b"y" * 200)
        attempt = Attempt(started_ms=now_ms, duration_ms=1, exchange=exchange, status_code=200)
        ended = Finished(DeliveryState.DELIVERED)
        batch = [
            Settlement(lease, attempt, ended if number % 2 else RetryAt(now_ms + 1000))
            for number, lease in enumerate(leases)
        ]
        verdicts = await self._engine.settle(batch)
        for each, verdict in zip(batch, verdicts, strict=True):
            assert verdict
            self._note(Entry("ended" if each.then is ended else "put_off", each.lease.delivery_id))

    async def work(self, rounds: int) -> None:
        """Accept and settle, in batches of one to three."""
        for number in range(rounds):
            leases = await self.accept([self.new_event() for _ in range(1 + number % 3)])
            await self.settle(leases)

    # -- careless ways, for negative controls -------------------------------------------------------------

    async def work_and_answer_early(self, rounds: int) -> None:
        """The same, but the client is answered before the commit."""
        for number in range(rounds):
            batch = [self.new_event() for _ in range(1 + number % 3)]
            for each in batch:
                self._note(Entry("stored", each.event.id))
            await self.accept(batch)

    async def work_in_two_transactions(self, rounds: int) -> None:
        """The same, but an event and its deliveries are committed apart."""
        for _ in range(rounds):
            new = self.new_event()
            await self.accept([msgspec.structs.replace(new, deliveries=())])
            now_ms = self._clock.now_ms()
            rows = [
                (
                    bucket_of(each.id),
                    each.id,
                    DEFAULT_ORGANISATION,
                    new.event.id,
                    each.destination_id,
                    STATE_CODES[DeliveryState.READY],
                    now_ms,
                    0,
                    0,
                    None,
                    None,
                )
                for each in new.deliveries
            ]
            assert isinstance(self._engine, SqliteEngine)
            await self._engine._writer.submit(partial(write_rows, name="insert_deliveries", rows=rows))


class Verdict(msgspec.Struct, frozen=True):
    """What a store is worth after a fault.

    Attributes:
        lost: answers that the store does not bear out.
        halves: events and deliveries that are not whole.
        damage: what SQLite's own check finds; ``ok`` for none.
    """

    lost: int
    halves: int
    damage: str


def verdict_on(directory: Path, entries: set[Entry]) -> Verdict:
    """Open a store as a restart would, and hold it against a ledger."""
    connection = apsw.Connection(str(directory / DATABASE_FILE))
    try:
        damage = str(connection.execute("pragma integrity_check(1)").get)
        return Verdict(_lost(connection, entries), _halves(connection), damage)
    finally:
        connection.close()


def _column(connection: apsw.Connection, text: str) -> set[Any]:
    return {row[0] for row in connection.execute(text)}


def _lost(connection: apsw.Connection, entries: set[Entry]) -> int:
    attempted = "where id in (select delivery_id from attempt)"
    stored = {
        "stored": _column(connection, "select id from event"),
        "ended": _column(connection, f"select id from delivery_history {attempted} and state = 3"),
        "put_off": _column(connection, f"select id from delivery {attempted} and state = 0 and attempts = 1"),
    }
    return sum(entry.id not in stored[entry.kind] for entry in entries)


def _halves(connection: apsw.Connection) -> int:
    columns = "id, event_id, attempts"
    both = f"(select {columns} from delivery union all select {columns} from delivery_history)"
    wrong = [
        f"select count(*) from event where {DELIVERIES} <> (select count(*) from {both} where event_id = event.id)",
        f"select count(*) from {both} where event_id not in (select id from event)",
        f"select count(*) from {both} d where attempts <> (select count(*) from attempt where delivery_id = d.id)",
        f"select count(*) from attempt where delivery_id not in (select id from {both})",
        "select count(*) from event where id not in (select event_id from idempotency)",
        "select count(*) from idempotency where event_id not in (select id from event)",
        "select (select count(*) from event) <> coalesce((select sum(used) from quota), 0)",
    ]
    return sum(int(connection.execute(each).get) for each in wrong)
