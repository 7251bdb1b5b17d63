"""``search(StandingQuery)`` and ``find(TransactionTally)``: where one group stands, and how many groups there are."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.event import Environment, Event
from tocsin.core.identifiers import EventId, created_ms
from tocsin.core.transaction import Transaction, TransactionState
from tocsin.engine.rows import StandingQuery, StandingRow, TransactionStep, TransactionTally
from tocsin.testing.engine_contract.consuming import begin_step, end_step, move_step, step
from tocsin.testing.engine_contract.stage import Stage, scenario

TYPE = "happened"
GROUPS = ("a", "b", "ä", "b\x01")
PROCESSING, FINISHED, FAILED = TransactionState.PROCESSING, TransactionState.FINISHED, TransactionState.FAILED


def _query(
    stage: Stage,
    tx_key: str = "a",
    state: TransactionState | None = None,
    *,
    environment: Environment = Environment.LIVE,
    **more: Any,
) -> StandingQuery:
    given: dict[str, Any] = {"organisation_id": stage.organisation, "type": TYPE} | more
    return StandingQuery(tx_key=tx_key, state=state, environment=environment, **given)


async def _events(stage: Stage, count: int, **more: Any) -> list[Event]:
    batch = [stage.new(**more) for _ in range(count)]
    await stage.store(*batch)
    return [each.event for each in batch]


async def _take(stage: Stage, *steps: TransactionStep) -> list[Transaction]:
    results = []
    for result in await stage.engine.transact(steps):
        assert isinstance(result, Transaction), result
        results.append(result)
    return results


async def _tallies(stage: Stage, *ids: EventId) -> list[tuple[int, int] | None]:
    found = await stage.engine.find(TransactionTally, stage.organisation, ids)
    return [None if each is None else (each.total, each.processing) for each in found]


class StandingContract:
    """Events by where a group stands, each with the group's own transaction and the count of all."""

    @scenario
    async def test_every_groups_standing_is_its_own_and_the_tally_everybodys(self, stage: Stage) -> None:
        events = await _events(stage, 40, data=b"x" * 500)
        await _events(stage, 3, type="other")
        begun: dict[tuple[EventId, str], Transaction] = {}
        for event in events:
            for tx_key in stage.random.sample(GROUPS, stage.random.randrange(len(GROUPS) + 1)):
                lease_ms = stage.random.choice([None, 10, 1000])
                steps: list[TransactionStep] = [
                    begin_step(stage, event.id, tx_key, lease_ms=lease_ms),
                    end_step(
                        stage, event.id, tx_key, state=stage.random.choice([FINISHED, FAILED]), output="o" * 999
                    ),
                    move_step(stage, event.id, PROCESSING, tx_key, lease_ms=lease_ms),
                ]
                taken = await _take(stage, *steps[: stage.random.randrange(1, 4)])
                begun[event.id, tx_key] = taken[-1]
        stage.clock.advance_ms(10)
        assert _standings(stage, events, begun, "a", None) != _standings(stage, events, {}, "a", None)
        await stage.reopen()
        for tx_key in (*GROUPS, "nobody"):
            for state in (None, *TransactionState):
                expected = _standings(stage, events, begun, tx_key, state)
                for _ in range(2):
                    assert await stage.all(_query(stage, tx_key, state), limit=7) == expected
                page = await stage.search(_query(stage, tx_key, state), limit=5, offset=3)
                assert (page.rows, page.total) == (expected[3:8], len(expected))

    @scenario
    async def test_a_lapsed_transaction_is_offered_with_its_past_and_still_counts(self, stage: Stage) -> None:
        (event,) = await _events(stage, 1)
        (begun,) = await _take(stage, begin_step(stage, event.id, lease_ms=1000))
        tally = TransactionTally(total=1, processing=1)
        at_work = [StandingRow(event=event, transaction=begun, tally=tally)]
        assert await stage.all(_query(stage, "k")) == []
        assert await stage.all(_query(stage, "k", PROCESSING)) == at_work
        stage.clock.advance_ms(1000)
        assert await stage.all(_query(stage, "k")) == at_work
        assert await stage.all(_query(stage, "k", PROCESSING)) == at_work
        (again,) = await _take(stage, begin_step(stage, event.id, lease_ms=1000))
        assert await stage.all(_query(stage, "k")) == []
        assert await stage.all(_query(stage, "k", PROCESSING)) == [
            StandingRow(event=event, transaction=again, tally=tally)
        ]
        assert await _tallies(stage, event.id) == [(1, 1)]

    @scenario
    async def test_each_half_and_each_organisation_has_its_own(self, stage: Stage) -> None:
        (live,) = await _events(stage, 1)
        (test,) = await _events(stage, 1, environment=Environment.TEST)
        (foreign,) = await _events(stage, 1, organisation=stage.foreign)
        steps = [
            begin_step(stage, live.id, "a"),
            msgspec.structs.replace(begin_step(stage, test.id, "a"), environment=Environment.TEST),
            msgspec.structs.replace(begin_step(stage, foreign.id, "a"), organisation_id=stage.foreign),
        ]
        owners: list[tuple[Event, dict[str, Any]]] = [
            (live, {}),
            (test, {"environment": Environment.TEST}),
            (foreign, {"organisation_id": stage.foreign}),
        ]
        for event, whose in owners:
            (row,) = await stage.all(_query(stage, **whose))
            assert row == StandingRow(event=event, transaction=None, tally=TransactionTally(total=0, processing=0))
        transactions = await _take(stage, *steps)
        for (event, whose), transaction in zip(owners, transactions, strict=True):
            assert await stage.all(_query(stage, **whose)) == []
            (row,) = await stage.all(_query(stage, "a", PROCESSING, **whose))
            assert row == StandingRow(
                event=event, transaction=transaction, tally=TransactionTally(total=1, processing=1)
            )

    @scenario
    async def test_started_events_are_listed_by_type_time_and_page(self, stage: Stage) -> None:
        events: list[Event] = []
        for number in range(30):
            events += await _events(stage, 1, type="odd" if number % 2 else TYPE)
            stage.clock.advance_ms(10)
        await _take(stage, *(begin_step(stage, each.id, "a") for each in events))
        mine = events[::2]
        assert await stage.ids_of(_query(stage, "a", PROCESSING), limit=4) == [each.id for each in mine]
        window: dict[str, Any] = {"since_ms": created_ms(mine[3].id), "until_ms": created_ms(mine[9].id)}
        query = _query(stage, "a", PROCESSING, **window)
        assert await stage.ids_of(query, limit=2) == [each.id for each in mine[3:10]]
        page = await stage.search(query, limit=3, offset=5)
        assert ([row.event for row in page.rows], page.total) == (mine[8:10], 7)
        assert page.next_cursor is None
        for cursor in (b"", b"\0", mine[0].id, b"\xff" * 40):
            page = await stage.search(query, limit=2, cursor=cursor)
            assert [row.event for row in page.rows] == ([] if cursor[:1] == b"\xff" else mine[3:5])
        assert (await stage.search(query, limit=2, offset=10**12)).rows == []
        assert (await stage.search(_query(stage, "a"), limit=2, offset=10**12)).rows == []

    @scenario
    async def test_more_than_ten_thousand_started_are_not_counted_and_all_the_same_listed(self, stage: Stage) -> None:
        events: list[Event] = []
        for _ in range(21):
            events += await _events(stage, 500)
        await _take(stage, *(begin_step(stage, each.id, "a") for each in events))
        page = await stage.search(_query(stage, "a", PROCESSING), limit=3, offset=10_400)
        assert [row.event for row in page.rows] == events[10_400:10_403]
        assert (page.total, page.total_is_exact) == (10_000, False)


class TallyContract:
    """How many groups have begun an event, and how many of them are at work on it."""

    @scenario
    async def test_a_tally_follows_the_steps(self, stage: Stage) -> None:
        (event,) = await _events(stage, 1)
        assert await _tallies(stage, event.id) == [None]
        followed: list[tuple[TransactionStep, tuple[int, int]]] = [
            (begin_step(stage, event.id, "a"), (1, 1)),
            (begin_step(stage, event.id, "b"), (2, 2)),
            (end_step(stage, event.id, "a"), (2, 1)),
            (end_step(stage, event.id, "b", state=FAILED), (2, 0)),
            (move_step(stage, event.id, PROCESSING, "a"), (2, 1)),
            (move_step(stage, event.id, FAILED, "a"), (2, 0)),
        ]
        for each, expected in followed:
            assert isinstance(await step(stage, each), Transaction)
            assert await _tallies(stage, event.id) == [expected]
            (refused,) = await stage.engine.transact([begin_step(stage, event.id, "a")])
            assert not isinstance(refused, Transaction)
            assert await _tallies(stage, event.id) == [expected]

    @scenario
    async def test_tallies_come_in_the_order_asked_for(self, stage: Stage) -> None:
        events = await _events(stage, 300)
        for number, tx_key in enumerate(GROUPS):
            await _take(stage, *(begin_step(stage, each.id, tx_key) for each in events[:: number + 2]))
        await _take(stage, *(end_step(stage, each.id, GROUPS[0]) for each in events[::4]))
        expected = {}
        for number, event in enumerate(events):
            total = sum(number % every == 0 for every in range(2, len(GROUPS) + 2))
            expected[event.id] = (total, total - (number % 4 == 0)) if total else None
        ids = [*expected, events[4].id, EventId(stage.id())]
        stage.random.shuffle(ids)
        assert await _tallies(stage, *ids) == [expected.get(each) for each in ids]
        assert await _tallies(stage) == []


def _standings(
    stage: Stage,
    events: list[Event],
    begun: dict[tuple[EventId, str], Transaction],
    tx_key: str,
    state: TransactionState | None,
) -> list[StandingRow]:
    """Return what a walk through everything finds."""
    rows = []
    for event in events:
        transaction = begun.get((event.id, tx_key))
        lease_until_ms = None if transaction is None else transaction.lease_until_ms
        # Only one that is processing has a lease.
        free = transaction is None or (lease_until_ms is not None and lease_until_ms <= stage.clock.now_ms())
        if not (free if state is None else transaction is not None and transaction.state is state):
            continue
        all_groups = [each for (event_id, _), each in begun.items() if event_id == event.id]
        tally = TransactionTally(
            total=len(all_groups), processing=sum(each.state is PROCESSING for each in all_groups)
        )
        bare = None if transaction is None else msgspec.structs.replace(transaction, output=None)
        rows.append(StandingRow(event=event, transaction=bare, tally=tally))
    return rows
