"""Consuming: the events that a consumer group has not started, and its transactions on those that it has."""

from __future__ import annotations

import asyncio

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.errors import Conflict, NotFound, TocsinError
from tocsin.core.event import Environment, Event
from tocsin.core.identifiers import EventId, OrganisationId
from tocsin.core.transaction import Transaction, TransactionRefusal, TransactionState
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import (
    Begin,
    End,
    Move,
    Page,
    TransactionQuery,
    TransactionRow,
    TransactionStep,
    UnstartedQuery,
)

GROUPS_READ_AT_ONCE = 100
"""How many of an event's transactions are read to count the open ones; an event with more takes further reads."""


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer group, as one request speaks for it.

    Attributes:
        environment: the half of the organisation's events that the request's key belongs to.
        by: whom the history names: the key's id as hex, or the consumer group.
    """

    organisation_id: OrganisationId
    environment: Environment
    tx_key: str
    by: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a consumer group stands with one event.

    Attributes:
        state: None where it may be started: never begun, or left by a consumer whose lease ran out.
        transaction: None where it was never begun.
        transactions_total: how many consumer groups have begun the event, this one included.
        transactions_open: how many of them have not ended.
    """

    event: Event
    state: TransactionState | None
    transaction: Transaction | None
    transactions_total: int
    transactions_open: int


class Consumption:
    """Begins, ends and moves transactions, and lists where a consumer group stands.

    Args:
        lease_ms: after which an unfinished transaction may be taken over by another consumer of its group; None is
            never.
    """

    def __init__(self, *, engine: Engine, clock: Clock, lease_ms: int | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._lease_ms = lease_ms

    async def begin(self, consumer: Consumer, event_id: EventId) -> Transaction:
        """Start the consumer group's transaction on an event; of racing calls exactly one succeeds.

        Raises:
            NotFound: the organisation has no such event in this environment.
            Conflict: ``transaction_exists``.
        """
        now_ms = self._clock.now_ms()
        return await self._step(
            Begin(
                organisation_id=consumer.organisation_id,
                event_id=event_id,
                tx_key=consumer.tx_key,
                environment=consumer.environment,
                now_ms=now_ms,
                by=consumer.by,
                lease_until_ms=self._lease_until_ms(now_ms),
            )
        )

    async def end(
        self, consumer: Consumer, event_id: EventId, state: TransactionState, output: str | None
    ) -> Transaction:
        """End the transaction; the same end told again returns the same transaction.

        Args:
            state: finished or failed.

        Raises:
            NotFound: the consumer group has not started such an event.
            Conflict: ``transaction_ended``, in another way.
        """
        return await self._step(
            End(
                organisation_id=consumer.organisation_id,
                event_id=event_id,
                tx_key=consumer.tx_key,
                environment=consumer.environment,
                now_ms=self._clock.now_ms(),
                by=consumer.by,
                state=state,
                output=output,
            )
        )

    async def move(self, consumer: Consumer, event: Event, state: TransactionState) -> Standing:
        """Put the transaction into a state, an ended one too, and return where the group then stands.

        One that is processing then has a lease from now on, a new one or the old one prolonged.

        Raises:
            NotFound: the consumer group has not started the event.
        """
        now_ms = self._clock.now_ms()
        moved = await self._step(
            Move(
                organisation_id=consumer.organisation_id,
                event_id=event.id,
                tx_key=consumer.tx_key,
                environment=consumer.environment,
                now_ms=now_ms,
                by=consumer.by,
                state=state,
                lease_until_ms=self._lease_until_ms(now_ms),
            )
        )
        return await self._standing(event, consumer, moved, started=True)

    async def event(self, consumer: Consumer, event_id: EventId) -> Event:
        """Return an event that this consumer may see.

        Raises:
            NotFound: the organisation has no such event in this environment.
        """
        (found,) = await self._engine.find(Event, consumer.organisation_id, [event_id])
        if found is None or found.environment is not consumer.environment:
            raise NotFound("there is no such event")
        return found

    async def unstarted(
        self, consumer: Consumer, event_type: str, *, since_ms: int | None, limit: int, offset: int
    ) -> Page[Standing]:
        """Return events of one type that the group may start, oldest first; times are of acceptance, inclusive."""
        query = UnstartedQuery(
            organisation_id=consumer.organisation_id,
            since_ms=since_ms,
            tx_key=consumer.tx_key,
            type=event_type,
            environment=consumer.environment,
        )
        page = await self._engine.search(query, limit=limit, offset=offset)
        rows = await asyncio.gather(*(self._standing(event, consumer, None, started=False) for event in page.rows))
        return Page(rows=rows, next_cursor=None, total=page.total, total_is_exact=page.total_is_exact)

    async def started(
        self,
        consumer: Consumer,
        event_type: str,
        state: TransactionState,
        *,
        since_ms: int | None,
        limit: int,
        offset: int,
    ) -> Page[Standing]:
        """Return events of one type whose transaction of this group is in ``state``, oldest first."""
        query = TransactionQuery(
            organisation_id=consumer.organisation_id,
            since_ms=since_ms,
            tx_key=consumer.tx_key,
            type=event_type,
            state=state,
            environment=consumer.environment,
        )
        page = await self._engine.search(query, limit=limit, offset=offset)
        rows = await asyncio.gather(
            *(self._standing(row.event, consumer, row.transaction, started=True) for row in page.rows)
        )
        return Page(rows=rows, next_cursor=None, total=page.total, total_is_exact=page.total_is_exact)

    async def transactions(
        self, query: TransactionQuery, *, limit: int, cursor: bytes | None = None
    ) -> Page[TransactionRow]:
        """Return transactions and their events, of one consumer group or of all, oldest event first."""
        return await self._engine.search(query, limit=limit, cursor=cursor)

    def _lease_until_ms(self, now_ms: int) -> int | None:
        return None if self._lease_ms is None else now_ms + self._lease_ms

    async def _step(self, step: TransactionStep) -> Transaction:
        (result,) = await self._engine.transact([step])
        if isinstance(result, Transaction):
            return result
        raise _refusal(step, result)

    async def _standing(
        self, event: Event, consumer: Consumer, transaction: Transaction | None, *, started: bool
    ) -> Standing:
        """Return where the group stands, with the event's transactions counted.

        Args:
            transaction: as just read; None looks it up, for a lapsed one is among the unstarted.
        """
        everyone = TransactionQuery(organisation_id=event.organisation_id, event_id=event.id)
        page = await self._engine.search(everyone, limit=GROUPS_READ_AT_ONCE)
        all_read = page.total == len(page.rows)
        found = [row.transaction for row in page.rows]
        if transaction is None and all_read:
            transaction = next((each for each in found if each.tx_key == consumer.tx_key), None)
        elif transaction is None:
            mine = msgspec.structs.replace(everyone, tx_key=consumer.tx_key)
            transaction = next((row.transaction for row in (await self._engine.search(mine, limit=1)).rows), None)
        if all_read:
            still_open = sum(each.state is TransactionState.PROCESSING for each in found)
        else:
            processing = msgspec.structs.replace(everyone, state=TransactionState.PROCESSING)
            still_open = (await self._engine.search(processing, limit=1)).total
        return Standing(
            event=event,
            state=transaction.state if started and transaction is not None else None,
            transaction=transaction,
            transactions_total=page.total,
            transactions_open=still_open,
        )


def _refusal(step: TransactionStep, refusal: TransactionRefusal) -> TocsinError:
    if refusal is TransactionRefusal.EXISTS:
        return Conflict("this consumer group has started the event already", code="transaction_exists")
    if refusal is TransactionRefusal.ENDED:
        return Conflict("the transaction has ended in another way", code="transaction_ended")
    if isinstance(step, Begin):
        return NotFound("there is no such event")
    return NotFound("this consumer group has not started such an event")
