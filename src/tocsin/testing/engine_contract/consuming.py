"""``transact``: consumer transactions move by the core's rules, one step at a time."""

from __future__ import annotations

import asyncio

from tocsin.core.event import Environment
from tocsin.core.identifiers import EventId
from tocsin.core.transaction import (
    StateChange,
    Transaction,
    TransactionRefusal,
    TransactionState,
    begin,
    end,
    move,
)
from tocsin.engine.rows import Begin, End, Move, TransactionQuery, TransactionStep
from tocsin.testing.engine_contract.stage import Stage, scenario

PROCESSING, FINISHED = TransactionState.PROCESSING, TransactionState.FINISHED
NOT_FOUND, EXISTS, ENDED = TransactionRefusal.NOT_FOUND, TransactionRefusal.EXISTS, TransactionRefusal.ENDED


def begin_step(stage: Stage, event_id: EventId, tx_key: str = "k", *, lease_ms: int | None = None) -> Begin:
    """Return the step that starts a transaction now."""
    now_ms = stage.clock.now_ms()
    return Begin(
        organisation_id=stage.organisation,
        event_id=event_id,
        tx_key=tx_key,
        environment=Environment.LIVE,
        now_ms=now_ms,
        by=f"worker of {tx_key}",
        lease_until_ms=None if lease_ms is None else now_ms + lease_ms,
    )


def end_step(
    stage: Stage,
    event_id: EventId,
    tx_key: str = "k",
    *,
    state: TransactionState = FINISHED,
    output: str | None = None,
) -> End:
    """Return the step that ends a transaction now."""
    return End(
        organisation_id=stage.organisation,
        event_id=event_id,
        tx_key=tx_key,
        environment=Environment.LIVE,
        now_ms=stage.clock.now_ms(),
        by=f"worker of {tx_key}",
        state=state,
        output=output,
    )


def move_step(
    stage: Stage, event_id: EventId, state: TransactionState, tx_key: str = "k", *, lease_ms: int | None = None
) -> Move:
    """Return the step that puts a transaction into a state now."""
    now_ms = stage.clock.now_ms()
    return Move(
        organisation_id=stage.organisation,
        event_id=event_id,
        tx_key=tx_key,
        environment=Environment.LIVE,
        now_ms=now_ms,
        by="an operator",
        state=state,
        lease_until_ms=None if lease_ms is None else now_ms + lease_ms,
    )


async def step(stage: Stage, each: TransactionStep) -> Transaction | TransactionRefusal:
    """Take one step."""
    (result,) = await stage.engine.transact([each])
    return result


async def _event(stage: Stage, **more: object) -> EventId:
    new = stage.new(**more)  # type: ignore[arg-type]
    await stage.store(new)
    return new.event.id


class TransactionContract:
    """One consumer group's claim on one event."""

    @scenario
    async def test_a_transaction_begins_and_ends(self, stage: Stage) -> None:
        event_id = await _event(stage, type="order")
        start_ms = stage.clock.now_ms()
        begun = await step(stage, begin_step(stage, event_id))
        assert begun == Transaction(
            event_id=event_id,
            organisation_id=stage.organisation,
            tx_key="k",
            event_type="order",
            state=PROCESSING,
            started_ms=start_ms,
            history=(StateChange(None, "processing", start_ms, "worker of k"),),
        )
        stage.clock.advance_ms(10)
        ended = await step(stage, end_step(stage, event_id, output="done"))
        assert ended == end(begun, FINISHED, "done", now_ms=start_ms + 10, by="worker of k")
        query = TransactionQuery(organisation_id=stage.organisation, event_id=event_id)
        assert [row.transaction for row in await stage.all(query)] == [ended]

    @scenario
    async def test_an_output_is_kept_as_it_was_given(self, stage: Stage) -> None:
        outputs = [None, "", "\0", "a\0b", "ä\U0001f514", "x" * 262_144]
        events = [await _event(stage) for _ in outputs]
        for event_id, output in zip(events, outputs, strict=True):
            await step(stage, begin_step(stage, event_id))
            ended = await step(stage, end_step(stage, event_id, output=output))
            assert isinstance(ended, Transaction)
            assert ended.output == output
        await stage.reopen()
        for event_id, output in zip(events, outputs, strict=True):
            assert isinstance(await step(stage, end_step(stage, event_id, output=output)), Transaction)
            assert await step(stage, end_step(stage, event_id, output="another")) is ENDED
        query = TransactionQuery(organisation_id=stage.organisation)
        assert [row.transaction.output for row in await stage.all(query)] == outputs

    @scenario
    async def test_steps_of_one_batch_may_be_of_many_events_groups_and_owners(self, stage: Stage) -> None:
        events = [await _event(stage) for _ in range(40)]
        foreign = await _event(stage, organisation=stage.foreign)
        steps: list[TransactionStep] = []
        expected: list[TransactionState | TransactionRefusal] = []
        for event_id in events:
            for tx_key in "ab":
                steps += [begin_step(stage, event_id, tx_key), end_step(stage, event_id, tx_key, output=tx_key)]
                expected += [PROCESSING, FINISHED]
        steps += [
            begin_step(stage, foreign),
            begin_step(stage, EventId(stage.id())),
            begin_step(stage, events[0], "a"),
        ]
        expected += [NOT_FOUND, NOT_FOUND, EXISTS]
        results = await stage.engine.transact(steps)
        assert [each.state if isinstance(each, Transaction) else each for each in results] == expected
        query = TransactionQuery(organisation_id=stage.organisation)
        stored = [(row.transaction.event_id, row.transaction.output) for row in await stage.all(query)]
        assert stored == [(event_id, tx_key) for event_id in events for tx_key in "ab"]
        assert await stage.engine.transact([]) == []

    @scenario
    async def test_of_racing_begins_exactly_one_succeeds(self, stage: Stage) -> None:
        event_id = await _event(stage)
        steps = [begin_step(stage, event_id) for _ in range(50)]
        results = await asyncio.gather(*(step(stage, each) for each in steps))
        assert sum(isinstance(each, Transaction) for each in results) == 1
        assert sum(each is EXISTS for each in results) == 49

    @scenario
    async def test_steps_of_one_batch_are_taken_in_order(self, stage: Stage) -> None:
        event_id = await _event(stage)
        results = await stage.engine.transact(
            [
                end_step(stage, event_id),
                begin_step(stage, event_id),
                begin_step(stage, event_id),
                end_step(stage, event_id, output="a"),
                end_step(stage, event_id, output="a"),
                end_step(stage, event_id, output="b"),
            ]
        )
        assert results[0] is NOT_FOUND
        assert isinstance(results[1], Transaction)
        assert results[2] is EXISTS
        assert isinstance(results[3], Transaction)
        assert results[4] == results[3]
        assert results[5] is ENDED

    @scenario
    async def test_consumer_groups_do_not_hinder_each_other(self, stage: Stage) -> None:
        event_id = await _event(stage)
        for tx_key in ("a", "b", "ä", ""):
            assert isinstance(await step(stage, begin_step(stage, event_id, tx_key)), Transaction)

    @scenario
    async def test_what_the_consumer_cannot_see_is_not_found(self, stage: Stage) -> None:
        foreign = await _event(stage, organisation=stage.foreign)
        other_half = await _event(stage, environment=Environment.TEST)
        for event_id in (EventId(stage.id()), foreign, other_half):
            for each in (
                begin_step(stage, event_id),
                end_step(stage, event_id),
                move_step(stage, event_id, FINISHED),
            ):
                assert await step(stage, each) is NOT_FOUND

    @scenario
    async def test_a_lease_that_ran_out_is_taken_over_and_the_history_tells(self, stage: Stage) -> None:
        event_id = await _event(stage)
        first = await step(stage, begin_step(stage, event_id, lease_ms=1000))
        stage.clock.advance_ms(999)
        assert await step(stage, begin_step(stage, event_id, lease_ms=1000)) is EXISTS
        stage.clock.advance_ms(1)
        second = await step(stage, begin_step(stage, event_id, lease_ms=1000))
        assert isinstance(first, Transaction)
        assert isinstance(second, Transaction)
        assert second.started_ms == stage.clock.now_ms()
        assert [each.at_ms for each in second.history] == [first.started_ms, second.started_ms]

    @scenario
    async def test_a_move_to_processing_sets_the_lease_anew(self, stage: Stage) -> None:
        event_id = await _event(stage)
        await step(stage, begin_step(stage, event_id, lease_ms=1000))
        await step(stage, end_step(stage, event_id))
        await step(stage, move_step(stage, event_id, PROCESSING, lease_ms=1000))
        stage.clock.advance_ms(999)
        await step(stage, move_step(stage, event_id, PROCESSING, lease_ms=1000))
        stage.clock.advance_ms(999)
        assert await step(stage, begin_step(stage, event_id)) is EXISTS
        stage.clock.advance_ms(1)
        assert isinstance(await step(stage, begin_step(stage, event_id)), Transaction)

    @scenario
    async def test_a_lease_without_an_end_is_never_taken_over(self, stage: Stage) -> None:
        event_id = await _event(stage)
        await step(stage, begin_step(stage, event_id))
        stage.clock.advance_ms(10**12)
        assert await step(stage, begin_step(stage, event_id)) is EXISTS

    @scenario
    async def test_any_steps_come_to_what_the_cores_rules_say(self, stage: Stage) -> None:
        events = [await _event(stage, type=f"t{number}") for number in range(3)]
        known: dict[tuple[EventId, str], Transaction] = {}
        for number in range(300):
            stage.clock.advance_ms(stage.random.randrange(60))
            event_id, tx_key = stage.random.choice(events), stage.random.choice("ab")
            each = self._any_step(stage, event_id, tx_key)
            expected = _expected(known.get((event_id, tx_key)), each, f"t{events.index(event_id)}")
            assert await step(stage, each) == expected, number
            if isinstance(expected, Transaction):
                known[event_id, tx_key] = expected
        await stage.reopen()
        query = TransactionQuery(organisation_id=stage.organisation)
        found = [row.transaction for row in await stage.all(query)]
        stored = {(each.event_id, each.tx_key): each for each in found}
        assert stored == known

    def _any_step(self, stage: Stage, event_id: EventId, tx_key: str) -> TransactionStep:
        kind = stage.random.randrange(3)
        if kind == 0:
            return begin_step(stage, event_id, tx_key, lease_ms=stage.random.choice([None, 50]))
        if kind == 1:
            state = stage.random.choice([FINISHED, TransactionState.FAILED])
            return end_step(stage, event_id, tx_key, state=state, output=stage.random.choice([None, "x"]))
        lease_ms = stage.random.choice([None, 50])
        return move_step(stage, event_id, stage.random.choice(list(TransactionState)), tx_key, lease_ms=lease_ms)


def _expected(found: Transaction | None, each: TransactionStep, event_type: str) -> Transaction | TransactionRefusal:
    if isinstance(each, End):
        return end(found, each.state, each.output, now_ms=each.now_ms, by=each.by)
    if isinstance(each, Move):
        return move(found, each.state, now_ms=each.now_ms, by=each.by, lease_until_ms=each.lease_until_ms)
    wanted = Transaction(
        event_id=each.event_id,
        organisation_id=each.organisation_id,
        tx_key=each.tx_key,
        event_type=event_type,
        state=PROCESSING,
        started_ms=each.now_ms,
        lease_until_ms=each.lease_until_ms,
        history=(StateChange(None, "processing", each.now_ms, each.by),),
    )
    return begin(found, wanted, now_ms=each.now_ms)
