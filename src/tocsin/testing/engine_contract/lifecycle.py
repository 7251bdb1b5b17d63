"""The delivery's state machine, as the core draws it: every state, every trigger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tocsin.core.delivery import DeliveryState, Lease
from tocsin.core.identifiers import DeliveryId, DestinationId
from tocsin.core.lifecycle import DELIVERY
from tocsin.engine.rows import Cancel, NewEvent, Retry
from tocsin.testing.engine_contract.stage import LEASE_MS, Stage, scenario

READY, LEASED, BLOCKED = DeliveryState.READY, DeliveryState.LEASED, DeliveryState.BLOCKED
DELIVERED, EXPIRED, CANCELLED = DeliveryState.DELIVERED, DeliveryState.EXPIRED, DeliveryState.CANCELLED


class _Subject:
    """One delivery, in a lane behind another when it is to be blocked."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.destination: DestinationId
        self.new: NewEvent
        self.in_front: NewEvent | None = None
        self.lease: Lease | None = None

    @property
    def id(self) -> DeliveryId:
        return self.new.deliveries[0].id

    async def state(self) -> DeliveryState:
        return (await self.stage.delivery(self.id)).state

    async def bring_to(self, state: DeliveryState | None) -> None:
        stage = self.stage
        destination = self.destination = stage.destination()
        if state is BLOCKED:
            self.in_front = stage.new(destination, lane=b"lane")
            await stage.store(self.in_front)
        self.new = stage.new(destination, lane=b"lane")
        if state is None:
            return
        await stage.store(self.new)
        if state in (READY, BLOCKED):
            return
        self.lease = await stage.claim_one()
        if state is not LEASED:
            await stage.finish(self.lease, state)

    async def claim(self) -> None:
        for lease in await self.stage.claim():
            if lease.delivery_id == self.id:
                self.lease = lease

    async def claim_after_the_lease(self) -> None:
        before = self.lease
        self.stage.clock.advance_ms(LEASE_MS)
        await self.claim()
        if before is not None and self.lease is not None and await self.state() is LEASED:
            assert self.lease.number > before.number

    async def give_back(self) -> None:
        if self.lease is not None:
            await self.stage.give_back(self.lease)

    async def put_off(self) -> None:
        if self.lease is not None:
            await self.stage.put_off(self.lease, self.stage.clock.now_ms() + 1)

    async def deliver(self) -> None:
        if self.lease is not None:
            await self.stage.finish(self.lease)

    async def give_up(self) -> None:
        if self.lease is not None:
            await self.stage.finish(self.lease, EXPIRED)

    async def cancel(self) -> None:
        await self.stage.engine.amend([Cancel(self.stage.organisation, self.id)])

    async def retry(self) -> None:
        await self.stage.engine.amend([Retry(self.stage.organisation, self.id, self.stage.clock.now_ms())])

    async def retry_into_a_busy_lane(self) -> None:
        await self.stage.store(self.stage.new(self.destination, lane=b"lane"))
        await self.retry()

    async def free_the_lane(self) -> None:
        if self.in_front is not None:
            cancel = Cancel(self.stage.organisation, self.in_front.deliveries[0].id)
            await self.stage.engine.amend([cancel])

    async def accept(self) -> None:
        await self.stage.store(self.new)

    async def accept_and_send(self) -> None:
        self.new = self.stage.new(self.stage.destination(), leased=True)
        await self.stage.store(self.new)

    async def accept_behind_its_lane(self) -> None:
        destination = self.stage.destination()
        self.new = self.stage.new(destination, lane=b"lane")
        await self.stage.store(self.stage.new(destination, lane=b"lane"), self.new)


_ENTRIES: dict[str, Callable[[_Subject], Awaitable[None]]] = {
    "accepted": _Subject.accept,
    "accepted, sent at once": _Subject.accept_and_send,
    "accepted behind its lane": _Subject.accept_behind_its_lane,
}
_TRIGGERS: dict[str, Callable[[_Subject], Awaitable[None]]] = {
    "lane is free": _Subject.free_the_lane,
    "claimed": _Subject.claim,
    "lease ran out, claimed": _Subject.claim_after_the_lease,
    "released": _Subject.give_back,
    "failed, to be retried": _Subject.put_off,
    "delivered": _Subject.deliver,
    "given up": _Subject.give_up,
    "cancelled": _Subject.cancel,
    "retried by hand": _Subject.retry,
    "retried by hand into a busy lane": _Subject.retry_into_a_busy_lane,
}


class LifecycleContract:
    """What the table does not list does not happen."""

    @scenario
    async def test_every_trigger_leads_where_the_table_says(self, stage: Stage) -> None:
        assert {trigger for _, trigger in DELIVERY} == set(_ENTRIES) | set(_TRIGGERS)
        for trigger, enter in _ENTRIES.items():
            subject = _Subject(stage)
            await subject.bring_to(None)
            await enter(subject)
            assert await subject.state() is DELIVERY[None, trigger]
            await self._clear(stage)
        for state in DeliveryState:
            for trigger, act in _TRIGGERS.items():
                subject = _Subject(stage)
                await subject.bring_to(state)
                assert await subject.state() is state
                await act(subject)
                expected = DELIVERY.get((state, trigger), state)
                if (state, trigger) == (READY, "lease ran out, claimed"):
                    expected = LEASED  # there was no lease to run out: it is a claim like any other
                assert await subject.state() is expected, (state, trigger)
                await self._clear(stage)

    async def _clear(self, stage: Stage) -> None:
        """Let nothing be left that the next claim could take."""
        stage.clock.advance_ms(2 * LEASE_MS)
        while leases := await stage.claim():
            for lease in leases:
                await stage.finish(lease)
