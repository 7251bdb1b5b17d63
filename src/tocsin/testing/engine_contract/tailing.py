"""``tail`` for some organisations: what is passed over, and what is told beside the events."""

from __future__ import annotations

import msgspec

from tocsin.core.delivery import DeliveryState
from tocsin.testing.engine_contract.stage import Stage, scenario


class TailOfSomeContract:
    """``tail`` with its options."""

    @scenario
    async def test_only_the_events_of_the_organisations_asked_for_are_told(self, stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        others = stage.destination()
        mine, foreign = stage.new(), stage.new(others, organisation=stage.foreign)
        await stage.store(foreign, mine, foreign_again := stage.new(organisation=stage.foreign))
        page = await stage.engine.tail(cursor, 9, organisations=frozenset({stage.organisation}))
        assert page.events == [mine.event]
        assert not page.more
        both = await stage.engine.tail(cursor, 9, organisations=frozenset({stage.organisation, stage.foreign}))
        assert both.events == [foreign.event, mine.event, foreign_again.event]
        assert (await stage.engine.tail(page.cursor, 9)).events == []

    @scenario
    async def test_a_quiet_organisations_tail_goes_on_past_the_events_of_others(self, stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        for _ in range(30):
            await stage.store(*(stage.new(organisation=stage.foreign) for _ in range(400)))
        mine = stage.new()
        await stage.store(mine)
        seen, more = [], True
        while more:
            page = await stage.engine.tail(cursor, 9, organisations=frozenset({stage.organisation}))
            assert page.cursor > cursor
            seen += page.events
            cursor, more = page.cursor, page.more
        assert seen == [mine.event]

    @scenario
    async def test_each_position_goes_on_behind_its_event(self, stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        new = [stage.new() for _ in range(4)]
        await stage.store(*new)
        page = await stage.engine.tail(cursor, 3)
        assert page.more
        assert page.positions[-1] == page.cursor
        for number, position in enumerate(page.positions, 1):
            rest = await stage.engine.tail(position, 9)
            assert rest.events == [each.event for each in new[number:]]

    @scenario
    async def test_so_many_events_are_told_from_so_many_back(self, stage: Stage) -> None:
        new = [stage.new() for _ in range(5)]
        await stage.store(*new[:2])
        await stage.store(*new[2:])
        for back in range(6):
            page = await stage.engine.tail(None, 9, back=back)
            assert page.events == []
            rest = await stage.engine.tail(page.cursor, 9)
            assert rest.events == [each.event for each in new[5 - back :]]
        assert (await stage.engine.tail(None, 9, back=9)).cursor == 0

    @scenario
    async def test_a_tail_without_data_has_all_but_the_data(self, stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        new = stage.new(subject="s", data=b'{"long":true}')
        await stage.store(new)
        page = await stage.engine.tail(cursor, 9, with_data=False)
        assert page.events == [msgspec.structs.replace(new.event, data=b"")]

    @scenario
    async def test_a_tail_tells_where_deliveries_go_whatever_became_of_them(self, stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        one, two = stage.destinations(2)
        await stage.store(stage.new(one, two, leased=True), stage.new(two), stage.new())
        (lease, *_) = await stage.claim(limit=1)
        await stage.finish(lease, DeliveryState.EXPIRED)
        page = await stage.engine.tail(cursor, 9, with_destinations=True)
        assert page.destinations == [frozenset({one, two}), frozenset({two}), frozenset()]
        assert (await stage.engine.tail(cursor, 9)).destinations == []

    @scenario
    async def test_a_cursor_behind_the_newest_stays_where_it_is(self, stage: Stage) -> None:
        await stage.store(stage.new())
        cursor = (await stage.engine.tail(None, 1)).cursor + 1_000
        page = await stage.engine.tail(cursor, 9)
        assert (page.events, page.cursor, page.more) == ([], cursor, False)
