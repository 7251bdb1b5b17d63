"""Pages of ``search``: whole, without repeats, whatever happens in between."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.clock import DAY_MS
from tocsin.core.transaction import TransactionState
from tocsin.engine.rows import (
    AttemptQuery,
    DeliveryQuery,
    EventQuery,
    IncidentQuery,
    Query,
    StandingQuery,
    TransactionQuery,
)
from tocsin.testing.engine_contract.consuming import begin_step
from tocsin.testing.engine_contract.stage import Stage, scenario


class PagingContract:
    """Pages by cursor and by offset."""

    @scenario
    async def test_newest_first_pages_are_whole_while_events_come_in(self, stage: Stage) -> None:
        first = [stage.new() for _ in range(50)]
        await stage.store(*first)
        query = EventQuery(organisation_id=stage.organisation)
        page = await stage.search(query, limit=7)
        seen = [row.event.id for row in page.rows]
        while page.next_cursor is not None:
            await stage.store(*(stage.new() for _ in range(5)))
            page = await stage.search(query, limit=7, cursor=page.next_cursor)
            seen += [row.event.id for row in page.rows]
        assert seen == [each.event.id for each in reversed(first)]

    @scenario
    async def test_oldest_first_pages_reach_what_comes_in(self, stage: Stage) -> None:
        new = [stage.new(subject="u") for _ in range(20)]
        await stage.store(*new)
        query = EventQuery(organisation_id=stage.organisation, subject="u", ascending=True)
        page = await stage.search(query, limit=7)
        seen = [row.event.id for row in page.rows]
        while page.next_cursor is not None:
            if len(new) < 40:
                more = [stage.new(subject="u") for _ in range(5)]
                await stage.store(*more)
                new += more
            page = await stage.search(query, limit=7, cursor=page.next_cursor)
            seen += [row.event.id for row in page.rows]
        assert seen == [each.event.id for each in new]

    @scenario
    async def test_the_last_page_has_no_cursor(self, stage: Stage) -> None:
        query = EventQuery(organisation_id=stage.organisation)
        page = await stage.search(query, limit=5)
        assert (page.rows, page.next_cursor, page.total, page.total_is_exact) == ([], None, 0, True)
        await stage.store(*(stage.new() for _ in range(5)))
        assert (await stage.search(query, limit=5)).next_cursor is None
        assert (await stage.search(query, limit=4)).next_cursor is not None

    @scenario
    async def test_an_offset_skips_rows(self, stage: Stage) -> None:
        new = [stage.new(stage.destination()) for _ in range(20)]
        await stage.store(*new)
        for lease in (await stage.claim())[:10]:
            await stage.finish(lease)
        expected = [each.event.id for each in reversed(new)]
        queries: list[Query[Any]] = [
            EventQuery(organisation_id=stage.organisation),
            DeliveryQuery(organisation_id=stage.organisation),
        ]
        for query in queries:
            for offset in (0, 1, 7, 18, 20, 99):
                page = await stage.search(query, limit=4, offset=offset)
                assert [row.event.id for row in page.rows] == expected[offset : offset + 4]
                assert page.total == 20

    @scenario
    async def test_data_may_be_left_out(self, stage: Stage) -> None:
        new = [stage.new(stage.destination(), data=b"x" * 1000, extension={"a": 1}) for _ in range(4)]
        await stage.store(*new)
        await stage.finish((await stage.claim())[0])
        bare = [msgspec.structs.replace(each.event, data=b"") for each in reversed(new)]
        events = EventQuery(organisation_id=stage.organisation, with_data=False)
        assert [row.event for row in await stage.all(events, limit=3)] == bare
        deliveries = DeliveryQuery(organisation_id=stage.organisation, with_data=False)
        assert [row.event for row in await stage.all(deliveries, limit=3)] == bare

    @scenario
    async def test_any_bytes_are_a_cursor(self, stage: Stage) -> None:
        new = stage.new(stage.destination())
        await stage.store(new)
        await stage.put_off(await stage.claim_one(), stage.clock.now_ms())
        await stage.engine.transact([begin_step(stage, new.event.id)])
        organisation = stage.organisation
        queries: list[Query[Any]] = [
            EventQuery(organisation_id=organisation),
            DeliveryQuery(organisation_id=organisation),
            AttemptQuery(organisation_id=organisation, event_id=new.event.id),
            TransactionQuery(organisation_id=organisation),
            IncidentQuery(organisation_id=organisation),
            *(
                StandingQuery(
                    organisation_id=organisation,
                    tx_key=tx_key,
                    type=new.event.type,
                    environment=new.event.environment,
                    state=state,
                )
                for tx_key, state in (("other", None), ("k", TransactionState.PROCESSING))
            ),
        ]
        for query in queries:
            for cursor in (b"", b"\0", b"\xff" * 40, b"\xff" * 8, b"x" * 16 + b"\xff\x00", new.event.id):
                assert len((await stage.search(query, limit=1, cursor=cursor)).rows) <= 1

    @scenario
    async def test_totals_are_counted_to_ten_thousand(self, stage: Stage) -> None:
        destination = stage.destination()
        for _ in range(20):
            await stage.store(*(stage.new(destination, type="counted") for _ in range(500)))
        events = EventQuery(organisation_id=stage.organisation, type="counted")
        deliveries = DeliveryQuery(organisation_id=stage.organisation, destination_id=destination)
        queries: list[Query[Any]] = [events, deliveries]
        for query in queries:
            page = await stage.search(query, limit=1)
            assert (page.total, page.total_is_exact) == (10_000, True)
        await stage.store(stage.new(destination, type="counted"))
        for query in queries:
            page = await stage.search(query, limit=1)
            assert (page.total, page.total_is_exact) == (10_000, False)
        since = msgspec.structs.replace(events, since_ms=stage.clock.now_ms() + DAY_MS)
        assert (await stage.search(since, limit=1)).total == 0
