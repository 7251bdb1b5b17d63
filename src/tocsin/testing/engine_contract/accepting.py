"""``accept``: an event with all that belongs to it, or nothing; each request judged as if it came alone."""

from __future__ import annotations

import asyncio

from tocsin.core.delivery import DeliveryPhase, DeliveryState, EventStatus
from tocsin.core.event import Dialect, Environment, Event, Severity
from tocsin.core.identifiers import EventId
from tocsin.core.quota import QuotaCharge
from tocsin.engine.rows import (
    Accepted,
    AcceptFailed,
    DeliveryQuery,
    EventQuery,
    EventRow,
    KeyConflict,
    QuotaExceeded,
    Repeated,
)
from tocsin.testing.engine_contract.stage import LEASE_MS, Stage, scenario

UNSTORABLE = "\ud800"
"""A lone surrogate, which no store can write as UTF-8."""


class StoringContract:
    """What is stored comes back as it was."""

    @scenario
    async def test_an_event_comes_back_as_it_was_stored(self, stage: Stage) -> None:
        full = stage.event(
            dialect=Dialect.PUSHGO,
            source="pushgo/channel/ÄÖ",
            type="type 😀",
            subject="subject",
            severity=Severity.CRITICAL,
            environment=Environment.TEST,
            time_ms=-1,
            data=b'{"text":"\xc3\xa4\\u0000"}',
            extension={"nested": {"list": [1, 2.5, None, True, "ä"]}, "numbers": [-1, 2**64, -(2**90)]},
            replay_of=EventId(stage.id()),
        )
        bare = stage.event(data=b"")
        await stage.store(stage.new(event=full), stage.new(event=bare))
        assert await stage.engine.find(Event, stage.organisation, [bare.id, stage.id(), full.id]) == [
            bare,
            None,
            full,
        ]

    @scenario
    async def test_the_result_names_the_event_and_the_leases_asked_for(self, stage: Stage) -> None:
        first, second = stage.destinations(2)
        sent, queued = stage.new(first, leased=True), stage.new(second)
        at_once, later = await stage.store(sent, queued)
        assert (at_once.event, later.event) == (sent.event, queued.event)
        (lease,) = at_once.leases
        assert (lease.delivery_id, lease.destination_id) == (sent.deliveries[0].id, first)
        assert (lease.event, lease.attempts_made, lease.lane) == (sent.event, 0, None)
        assert lease.until_ms == stage.clock.now_ms() + LEASE_MS
        assert later.leases == ()

    @scenario
    async def test_deliveries_not_leased_wait_to_be_claimed(self, stage: Stage) -> None:
        sent = stage.new(stage.destination(), leased=True)
        queued = stage.new(stage.destination())
        await stage.store(sent, queued)
        assert [each.delivery_id for each in await stage.claim()] == [queued.deliveries[0].id]
        assert (await stage.delivery(sent.deliveries[0].id)).state is DeliveryState.LEASED

    @scenario
    async def test_an_empty_batch_is_no_fault(self, stage: Stage) -> None:
        assert await stage.judge() == []

    @scenario
    async def test_batches_of_any_size_are_stored_whole(self, stage: Stage) -> None:
        destination = stage.destination()
        for size in (1, 7, 8, 9, 33, 127, 128, 129, 300):
            batch = [stage.new(destination, keys=[stage.key(f"{size}/{n}")]) for n in range(size)]
            await stage.store(*batch)
            found = await stage.engine.find(Event, stage.organisation, [each.event.id for each in batch])
            assert found == [each.event for each in batch]
            assert all(isinstance(each, Repeated) for each in await stage.judge(*batch))

    @scenario
    async def test_an_event_that_cannot_be_stored_fails_alone(self, stage: Stage) -> None:
        destination = stage.destination()
        before = stage.new(destination, keys=[stage.key("before")])
        twin = stage.new(destination, id=before.event.id)
        bad_text = stage.new(destination, source=UNSTORABLE, keys=[stage.key("bad")], quota=QuotaCharge("c", 9))
        bad_number = stage.new(destination, time_ms=2**70)
        after = stage.new(destination, keys=[stage.key("bad")], quota=QuotaCharge("c", 9))
        results = await stage.judge(before, bad_text, twin, bad_number, after)
        kinds = [type(each) for each in results]
        assert kinds == [Accepted, AcceptFailed, AcceptFailed, AcceptFailed, Accepted]
        assert {each.event.id for each in await stage.claim()} == {before.event.id, after.event.id}
        assert await stage.engine.usage(stage.organisation, "c") == 1


class IdempotencyContract:
    """One request happens once, however often it is told."""

    @scenario
    async def test_a_repeat_returns_the_first_event(self, stage: Stage) -> None:
        new = stage.new(stage.destination(), keys=[stage.key("k")])
        await stage.store(new)
        again = stage.new(stage.destination(), keys=[stage.key("k")])
        assert await stage.judge(again) == [Repeated(new.event.id)]
        assert len(await stage.claim()) == 1

    @scenario
    async def test_a_repeat_with_another_body_is_refused(self, stage: Stage) -> None:
        new = stage.new(keys=[stage.key("k")])
        await stage.store(new)
        assert await stage.judge(stage.new(keys=[stage.key("k", "that")])) == [KeyConflict(new.event.id)]

    @scenario
    async def test_one_known_key_of_several_makes_a_repeat_and_the_others_lead_there_too(self, stage: Stage) -> None:
        first = stage.new(keys=[stage.key("a")])
        await stage.store(first)
        for name in ("b", "c"):
            both = stage.new(keys=[stage.key(name), stage.key("a")])
            repeat = stage.new(keys=[stage.key(name), stage.key(f"{name} and more")])
            assert await stage.judge(both, repeat) == [Repeated(first.event.id)] * 2
        for name in ("b", "c", "b and more"):
            assert await stage.judge(stage.new(keys=[stage.key(name)])) == [Repeated(first.event.id)]
            assert await stage.judge(stage.new(keys=[stage.key(name, "that")])) == [KeyConflict(first.event.id)]
        assert await stage.ids_of(EventQuery(organisation_id=stage.organisation)) == [first.event.id]

    @scenario
    async def test_one_key_in_conflict_of_several_refuses_and_leaves_no_key(self, stage: Stage) -> None:
        first = stage.new(keys=[stage.key("a")])
        second = stage.new(keys=[stage.key("b")])
        await stage.store(first, second)
        mixed = stage.new(keys=[stage.key("a"), stage.key("new"), stage.key("b", "that")])
        assert await stage.judge(mixed) == [KeyConflict(second.event.id)]
        await stage.store(stage.new(keys=[stage.key("new", "something else")]))

    @scenario
    async def test_repeats_within_one_batch_are_seen(self, stage: Stage) -> None:
        first = stage.new(keys=[stage.key("k")])
        repeat = stage.new(keys=[stage.key("k")])
        conflict = stage.new(keys=[stage.key("k", "that")])
        results = await stage.judge(first, repeat, conflict)
        assert isinstance(results[0], Accepted)
        assert results[1:] == [Repeated(first.event.id), KeyConflict(first.event.id)]

    @scenario
    async def test_a_key_is_forgotten_when_its_time_is_over(self, stage: Stage) -> None:
        new = stage.new(keys=[stage.key("k", kept_ms=1000)])
        await stage.store(new)
        stage.clock.advance_ms(999)
        assert await stage.judge(stage.new(keys=[stage.key("k")])) == [Repeated(new.event.id)]
        stage.clock.advance_ms(1)
        later = stage.new(keys=[stage.key("k", "that")])
        await stage.store(later)
        assert await stage.judge(stage.new(keys=[stage.key("k", "that")])) == [Repeated(later.event.id)]

    @scenario
    async def test_a_repeat_is_recognised_after_a_restart(self, stage: Stage) -> None:
        new = stage.new(keys=[stage.key("k")])
        await stage.store(new)
        await stage.reopen()
        assert await stage.judge(stage.new(keys=[stage.key("k")])) == [Repeated(new.event.id)]

    @scenario
    async def test_of_concurrent_duplicates_one_is_stored(self, stage: Stage) -> None:
        async def ask(number: int) -> EventId:
            (result,) = await stage.judge(stage.new(keys=[stage.key("k"), stage.key(f"own {number}")]))
            assert isinstance(result, Accepted | Repeated)
            return result.event.id if isinstance(result, Accepted) else result.event_id

        told = await asyncio.gather(*(ask(number) for number in range(60)))
        assert set(told) == set(await stage.ids_of(EventQuery(organisation_id=stage.organisation)))
        assert len(set(told)) == 1


class QuotaContract:
    """A counter never passes its limit."""

    @scenario
    async def test_a_counter_that_never_was_stands_at_nought(self, stage: Stage) -> None:
        assert await stage.engine.usage(stage.organisation, "c") == 0

    @scenario
    async def test_what_is_over_the_limit_leaves_nothing(self, stage: Stage) -> None:
        charge = QuotaCharge("c", 2)
        await stage.store(stage.new(quota=charge), stage.new(quota=charge))
        over = stage.new(stage.destination(), keys=[stage.key("k")], quota=charge)
        assert await stage.judge(over) == [QuotaExceeded(2)]
        assert await stage.engine.find(Event, stage.organisation, [over.event.id]) == [None]
        assert await stage.claim() == []
        assert await stage.engine.usage(stage.organisation, "c") == 2
        await stage.store(stage.new(keys=[stage.key("k", "that")]))

    @scenario
    async def test_a_charge_without_a_limit_is_counted(self, stage: Stage) -> None:
        await stage.store(*(stage.new(quota=QuotaCharge("c", None)) for _ in range(3)))
        assert await stage.judge(stage.new(quota=QuotaCharge("c", 3))) == [QuotaExceeded(3)]

    @scenario
    async def test_a_repeat_is_not_charged(self, stage: Stage) -> None:
        new = stage.new(keys=[stage.key("k")], quota=QuotaCharge("c", 1))
        await stage.store(new)
        again = stage.new(keys=[stage.key("k")], quota=QuotaCharge("c", 1))
        assert await stage.judge(again) == [Repeated(new.event.id)]
        assert await stage.engine.usage(stage.organisation, "c") == 1

    @scenario
    async def test_counters_and_organisations_are_counted_apart(self, stage: Stage) -> None:
        await stage.store(
            stage.new(quota=QuotaCharge("c", 1)),
            stage.new(quota=QuotaCharge("d", 1)),
            stage.new(quota=QuotaCharge("c", 1), organisation=stage.foreign),
        )
        for organisation in (stage.organisation, stage.foreign):
            assert await stage.engine.usage(organisation, "c") == 1

    @scenario
    async def test_a_hundred_at_once_get_exactly_the_limit(self, stage: Stage) -> None:
        charge = QuotaCharge("c", 10)
        batches = [[stage.new(quota=charge) for _ in range(1 + n % 3)] for n in range(50)]
        results = await asyncio.gather(*(stage.judge(*batch) for batch in batches))
        flat = [each for batch in results for each in batch]
        assert len(flat) >= 99
        assert sum(isinstance(each, Accepted) for each in flat) == 10
        assert all(isinstance(each, Accepted | QuotaExceeded) for each in flat)
        assert await stage.engine.usage(stage.organisation, "c") == 10

    @scenario
    async def test_checking_first_and_counting_then_would_pass_the_limit(self, stage: Stage) -> None:
        """The negative control: the race above is a race, since the careless way loses it."""

        async def careless() -> bool:
            if await stage.engine.usage(stage.organisation, "c") >= 10:
                return False
            await stage.store(stage.new(quota=QuotaCharge("c", None)))
            return True

        assert sum(await asyncio.gather(*(careless() for _ in range(100)))) > 10


class ReplayContract:
    """A replay takes the place of what it replays, in one commit."""

    @scenario
    async def test_a_replay_marks_its_original_and_cancels_what_waits(self, stage: Stage) -> None:
        sending, waiting, retrying = stage.destinations(3)
        original = stage.new(sending, waiting, retrying)
        await stage.store(original)
        leases = {each.destination_id: each for each in await stage.claim()}
        await stage.give_back(leases[waiting])
        await stage.put_off(leases[retrying], stage.clock.now_ms() + 1000)

        await stage.store(stage.new(replay_of=original.event.id))
        (row,) = await stage.engine.find(EventRow, stage.organisation, [original.event.id])
        assert row is not None
        assert row.status is EventStatus.REPLAYED
        states = [(await stage.delivery(each.id)).state for each in original.deliveries]
        assert states == [DeliveryState.LEASED, DeliveryState.CANCELLED, DeliveryState.CANCELLED]
        assert await stage.finish(leases[sending]), "what was being sent runs its course"

    @scenario
    async def test_a_cancelled_retry_keeps_what_its_last_attempt_came_to(self, stage: Stage) -> None:
        original = stage.new(stage.destination())
        await stage.store(original)
        await stage.put_off(await stage.claim_one(), stage.clock.now_ms() + 1000)
        await stage.store(stage.new(replay_of=original.event.id))
        delivery = await stage.delivery(original.deliveries[0].id)
        assert (delivery.attempts_made, delivery.status_code, delivery.error) == (1, 503, "busy")

    @scenario
    async def test_a_replay_leaves_another_organisations_event_alone(self, stage: Stage) -> None:
        original = stage.new(stage.destination())
        await stage.store(original)
        await stage.store(stage.new(organisation=stage.foreign, replay_of=original.event.id))
        (row,) = await stage.engine.find(EventRow, stage.organisation, [original.event.id])
        assert row is not None
        assert row.status is EventStatus.QUEUED

    @scenario
    async def test_a_replay_of_an_event_of_the_same_batch_counts(self, stage: Stage) -> None:
        original = stage.new(stage.destination())
        await stage.store(original, stage.new(replay_of=original.event.id))
        query = DeliveryQuery(organisation_id=stage.organisation, phases=frozenset({DeliveryPhase.CANCELLED}))
        assert [row.delivery.id for row in await stage.all(query)] == [original.deliveries[0].id]
