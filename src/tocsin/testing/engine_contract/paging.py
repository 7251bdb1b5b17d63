"""Pages of ``search``: whole, without repeats, whatever happens in between."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import msgspec

from tocsin.core.clock import DAY_MS
from tocsin.core.device import Device, Platform
from tocsin.core.environment import Environment
from tocsin.core.event import Event
from tocsin.core.identifiers import ChannelId
from tocsin.core.transaction import TransactionState
from tocsin.engine.rows import (
    AttemptQuery,
    DeliveryQuery,
    EventQuery,
    IncidentQuery,
    MailboxQuery,
    Page,
    Query,
    SaveDevice,
    StandingQuery,
    Subscribe,
    TransactionQuery,
)
from tocsin.testing.engine_contract.consuming import begin_step, end_step
from tocsin.testing.engine_contract.stage import PAGE_BYTES_MAX, Stage, scenario


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
            IncidentQuery(organisation_id=organisation, environment=Environment.LIVE),
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
            page = await stage.search(msgspec.structs.replace(query, thorough=True), limit=1)
            assert (page.total, page.total_is_exact) == (10_001, True)
        since = msgspec.structs.replace(events, since_ms=stage.clock.now_ms() + DAY_MS)
        assert (await stage.search(since, limit=1)).total == 0


class PayloadsOfAPageContract:
    """A page ends before its payloads pass the bound, and its cursor goes on from there."""

    @scenario
    async def test_every_list_that_shows_payloads_is_cut_at_the_bound_and_goes_on(self, stage: Stage) -> None:
        new = await _of_many_sizes(stage)
        newest_first, name = list(reversed(new)), new[0].type
        organisation, live = stage.organisation, Environment.LIVE
        standing = StandingQuery(organisation_id=organisation, tx_key="k", type=name, environment=live)
        lists: list[tuple[Query[Any], list[Event]]] = [
            (EventQuery(organisation_id=organisation), newest_first),
            (EventQuery(organisation_id=organisation, type=name, text="x", ascending=True), new),
            (DeliveryQuery(organisation_id=organisation), newest_first),
            (DeliveryQuery(organisation_id=organisation, ascending=True), new),
            (standing, new),
            (MailboxQuery(organisation_id=organisation, device_key="d", now_ms=0), new),
        ]
        for query, expected in lists:
            for limit in (2, 100):
                pages = await _pages(stage, query, limit=limit)
                assert [row.event for page in pages for row in page.rows] == expected, query
                _check([[len(row.event.data) for row in page.rows] for page in pages], limit)
                assert all(page.total == len(new) for page in pages)
        await stage.engine.transact([begin_step(stage, each.id) for each in new])
        for state in (TransactionState.PROCESSING, TransactionState.FINISHED):
            pages = await _pages(stage, msgspec.structs.replace(standing, state=state), limit=100)
            assert [row.event for page in pages for row in page.rows] == new
            _check([[len(row.event.data) for row in page.rows] for page in pages], 100)
            steps = [end_step(stage, each.id, output="o" * len(each.data)) for each in new]
            await stage.engine.transact(steps)
        pages = await _pages(stage, TransactionQuery(organisation_id=organisation), limit=100)
        _check([[len(row.transaction.output) for row in page.rows] for page in pages], 100)
        assert sum(len(page.rows) for page in pages) == len(new)

    @scenario
    async def test_a_page_of_a_tail_is_cut_at_the_bound_and_goes_on(self, stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        new = await _of_many_sizes(stage)
        page = await stage.engine.tail(cursor, 100, with_data=False)
        assert (len(page.events), page.more) == (len(new), False)
        seen: list[Event] = []
        sizes: list[list[int]] = []
        while len(seen) < len(new):
            page = await stage.engine.tail(cursor, 100)
            assert page.more is (len(seen) + len(page.events) < len(new))
            seen, cursor = seen + page.events, page.cursor
            sizes.append([len(each.data) for each in page.events])
        assert seen == new
        _check(sizes, 100)

    @scenario
    async def test_a_page_without_payloads_is_not_cut(self, stage: Stage) -> None:
        new = await _of_many_sizes(stage)
        queries: list[Query[Any]] = [
            EventQuery(organisation_id=stage.organisation, with_data=False),
            DeliveryQuery(organisation_id=stage.organisation, with_data=False),
        ]
        for query in queries:
            page = await stage.search(query)
            assert (len(page.rows), page.next_cursor) == (len(new), None)

    @scenario
    async def test_behind_an_offset_a_page_is_cut_at_the_bound_too(self, stage: Stage) -> None:
        new = await _of_many_sizes(stage)
        queries: list[Query[Any]] = [
            EventQuery(organisation_id=stage.organisation),
            DeliveryQuery(organisation_id=stage.organisation),
        ]
        for query in queries:
            page = await stage.search(query, offset=3)
            rest = await stage.search(query, cursor=page.next_cursor)
            found = [row.event for row in (*page.rows, *rest.rows)]
            assert found == list(reversed(new))[3 : 3 + len(found)]
            assert page.rows
            assert rest.rows


_SIZES_BYTES = (40_000, 40_000, 30_000, 10, PAGE_BYTES_MAX, PAGE_BYTES_MAX * 2, 10, 60_000, 40_000, 1)


async def _of_many_sizes(stage: Stage) -> list[Event]:
    """Store events of these sizes, each with a delivery, a third of them delivered, and an item in a mailbox."""
    channel = ChannelId(stage.id())
    device = Device(key="d", organisation_id=stage.organisation, platform=Platform.IOS, changed_ms=0)
    await stage.engine.mailbox_write([SaveDevice(device), Subscribe(stage.organisation, "d", channel, 9)])
    destination, expires_ms = stage.destination(), stage.clock.now_ms() + DAY_MS
    new = [stage.new(destination, data=b"x" * size, mailbox=(channel, expires_ms)) for size in _SIZES_BYTES]
    await stage.store(*new)
    for lease in (await stage.claim())[::3]:
        await stage.finish(lease)
    return [each.event for each in new]


async def _pages(stage: Stage, query: Query[Any], *, limit: int) -> list[Page[Any]]:
    pages = [await stage.search(query, limit=limit)]
    while pages[-1].next_cursor is not None:
        pages.append(await stage.search(query, limit=limit, cursor=pages[-1].next_cursor))
    return pages


def _check(pages: list[list[int]], limit: int) -> None:
    """Fail unless each page is as long as the bounds let it be."""
    nothing: list[int] = []
    for sizes, following in zip_longest(pages, pages[1:], fillvalue=nothing):
        assert sizes
        assert len(sizes) == 1 or sum(sizes) <= PAGE_BYTES_MAX
        assert not following or len(sizes) == limit or sum(sizes) + following[0] > PAGE_BYTES_MAX
