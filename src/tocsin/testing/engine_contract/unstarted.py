"""``search(StandingQuery)`` without a state: what a group has not started, whatever the order of things was."""

from __future__ import annotations

from typing import Any

from tocsin.core.clock import DAY_MS
from tocsin.core.event import Environment, Event
from tocsin.core.identifiers import EventId, created_ms
from tocsin.core.transaction import Transaction, TransactionState
from tocsin.engine.rows import Page, StandingQuery, StandingRow
from tocsin.testing.engine_contract.consuming import begin_step, end_step, step
from tocsin.testing.engine_contract.stage import Stage, scenario

TYPE = "happened"


def _query(stage: Stage, tx_key: str = "k", **more: Any) -> StandingQuery:
    return StandingQuery(
        organisation_id=stage.organisation,
        tx_key=tx_key,
        type=TYPE,
        environment=Environment.LIVE,
        **more,
    )


async def _events(stage: Stage, count: int) -> list[Event]:
    batch = [stage.new() for _ in range(count)]
    await stage.store(*batch)
    return [each.event for each in batch]


def _shown(page: Page[StandingRow]) -> list[Event]:
    return [row.event for row in page.rows]


async def _all(stage: Stage, query: StandingQuery, *, limit: int = 1000) -> list[Event]:
    return [row.event for row in await stage.all(query, limit=limit)]


async def _start(stage: Stage, events: list[Event], tx_key: str = "k") -> None:
    results = await stage.engine.transact([begin_step(stage, each.id, tx_key) for each in events])
    assert all(isinstance(each, Transaction) for each in results)


class UnstartedContract:
    """Events without a transaction of the group, and those whose transaction lapsed."""

    @scenario
    async def test_unstarted_events_come_oldest_first(self, stage: Stage) -> None:
        events = await _events(stage, 40)
        await _start(stage, events[:20] + events[30:33])
        page = await stage.search(_query(stage), limit=5)
        assert _shown(page) == events[20:25]
        assert (page.total, page.total_is_exact) == (17, True)
        assert await _all(stage, _query(stage), limit=4) == events[20:30] + events[33:]
        assert _shown(await stage.search(_query(stage), limit=5, offset=8)) == events[28:30] + events[33:36]

    @scenario
    async def test_consumer_groups_are_told_apart(self, stage: Stage) -> None:
        events = await _events(stage, 60)
        for tx_key, count in (("a", 20), ("b", 40), ("c", 0)):
            await _start(stage, events[:count], tx_key)
            for _ in range(2):
                assert await _all(stage, _query(stage, tx_key)) == events[count:]

    @scenario
    async def test_other_types_halves_and_organisations_do_not_show(self, stage: Stage) -> None:
        (event,) = await _events(stage, 1)
        await stage.store(
            stage.new(type="other"),
            stage.new(environment=Environment.TEST),
            stage.new(organisation=stage.foreign),
        )
        assert await _all(stage, _query(stage)) == [event]

    @scenario
    async def test_an_event_skipped_is_listed_until_it_is_started(self, stage: Stage) -> None:
        events = await _events(stage, 200)
        await _start(stage, events[:50] + events[51:150])
        for _ in range(3):
            assert await _all(stage, _query(stage)) == [events[50], *events[150:]]
        await _start(stage, [events[50]])
        for _ in range(3):
            assert await _all(stage, _query(stage)) == events[150:]

    @scenario
    async def test_an_event_stored_late_with_an_older_id_is_listed(self, stage: Stage) -> None:
        events = await _events(stage, 100)
        stage.clock.advance_ms(DAY_MS)
        await _start(stage, events)
        for _ in range(2):
            assert await _all(stage, _query(stage)) == []
        between = EventId(events[50].id[:15] + bytes([events[50].id[15] ^ 1]))
        before = EventId(stage.id_at(created_ms(events[0].id) - 1000))
        late = [stage.new(id=before), stage.new(id=between)]
        await stage.store(*late)
        for _ in range(2):
            assert await _all(stage, _query(stage)) == [each.event for each in late]
        await _start(stage, [each.event for each in late])
        assert await _all(stage, _query(stage)) == []

    @scenario
    async def test_a_lapsed_transaction_is_listed_again_in_its_place(self, stage: Stage) -> None:
        events = await _events(stage, 40)
        await _start(stage, events[:10] + events[11:30])
        await step(stage, begin_step(stage, events[10].id, lease_ms=1000))
        assert await _all(stage, _query(stage)) == events[30:]
        stage.clock.advance_ms(1000)
        for _ in range(2):
            assert await _all(stage, _query(stage), limit=3) == [events[10], *events[30:]]
        assert (await stage.search(_query(stage))).total == 11
        await step(stage, end_step(stage, events[10].id))
        assert await _all(stage, _query(stage)) == events[30:]

    @scenario
    async def test_times_bound_the_list_on_both_sides(self, stage: Stage) -> None:
        events = []
        for _ in range(30):
            events += await _events(stage, 1)
            stage.clock.advance_ms(10)
        await _start(stage, events[::3])
        since, until = created_ms(events[7].id), created_ms(events[20].id)
        for _ in range(2):
            found = await _all(stage, _query(stage, since_ms=since, until_ms=until))
            assert found == [each for number, each in enumerate(events) if number % 3 and 7 <= number <= 20]

    @scenario
    async def test_more_than_ten_thousand_are_not_counted_and_all_the_same_listed(self, stage: Stage) -> None:
        events = []
        for _ in range(21):
            events += await _events(stage, 500)
        page = await stage.search(_query(stage), limit=2)
        assert (page.total, page.total_is_exact) == (10_000, False)
        page = await stage.search(_query(stage), limit=4, offset=10_200)
        assert _shown(page) == events[10_200:10_204]
        assert page.next_cursor is not None
        assert _shown(await stage.search(_query(stage), limit=2, cursor=page.next_cursor)) == events[10_204:10_206]

    @scenario
    async def test_a_few_between_many_long_stretches_are_all_listed(self, stage: Stage) -> None:
        events: list[Event] = []
        for _ in range(18):
            events += await _events(stage, 500)
        skipped = events[::17]
        await _start(stage, [each for number, each in enumerate(events) if number % 17])
        for _ in range(4):
            assert await _all(stage, _query(stage)) == skipped
        page = await stage.search(_query(stage), limit=3, offset=len(skipped) - 2)
        assert (_shown(page), page.total) == (skipped[-2:], len(skipped))
        assert await _all(stage, _query(stage), limit=100) == skipped

    @scenario
    async def test_many_lapsed_transactions_are_listed_among_the_rest(self, stage: Stage) -> None:
        events: list[Event] = []
        for _ in range(3):
            events += await _events(stage, 500)
        steps = [begin_step(stage, each.id, lease_ms=1000) for number, each in enumerate(events) if number % 7]
        await stage.engine.transact(steps)
        assert await _all(stage, _query(stage)) == events[::7]
        stage.clock.advance_ms(1000)
        assert await _all(stage, _query(stage)) == events
        assert await _all(stage, _query(stage), limit=333) == events
        page = await stage.search(_query(stage), limit=5, offset=1100)
        assert (_shown(page), page.total) == (events[1100:1105], 1500)


class UnstartedModelContract:
    """The same as going through all events, for any history."""

    @scenario
    async def test_any_history_lists_what_a_walk_through_all_would(self, stage: Stage) -> None:
        model = _Model(stage)
        for _ in range(400):
            await model.step()
        await model.check_all()
        await stage.reopen()
        await model.check_all()


class _Model:
    """Keeps every event and transaction in lists, and compares."""

    _KEYS = ("a", "b")

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._dice = stage.random
        self._events: list[Event] = []
        self._started: dict[tuple[EventId, str], Transaction] = {}

    async def step(self) -> None:
        kind = self._dice.random()
        if kind < 0.25:
            await self._store()
        elif kind < 0.6:
            await self._start_some()
        elif kind < 0.7:
            await self._end_one()
        elif kind < 0.75:
            self._stage.clock.advance_ms(self._dice.choice([1, 500, 90_000]))
        elif kind < 0.78:
            self._stage.clock.set_ms(self._stage.clock.now_ms() - 3_600_000)
        else:
            await self._check(self._dice.choice(self._KEYS))

    async def _store(self) -> None:
        batch = []
        for _ in range(self._dice.randrange(1, 20)):
            at_ms = self._stage.clock.now_ms() - self._dice.choice([0, 0, 0, 0, 5, 100_000])
            event_id = self._stage.id() if self._dice.random() < 0.8 else self._stage.id_at(at_ms)
            environment = self._dice.choice([Environment.LIVE] * 5 + [Environment.TEST])
            batch.append(self._stage.new(id=event_id, environment=environment))
        await self._stage.store(*batch)
        self._events += [each.event for each in batch]

    async def _start_some(self) -> None:
        """Start events as consumers do: mostly the oldest, now and then any."""
        tx_key = self._dice.choice(self._KEYS)
        waiting = self._unstarted(tx_key)
        if self._dice.random() < 0.2:
            self._dice.shuffle(waiting)
        skip = self._dice.choice([0, 0, 0, 1, 3])
        lease_ms = self._dice.choice([None, None, 1000])
        for event in waiting[skip : skip + self._dice.randrange(1, 40)]:
            begun = await step(self._stage, begin_step(self._stage, event.id, tx_key, lease_ms=lease_ms))
            assert isinstance(begun, Transaction)
            self._started[event.id, tx_key] = begun

    async def _end_one(self) -> None:
        going = [name for name, each in self._started.items() if each.state is TransactionState.PROCESSING]
        if going:
            event_id, tx_key = self._dice.choice(going)
            ended = await step(self._stage, end_step(self._stage, event_id, tx_key))
            assert isinstance(ended, Transaction)
            self._started[event_id, tx_key] = ended

    def _unstarted(self, tx_key: str) -> list[Event]:
        now_ms = self._stage.clock.now_ms()
        found = []
        for event in sorted(self._events, key=lambda each: each.id):
            standing = self._started.get((event.id, tx_key))
            lapsed = (
                standing is not None
                and standing.state is TransactionState.PROCESSING
                and standing.lease_until_ms is not None
                and standing.lease_until_ms <= now_ms
            )
            if event.environment is Environment.LIVE and (standing is None or lapsed):
                found.append(event)
        return found

    async def _check(self, tx_key: str) -> None:
        bounds: dict[str, int] = {}
        now_ms = self._stage.clock.now_ms()
        if self._dice.random() < 0.4:
            bounds["since_ms"] = now_ms - self._dice.randrange(200_000)
        if self._dice.random() < 0.2:
            bounds["until_ms"] = now_ms - self._dice.randrange(100_000)
        since, until = bounds.get("since_ms", 0), bounds.get("until_ms", 2**47)
        expected = [each for each in self._unstarted(tx_key) if since <= created_ms(each.id) <= until]
        query = _query(self._stage, tx_key, **bounds)
        limit, offset = self._dice.randrange(1, 30), self._dice.choice([0, 0, 7])
        page = await self._stage.search(query, limit=limit, offset=offset)
        assert _shown(page) == expected[offset : offset + limit]
        assert page.total == len(expected)
        assert (page.next_cursor is None) == (len(expected) <= offset + limit)
        assert await _all(self._stage, query, limit=limit) == expected

    async def check_all(self) -> None:
        """Compare the whole lists."""
        for tx_key in self._KEYS:
            assert await _all(self._stage, _query(self._stage, tx_key)) == self._unstarted(tx_key)
