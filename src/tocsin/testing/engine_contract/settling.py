"""``settle`` and ``amend``: what became of a delivery, by its dispatcher and by hand."""

from __future__ import annotations

from tocsin.core.delivery import Delivery, DeliveryState
from tocsin.core.identifiers import DeliveryId
from tocsin.engine.rows import AmendmentResult, Cancel, Finished, Retry, RetryAt, Settlement
from tocsin.testing.engine_contract.stage import LEASE_MS, Stage, scenario

DELIVERED, EXPIRED, CANCELLED = DeliveryState.DELIVERED, DeliveryState.EXPIRED, DeliveryState.CANCELLED


async def _one(stage: Stage) -> DeliveryId:
    """Store an event with one delivery, which waits to be claimed."""
    new = stage.new(stage.destination())
    await stage.store(new)
    return new.deliveries[0].id


class SettleContract:
    """Attempts are recorded, deliveries go on or end."""

    @scenario
    async def test_a_delivery_ends_as_it_is_told(self, stage: Stage) -> None:
        for state in (DELIVERED, EXPIRED, CANCELLED):
            delivery_id = await _one(stage)
            lease = await stage.claim_one()
            stage.clock.advance_ms(50)
            attempt = stage.attempt(418, error="a teapot", duration_ms=77)
            assert await stage.engine.settle([Settlement(lease, attempt, Finished(state))]) == [True]
            assert await stage.delivery(delivery_id) == Delivery(
                id=delivery_id,
                organisation_id=stage.organisation,
                event_id=lease.event.id,
                destination_id=lease.destination_id,
                state=state,
                attempts_made=1,
                created_ms=stage.clock.now_ms() - 50,
                settled_ms=stage.clock.now_ms(),
                status_code=418,
                duration_ms=77,
                error="a teapot",
            )
            assert [(each.number, each.attempt) for each in await stage.attempts(delivery_id)] == [(1, attempt)]
        stage.clock.advance_ms(LEASE_MS)
        assert await stage.claim() == []

    @scenario
    async def test_attempts_are_numbered_from_one_in_order(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        for made in range(3):
            lease = await stage.claim_one()
            assert lease.attempts_made == made
            stage.clock.advance_ms(1)
            assert await stage.put_off(lease, stage.clock.now_ms())
        await stage.finish(await stage.claim_one())
        attempts = await stage.attempts(delivery_id)
        assert [each.number for each in attempts] == [1, 2, 3, 4]
        sequences = [each.sequence for each in attempts]
        assert sequences == sorted(set(sequences))
        assert (await stage.delivery(delivery_id)).attempts_made == 4

    @scenario
    async def test_a_retry_shows_when_and_why(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        due_ms = stage.clock.now_ms() + 5000
        await stage.put_off(await stage.claim_one(), due_ms)
        found = await stage.delivery(delivery_id)
        assert (found.state, found.due_ms, found.settled_ms) == (DeliveryState.READY, due_ms, None)
        assert (found.attempts_made, found.status_code, found.error) == (1, 503, "busy")

    @scenario
    async def test_an_attempt_that_does_not_count_is_recorded_all_the_same(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        await stage.put_off(await stage.claim_one(), stage.clock.now_ms(), counted=False)
        lease = await stage.claim_one()
        assert lease.attempts_made == 0
        await stage.finish(lease)
        assert [each.number for each in await stage.attempts(delivery_id)] == [1, 1]
        assert (await stage.delivery(delivery_id)).attempts_made == 1

    @scenario
    async def test_a_release_leaves_no_trace(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        before = await stage.delivery(delivery_id)
        assert await stage.give_back(await stage.claim_one())
        assert await stage.delivery(delivery_id) == before
        assert await stage.attempts(delivery_id) == []

    @scenario
    async def test_an_end_without_an_attempt_keeps_the_last_ones_result(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        await stage.put_off(await stage.claim_one(), stage.clock.now_ms())
        lease = await stage.claim_one()
        assert await stage.engine.settle([Settlement(lease, None, Finished(CANCELLED))]) == [True]
        found = await stage.delivery(delivery_id)
        assert (found.state, found.attempts_made, found.status_code, found.error) == (CANCELLED, 1, 503, "busy")

    @scenario
    async def test_a_stale_settle_is_refused_and_its_attempt_kept_as_late(self, stage: Stage) -> None:
        for stale_finishes in (True, False):
            delivery_id = await _one(stage)
            stale = await stage.claim_one()
            stage.clock.advance_ms(LEASE_MS)
            current = await stage.claim_one()
            refused = stage.finish(stale) if stale_finishes else stage.put_off(stale, stage.clock.now_ms())
            assert not await refused
            assert (await stage.delivery(delivery_id)).state is DeliveryState.LEASED
            assert await stage.finish(current)
            assert not await stage.finish(stale), "nor after the end"
            assert [each.number for each in await stage.attempts(delivery_id)] == [0, 1, 0]
            assert (await stage.delivery(delivery_id)).attempts_made == 1

    @scenario
    async def test_a_stale_release_changes_nothing(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        stale = await stage.claim_one()
        stage.clock.advance_ms(LEASE_MS)
        await stage.claim_one()
        assert not await stage.give_back(stale)
        assert (await stage.delivery(delivery_id)).state is DeliveryState.LEASED
        assert await stage.attempts(delivery_id) == []

    @scenario
    async def test_a_stale_and_a_current_lease_in_one_batch_are_told_apart(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        stale = await stage.claim_one()
        stage.clock.advance_ms(LEASE_MS)
        current = await stage.claim_one()
        late, good = stage.attempt(200, duration_ms=1), stage.attempt(200, duration_ms=2)
        ended = Finished(DELIVERED)
        batch = [Settlement(stale, late, ended), Settlement(current, good, ended), Settlement(stale, late, ended)]
        assert await stage.engine.settle(batch) == [False, True, False]
        numbers = [(each.number, each.attempt.duration_ms) for each in await stage.attempts(delivery_id)]
        assert numbers == [(0, 1), (1, 2), (0, 1)]

    @scenario
    async def test_a_lease_counts_once_in_a_batch(self, stage: Stage) -> None:
        now_ms = stage.clock.now_ms()
        ended, again = Finished(DELIVERED), RetryAt(now_ms)
        pairs: list[tuple[Finished | RetryAt, Finished | RetryAt]] = [
            (ended, ended),
            (ended, again),
            (again, ended),
            (again, again),
        ]
        for first, second in pairs:
            delivery_id = await _one(stage)
            lease = await stage.claim_one()
            batch = [Settlement(lease, stage.attempt(), first), Settlement(lease, stage.attempt(), second)]
            assert await stage.engine.settle(batch) == [True, False]
            assert [each.number for each in await stage.attempts(delivery_id)] == [1, 0]
            assert ((await stage.delivery(delivery_id)).state is DELIVERED) == (first is ended)
            for lease in await stage.claim():
                await stage.finish(lease)

    @scenario
    async def test_a_lease_that_was_put_off_or_given_back_is_over(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        for give_up_the_lease in (stage.give_back, lambda lease: stage.put_off(lease, stage.clock.now_ms())):
            lease = await stage.claim_one()
            assert await give_up_the_lease(lease)
            assert not await stage.finish(lease)
            assert not await stage.put_off(lease, stage.clock.now_ms())
            assert not await stage.give_back(lease)
            assert (await stage.delivery(delivery_id)).state is DeliveryState.READY

    @scenario
    async def test_batches_of_any_size_are_recorded(self, stage: Stage) -> None:
        destination = stage.destination()
        for size in (1, 8, 9, 33, 129, 300):
            await stage.store(*(stage.new(destination) for _ in range(size)))
            batch = [
                Settlement(lease, stage.attempt(), Finished(stage.random.choice([DELIVERED, EXPIRED])))
                for lease in await stage.claim()
            ]
            assert await stage.engine.settle(batch) == [True] * size
            for each in batch:
                assert isinstance(each.then, Finished)
                assert (await stage.delivery(each.lease.delivery_id)).state is each.then.state


class AmendContract:
    """What an operator does by hand."""

    async def _amend(self, stage: Stage, each: Cancel | Retry) -> AmendmentResult:
        (result,) = await stage.engine.amend([each])
        return result

    @scenario
    async def test_a_waiting_delivery_is_cancelled(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        assert await self._amend(stage, Cancel(stage.organisation, delivery_id)) is AmendmentResult.DONE
        found = await stage.delivery(delivery_id)
        assert (found.state, found.settled_ms) == (CANCELLED, stage.clock.now_ms())
        assert await stage.claim() == []

    @scenario
    async def test_what_comes_back_of_a_cancelled_one_is_kept_as_late(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        lease = await stage.claim_one()
        assert await self._amend(stage, Cancel(stage.organisation, delivery_id)) is AmendmentResult.DONE
        assert not await stage.finish(lease)
        assert (await stage.delivery(delivery_id)).state is CANCELLED
        assert [each.number for each in await stage.attempts(delivery_id)] == [0]

    @scenario
    async def test_what_is_final_is_not_cancelled(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        await stage.finish(await stage.claim_one())
        assert await self._amend(stage, Cancel(stage.organisation, delivery_id)) is AmendmentResult.REFUSED
        assert (await stage.delivery(delivery_id)).state is DELIVERED

    @scenario
    async def test_a_final_delivery_is_sent_again_with_its_attempts_kept(self, stage: Stage) -> None:
        for state in (DELIVERED, EXPIRED, CANCELLED):
            delivery_id = await _one(stage)
            first = await stage.claim_one()
            await stage.finish(first, state)
            retry = Retry(stage.organisation, delivery_id, stage.clock.now_ms())
            assert await self._amend(stage, retry) is AmendmentResult.DONE
            found = await stage.delivery(delivery_id)
            assert (found.state, found.attempts_made, found.settled_ms) == (DeliveryState.READY, 1, None)
            second = await stage.claim_one()
            assert second.number > first.number
            assert (first.retries_from, second.retries_from) == (0, 1), "its schedule begins anew"
            assert not await stage.finish(first), "the old lease does not count for the new life"
            assert await stage.finish(second)
            assert [each.number for each in await stage.attempts(delivery_id)] == [1, 0, 2]

    @scenario
    async def test_a_waiting_delivery_is_hurried_and_never_put_off(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        await stage.put_off(await stage.claim_one(), stage.clock.now_ms() + 10_000)
        soon, late = stage.clock.now_ms() + 1000, stage.clock.now_ms() + 5000
        for due_ms in (soon, late):
            retry = Retry(stage.organisation, delivery_id, due_ms)
            assert await self._amend(stage, retry) is AmendmentResult.DONE
            assert (await stage.delivery(delivery_id)).due_ms == soon

    @scenario
    async def test_what_is_being_sent_is_not_hurried(self, stage: Stage) -> None:
        delivery_id = await _one(stage)
        lease = await stage.claim_one()
        retry = Retry(stage.organisation, delivery_id, stage.clock.now_ms())
        assert await self._amend(stage, retry) is AmendmentResult.REFUSED
        assert await stage.finish(lease)

    @scenario
    async def test_what_is_not_there_is_not_found(self, stage: Stage) -> None:
        nothing, now_ms = DeliveryId(stage.id()), stage.clock.now_ms()
        results = await stage.engine.amend(
            [
                Cancel(stage.organisation, nothing),
                Retry(stage.organisation, nothing, now_ms),
            ]
        )
        assert results == [AmendmentResult.NOT_FOUND] * 2

    @scenario
    async def test_amendments_are_carried_out_in_order(self, stage: Stage) -> None:
        delivery_id, now_ms = await _one(stage), stage.clock.now_ms()
        cancel, retry = Cancel(stage.organisation, delivery_id), Retry(stage.organisation, delivery_id, now_ms)
        results = await stage.engine.amend([cancel, cancel, retry, cancel, retry])
        done, refused = AmendmentResult.DONE, AmendmentResult.REFUSED
        assert results == [done, refused, done, done, done]
        await stage.claim_one()
