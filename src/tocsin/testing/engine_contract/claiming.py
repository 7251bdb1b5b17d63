"""``claim``: what is due, fairly, to one dispatcher at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable

from tocsin.core.delivery import DeliveryState
from tocsin.core.identifiers import DestinationId
from tocsin.core.organisation import Organisation
from tocsin.engine.rows import Cancel, Hint, Remove, Retry, Save
from tocsin.testing.engine_contract.stage import LEASE_MS, Stage, scenario


async def _noise(stage: Stage, destination: DestinationId, deliveries: int) -> None:
    """Make many deliveries to one destination due, a hundred with each event."""
    for _ in range(deliveries // 100):
        await stage.store(stage.new(*[destination] * 100))


class ClaimContract:
    """What is due is leased once."""

    @scenario
    async def test_a_claim_leases_what_is_due_with_its_event(self, stage: Stage) -> None:
        destination = stage.destination()
        new = stage.new(destination, type="claimed", extension={"a": 1})
        await stage.store(new)
        lease = await stage.claim_one()
        assert (lease.delivery_id, lease.destination_id, lease.event) == (
            new.deliveries[0].id,
            destination,
            new.event,
        )
        assert (lease.attempts_made, lease.until_ms) == (0, stage.clock.now_ms() + LEASE_MS)
        found = await stage.delivery(lease.delivery_id)
        assert (found.state, found.event_id) == (DeliveryState.LEASED, new.event.id)

    @scenario
    async def test_what_is_leased_is_not_claimed_again(self, stage: Stage) -> None:
        await stage.store(stage.new(stage.destination()))
        await stage.claim_one()
        stage.clock.advance_ms(LEASE_MS - 1)
        assert await stage.claim() == []

    @scenario
    async def test_what_is_due_later_is_claimed_then(self, stage: Stage) -> None:
        await stage.store(stage.new(stage.destination()))
        await stage.put_off(await stage.claim_one(), stage.clock.now_ms() + 1000)
        stage.clock.advance_ms(999)
        assert await stage.claim() == []
        stage.clock.advance_ms(1)
        assert (await stage.claim_one()).attempts_made == 1

    @scenario
    async def test_a_claim_takes_no_more_than_its_limit(self, stage: Stage) -> None:
        await stage.store(stage.new(*stage.destinations(5)))
        assert len(await stage.claim(limit=3)) == 3
        assert len(await stage.claim(limit=3)) == 2
        assert await stage.claim(limit=0) == []

    @scenario
    async def test_concurrent_claims_share_the_work_out(self, stage: Stage) -> None:
        destinations = stage.destinations(10)
        await stage.store(*(stage.new(*destinations) for _ in range(20)))
        claims = await asyncio.gather(*(stage.claim(limit=30) for _ in range(10)))
        leased = [lease.delivery_id for claim in claims for lease in claim]
        assert len(leased) == len(set(leased)) == 200


class FairnessContract:
    """No destination keeps the others from their turn."""

    @scenario
    async def test_small_destinations_are_served_beside_a_noisy_one(self, stage: Stage) -> None:
        noisy, small = stage.destination(), stage.destinations(40)
        await _noise(stage, noisy, 3000)
        stage.clock.advance_ms(1000)
        await stage.store(*(stage.new(*small) for _ in range(3)))
        leases = await stage.claim(limit=200, per_destination=64)
        served = Counter(lease.destination_id for lease in leases)
        assert len(leases) == 184
        assert served == {noisy: 64} | dict.fromkeys(small, 3)

    @scenario
    async def test_each_destination_has_its_turn_before_any_has_a_second(self, stage: Stage) -> None:
        noisy, small = stage.destination(), stage.destinations(9)
        await _noise(stage, noisy, 1000)
        stage.clock.advance_ms(1000)
        await stage.store(*(stage.new(*small) for _ in range(5)))
        served = Counter(lease.destination_id for lease in await stage.claim(limit=25))
        assert served[noisy] == 3
        assert all(2 <= served[each] <= 3 for each in small)

    @scenario
    async def test_where_the_limit_is_short_the_longest_due_come_first(self, stage: Stage) -> None:
        destinations = stage.destinations(12)
        stage.random.shuffle(destinations)
        for destination in destinations:
            await stage.store(stage.new(destination))
            stage.clock.advance_ms(10)
        leases = await stage.claim(limit=5)
        assert [lease.destination_id for lease in leases] == destinations[:5]

    @scenario
    async def test_one_destinations_deliveries_come_longest_due_first(self, stage: Stage) -> None:
        destination = stage.destination()
        batch = [stage.new(destination) for _ in range(30)]
        await stage.store(*batch)
        start_ms = stage.clock.now_ms()
        due = {}
        for lease in await stage.claim():
            due[lease.delivery_id] = start_ms + stage.random.randrange(1, 1000)
            await stage.put_off(lease, due[lease.delivery_id])
        stage.clock.advance_ms(1000)
        leases = await stage.claim(limit=10)
        assert [due[lease.delivery_id] for lease in leases] == sorted(due.values())[:10]

    @scenario
    async def test_none_gets_more_than_its_share_though_the_limit_has_room(self, stage: Stage) -> None:
        noisy, other = stage.destinations(2)
        await _noise(stage, noisy, 200)
        await stage.store(stage.new(other))
        served = Counter(lease.destination_id for lease in await stage.claim(limit=100, per_destination=7))
        assert served == {noisy: 7, other: 1}

    @scenario
    async def test_destinations_to_be_skipped_get_nothing(self, stage: Stage) -> None:
        first, second, third = stage.destinations(3)
        await stage.store(stage.new(first, second, third))
        leases = await stage.claim(skip=frozenset({first, third}))
        assert [lease.destination_id for lease in leases] == [second]
        assert len(await stage.claim()) == 2

    @scenario
    async def test_any_limits_give_what_a_plain_round_robin_gives(self, stage: Stage) -> None:
        destinations = stage.destinations(7)
        for _ in range(12):
            stage.clock.advance_ms(stage.random.randrange(50))
            waiting = {each: stage.random.choice([0, 1, 2, 9, 30]) for each in destinations}
            await stage.store(*(stage.new(*[each] * count) for each, count in waiting.items() if count))
            limit, share = stage.random.randrange(1, 60), stage.random.randrange(1, 25)
            leases = await stage.claim(limit=limit, per_destination=share)
            served = Counter(lease.destination_id for lease in leases)
            turns = sorted(turn for count in waiting.values() for turn in range(min(count, share)))
            assert len(leases) == min(limit, len(turns))
            if leases:
                last = turns[len(leases) - 1]
                for each, count in waiting.items():
                    assert min(count, share, last) <= served[each] <= min(count, share, last + 1)
            while rest := await stage.claim():
                leases += rest
            for lease in leases:
                await stage.finish(lease)


class LeaseContract:
    """A lease ends by itself; whoever lost it cannot act on it."""

    @scenario
    async def test_a_lease_that_ran_out_is_claimed_with_a_higher_number(self, stage: Stage) -> None:
        await stage.store(stage.new(stage.destination()))
        lost = await stage.claim_one()
        stage.clock.advance_ms(LEASE_MS)
        found = await stage.claim_one()
        assert found.delivery_id == lost.delivery_id
        assert found.number > lost.number
        assert found.attempts_made == 0, "an attempt that was never told is not counted"

    @scenario
    async def test_a_lease_given_at_accept_runs_out_too(self, stage: Stage) -> None:
        (accepted,) = await stage.store(stage.new(stage.destination(), leased=True))
        stage.clock.advance_ms(LEASE_MS)
        assert (await stage.claim_one()).number > accepted.leases[0].number

    @scenario
    async def test_a_lease_that_ran_out_still_stands_until_it_is_claimed(self, stage: Stage) -> None:
        await stage.store(stage.new(stage.destination()))
        lease = await stage.claim_one()
        stage.clock.advance_ms(9 * LEASE_MS)
        assert await stage.finish(lease)
        assert await stage.claim() == []


class WaitContract:
    """``wait`` hints; it never holds back for longer than it is told."""

    @scenario
    async def test_waiting_ends_by_itself(self, stage: Stage) -> None:
        await stage.engine.wait(0)

    @scenario
    async def test_waiting_ends_whenever_something_is_to_be_claimed(self, stage: Stage) -> None:
        now_ms, lane = stage.clock.now_ms(), stage.destination()
        first, second, third = (stage.new(lane, lane=b"lane") for _ in range(3))
        single = stage.new(stage.destination())
        await self._hinted(stage, stage.store(single))
        await self._hinted(stage, stage.give_back(await stage.claim_one()))
        await self._hinted(stage, stage.put_off(await stage.claim_one(), now_ms))
        await stage.finish(await stage.claim_one())
        await self._hinted(stage, stage.engine.amend([Retry(stage.organisation, single.deliveries[0].id, now_ms)]))
        await stage.finish(await stage.claim_one())
        await self._hinted(stage, stage.store(first, second, third))
        await self._hinted(stage, stage.finish(await stage.claim_one()))
        await self._hinted(stage, stage.engine.amend([Cancel(stage.organisation, second.deliveries[0].id)]))
        assert (await stage.claim_one()).delivery_id == third.deliveries[0].id

    @scenario
    async def test_waiting_ends_whenever_the_catalog_was_changed(self, stage: Stage) -> None:
        now_ms = stage.clock.now_ms()
        mine = Organisation(id=stage.organisation, name="mine", created_ms=now_ms)
        await self._hinted(stage, stage.engine.catalog_write([Save(mine)]), Hint.CATALOG)
        remove = Remove(Organisation, mine.id, mine.id)
        await self._hinted(stage, stage.engine.catalog_write([remove]), Hint.CATALOG)

    async def _hinted(self, stage: Stage, doing: Awaitable[object], hint: Hint = Hint.WORK) -> None:
        await stage.engine.wait(0, hint)
        waiting = asyncio.create_task(stage.engine.wait(3600, hint))
        await doing
        await waiting
