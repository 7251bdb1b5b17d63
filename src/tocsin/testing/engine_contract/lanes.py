"""Ordered lanes: of one lane, one delivery at a time, in the order in which the events were accepted."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict

from tocsin.core.delivery import DeliveryPhase, DeliveryState, EventStatus, Lease, NewDelivery
from tocsin.core.identifiers import DeliveryId, DestinationId
from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.rows import (
    AmendmentResult,
    Cancel,
    DeliveryQuery,
    EventQuery,
    Finished,
    NewEvent,
    Retry,
    Settlement,
)
from tocsin.testing.engine_contract.stage import LEASE_MS, Stage, scenario

LANE = b"lane"


def _queue(stage: Stage, destination: DestinationId, count: int, *, lane: bytes = LANE) -> list[NewEvent]:
    return [stage.new(destination, lane=lane) for _ in range(count)]


def _ids(queued: list[NewEvent]) -> list[DeliveryId]:
    return [each.deliveries[0].id for each in queued]


async def _drain(stage: Stage) -> list[DeliveryId]:
    """Deliver all that is due, and what that lets go; return it in order."""
    sent: list[DeliveryId] = []
    while leases := await stage.claim():
        for lease in leases:
            sent.append(lease.delivery_id)
            assert await stage.finish(lease)
    return sent


class LaneContract:
    """What goes when."""

    @scenario
    async def test_a_lane_sends_one_after_another_in_the_order_of_acceptance(self, stage: Stage) -> None:
        destination = stage.destination()
        first, rest = _queue(stage, destination, 1), _queue(stage, destination, 4)
        await stage.store(*first)
        await stage.store(*rest)
        for expected in _ids(first + rest):
            lease = await stage.claim_one()
            assert (lease.delivery_id, lease.lane) == (expected, LANE)
            assert await stage.claim() == []
            await stage.finish(lease)
        assert await stage.claim() == []

    @scenario
    async def test_a_lane_that_is_free_may_be_leased_at_accept_and_one_that_is_not_may_not(
        self, stage: Stage
    ) -> None:
        destination = stage.destination()
        batch = [stage.new(destination, lane=LANE, leased=True) for _ in range(3)]
        results = await stage.store(*batch)
        assert [len(each.leases) for each in results] == [1, 0, 0]
        assert results[0].leases[0].lane == LANE
        states = [(await stage.delivery(each)).state for each in _ids(batch)]
        assert states == [DeliveryState.LEASED, DeliveryState.BLOCKED, DeliveryState.BLOCKED]
        await stage.finish(results[0].leases[0])
        assert await _drain(stage) == _ids(batch[1:])

    @scenario
    async def test_lanes_do_not_wait_for_each_other(self, stage: Stage) -> None:
        first, second = stage.destinations(2)
        await stage.store(
            *_queue(stage, first, 2),
            *_queue(stage, second, 2),
            *_queue(stage, first, 2, lane=b"other"),
            stage.new(first),
        )
        leased = {(lease.destination_id, lease.lane) for lease in await stage.claim()}
        assert leased == {(first, LANE), (second, LANE), (first, b"other"), (first, None)}

    @scenario
    async def test_a_failure_holds_its_lane_until_it_ends(self, stage: Stage) -> None:
        queued = _queue(stage, stage.destination(), 2)
        await stage.store(*queued)
        await stage.put_off(await stage.claim_one(), stage.clock.now_ms() + 1000)
        assert await stage.claim() == []
        stage.clock.advance_ms(1000)
        lease = await stage.claim_one()
        assert lease.delivery_id == _ids(queued)[0]
        await stage.finish(lease, DeliveryState.EXPIRED)
        assert await _drain(stage) == _ids(queued)[1:]

    @scenario
    async def test_a_release_and_a_lost_lease_hold_the_lane(self, stage: Stage) -> None:
        queued = _queue(stage, stage.destination(), 2)
        await stage.store(*queued)
        await stage.give_back(await stage.claim_one())
        await stage.claim_one()
        stage.clock.advance_ms(LEASE_MS)
        assert (await stage.claim_one()).delivery_id == _ids(queued)[0]

    @scenario
    async def test_the_order_is_that_of_acceptance_though_the_clock_was_set_back(self, stage: Stage) -> None:
        destination = stage.destination()
        queued = []
        for number in range(4):
            at_ms = stage.clock.now_ms() - number * 3_600_000
            bucket = lane_bucket(LANE)
            event = stage.event(id=stage.id_at(at_ms, bucket))
            delivery = NewDelivery(id=DeliveryId(stage.id_at(at_ms, bucket)), destination_id=destination, lane=LANE)
            queued.append(NewEvent(event=event, deliveries=(delivery,)))
            await stage.store(queued[-1])
        assert await _drain(stage) == _ids(queued)

    @scenario
    async def test_one_settle_ends_several_lanes_at_once(self, stage: Stage) -> None:
        destinations = stage.destinations(20)
        await stage.store(*(each for destination in destinations for each in _queue(stage, destination, 3)))
        for _ in range(3):
            leases = await stage.claim()
            assert len(leases) == 20
            ended = Finished(DeliveryState.DELIVERED)
            await stage.engine.settle([Settlement(lease, stage.attempt(), ended) for lease in leases])
        assert await stage.claim() == []


class LaneAmendmentContract:
    """Hands in a lane do not break its order."""

    @scenario
    async def test_cancelling_the_one_in_front_lets_the_next_go(self, stage: Stage) -> None:
        queued = _queue(stage, stage.destination(), 3)
        await stage.store(*queued)
        lease = await stage.claim_one()
        first, second, third = _ids(queued)
        await stage.engine.amend([Cancel(stage.organisation, first)])
        assert (await stage.claim_one()).delivery_id == second
        assert not await stage.finish(lease)
        assert await stage.claim() == [], "what came back late lets nothing go"
        await stage.engine.amend([Cancel(stage.organisation, second)])
        assert await _drain(stage) == [third]

    @scenario
    async def test_cancelling_one_that_waits_lets_nothing_past_the_one_in_front(self, stage: Stage) -> None:
        queued = _queue(stage, stage.destination(), 4)
        await stage.store(*queued)
        first, _, third, fourth = _ids(queued)
        assert await _drain_one(stage) == first
        lease = await stage.claim_one()
        now_ms = stage.clock.now_ms()
        await stage.engine.amend([Retry(stage.organisation, first, now_ms), Cancel(stage.organisation, third)])
        assert await stage.claim() == []
        assert await stage.finish(lease)
        assert await _drain(stage) == [first, fourth]

    @scenario
    async def test_a_delivery_retried_by_hand_takes_its_old_place(self, stage: Stage) -> None:
        queued = _queue(stage, stage.destination(), 4)
        await stage.store(*queued)
        first, second, third, fourth = _ids(queued)
        assert await _drain_one(stage) == first
        assert await _drain_one(stage) == second
        lease = await stage.claim_one()
        now_ms = stage.clock.now_ms()
        retries = [Retry(stage.organisation, each, now_ms) for each in (second, first)]
        assert await stage.engine.amend(retries) == [AmendmentResult.DONE] * 2
        assert (await stage.delivery(first)).state is DeliveryState.BLOCKED
        await self._shows_as_retrying(stage, first, second)
        assert await stage.claim() == []
        await stage.finish(lease)
        assert await _drain(stage) == [first, second, fourth]
        assert lease.delivery_id == third

    async def _shows_as_retrying(self, stage: Stage, *expected: DeliveryId) -> None:
        """It was tried and waits again, if only behind another."""
        query = DeliveryQuery(organisation_id=stage.organisation, phases=frozenset({DeliveryPhase.RETRYING}))
        assert {row.delivery.id for row in await stage.all(query)} == set(expected)
        events = EventQuery(organisation_id=stage.organisation, status=EventStatus.RETRYING)
        assert len(await stage.all(events)) == len(expected)

    @scenario
    async def test_a_delivery_retried_into_a_free_lane_goes_at_once(self, stage: Stage) -> None:
        queued = _queue(stage, stage.destination(), 1)
        await stage.store(*queued)
        first = await _drain_one(stage)
        await stage.engine.amend([Retry(stage.organisation, first, stage.clock.now_ms())])
        assert await _drain(stage) == [first]

    @scenario
    async def test_a_replay_goes_to_the_end_of_the_lane(self, stage: Stage) -> None:
        destination = stage.destination()
        queued = _queue(stage, destination, 3)
        await stage.store(*queued)
        lease = await stage.claim_one()
        replay = stage.new(destination, lane=LANE, replay_of=queued[1].event.id)
        await stage.store(replay)
        await stage.finish(lease)
        assert await _drain(stage) == [_ids(queued)[2], replay.deliveries[0].id]

    @scenario
    async def test_a_replay_of_the_one_in_front_lets_the_next_go(self, stage: Stage) -> None:
        destination = stage.destination()
        queued = _queue(stage, destination, 2)
        await stage.store(*queued)
        replay = stage.new(destination, lane=LANE, replay_of=queued[0].event.id)
        await stage.store(replay)
        assert await _drain(stage) == [_ids(queued)[1], replay.deliveries[0].id]


async def _drain_one(stage: Stage) -> DeliveryId:
    lease = await stage.claim_one()
    assert await stage.finish(lease)
    return lease.delivery_id


class LaneChaosContract:
    """Producers and workers at once, with failures, crashes and workers that wake up too late."""

    @scenario
    async def test_lanes_keep_their_order_through_anything(self, stage: Stage) -> None:
        for seed in range(3):
            await _Chaos(stage, random.Random(seed)).run()  # noqa: S311  the same in every run


class _Chaos:
    """One run: 6 lanes of 25, 3 producers, 4 workers.

    What is held: when a delivery is claimed, the end of every one before it in its lane has been told already; and
    each is delivered once.
    """

    _LANES = 6
    _PER_LANE = 25
    _WORKERS = 4
    _ROUNDS_MAX = 20_000

    def __init__(self, stage: Stage, dice: random.Random) -> None:
        self._stage = stage
        self._dice = dice
        self._destinations = stage.destinations(2)
        self._place: dict[DeliveryId, tuple[bytes, int]] = {}
        self._ending: Counter[DeliveryId] = Counter()
        self._over: set[DeliveryId] = set()
        self._delivered: dict[bytes, list[int]] = defaultdict(list)
        self._producing = 3
        self._late: list[Lease] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(self._produce(range(number, self._LANES, 3)))
            for _ in range(self._WORKERS):
                tasks.create_task(self._work())
        assert dict(self._delivered) == {self._lane(n): list(range(self._PER_LANE)) for n in range(self._LANES)}

    def _lane(self, number: int) -> bytes:
        return f"lane {number}".encode()

    async def _produce(self, lanes: range) -> None:
        made = dict.fromkeys(lanes, 0)
        while any(count < self._PER_LANE for count in made.values()):
            batch = []
            for number, count in made.items():
                more = min(self._dice.randrange(4), self._PER_LANE - count)
                for place in range(count, count + more):
                    new = self._stage.new(self._destinations[number % 2], lane=self._lane(number))
                    self._place[new.deliveries[0].id] = (self._lane(number), place)
                    batch.append(new)
                made[number] += more
            await self._stage.store(*batch)
        self._producing -= 1

    async def _work(self) -> None:
        for _ in range(self._ROUNDS_MAX):
            leases = await self._stage.claim(limit=self._dice.randrange(1, 5))
            for lease in leases:
                self._judge(lease)
            for lease in leases:
                await self._treat(lease)
            if leases:
                continue
            if not self._producing and len(self._over) == self._LANES * self._PER_LANE:
                return
            await self._wake_a_late_one()
            self._stage.clock.advance_ms(self._dice.choice([10, 100, LEASE_MS]))
        raise AssertionError("the lanes never ran empty")

    def _judge(self, lease: Lease) -> None:
        lane, place = self._place[lease.delivery_id]
        assert lease.lane == lane
        before = {each for each, (of, at) in self._place.items() if of == lane and at < place}
        assert all(each in self._over or self._ending[each] for each in before), "an earlier one is not over"

    async def _treat(self, lease: Lease) -> None:
        fate = self._dice.random()
        if fate < 0.1:
            return  # it died: nobody hears of the lease again
        if fate < 0.2:
            self._late.append(lease)
        elif fate < 0.4:
            await self._stage.put_off(lease, self._stage.clock.now_ms() + self._dice.randrange(200))
        elif fate < 0.45:
            await self._stage.give_back(lease)
        else:
            await self._finish(lease)

    async def _wake_a_late_one(self) -> None:
        if self._late:
            await self._finish(self._late.pop(self._dice.randrange(len(self._late))))

    async def _finish(self, lease: Lease) -> None:
        self._ending[lease.delivery_id] += 1
        in_time = await self._stage.finish(lease)
        self._ending[lease.delivery_id] -= 1
        if in_time:
            self._over.add(lease.delivery_id)
            lane, place = self._place[lease.delivery_id]
            self._delivered[lane].append(place)
