"""Consuming: the events that a consumer group has not started, and its transactions on those that it has."""

from __future__ import annotations

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
    StandingQuery,
    TransactionStep,
    TransactionTally,
)


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
        transaction: None where it was never begun; in a list without its output.
        transactions_total: how many consumer groups have begun the event, this one included.
        transactions_open: how many of them are processing it.
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
        # Counted a moment later: another group may have gone on meanwhile, or retention have dropped the event.
        (tally,) = await self._engine.find(TransactionTally, consumer.organisation_id, [event.id])
        if tally is None:
            raise NotFound("there is no such event any more")
        return Standing(
            event=event,
            state=moved.state,
            transaction=moved,
            transactions_total=tally.total,
            transactions_open=tally.processing,
        )

    async def event(self, consumer: Consumer, event_id: EventId) -> Event:
        """Return an event that this consumer may see.

        Raises:
            NotFound: the organisation has no such event in this environment.
        """
        (found,) = await self._engine.find(Event, consumer.organisation_id, [event_id])
        if found is None or found.environment is not consumer.environment:
            raise NotFound("there is no such event")
        return found

    async def list(
        self,
        consumer: Consumer,
        event_type: str,
        state: TransactionState | None,
        *,
        since_ms: int | None,
        limit: int,
        offset: int,
        cursor: bytes | None = None,
    ) -> Page[Standing]:
        """Return events of one type by where the group stands with them, oldest first.

        Args:
            state: of the group's transaction; None is what the group may start.
            since_ms: of acceptance, inclusive.
            cursor: of the page before, instead of ``offset``; its total is not counted again.
        """
        query = StandingQuery(
            organisation_id=consumer.organisation_id,
            since_ms=since_ms,
            tx_key=consumer.tx_key,
            type=event_type,
            state=state,
            environment=consumer.environment,
            counted=cursor is None,
        )
        page = await self._engine.search(query, limit=limit, cursor=cursor, offset=offset)
        rows = [
            Standing(
                event=row.event,
                state=state,
                transaction=row.transaction,
                transactions_total=row.tally.total,
                transactions_open=row.tally.processing,
            )
            for row in page.rows
        ]
        return Page(rows=rows, next_cursor=page.next_cursor, total=page.total, total_is_exact=page.total_is_exact)

    def _lease_until_ms(self, now_ms: int) -> int | None:
        return None if self._lease_ms is None else now_ms + self._lease_ms

    async def _step(self, step: TransactionStep) -> Transaction:
        (result,) = await self._engine.transact([step])
        if isinstance(result, Transaction):
            return result
        raise _refusal(step, result)


def _refusal(step: TransactionStep, refusal: TransactionRefusal) -> TocsinError:
    if refusal is TransactionRefusal.EXISTS:
        return Conflict("this consumer group has started the event already", code="transaction_exists")
    if refusal is TransactionRefusal.ENDED:
        return Conflict("the transaction has ended in another way", code="transaction_ended")
    if isinstance(step, Begin):
        return NotFound("there is no such event")
    return NotFound("this consumer group has not started such an event")
