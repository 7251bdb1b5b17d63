"""What lies in several parts is read as if it lay in one: the same rows in the same order, counted the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import asyncpg
import msgspec
import pytest

from engine.filled_store import WIDE, FilledStore, connected, page_of, tail_of
from engine.paper_cluster import PaperCluster
from engine.postgres_server import PostgresServer, play_on, running_server
from engine.router_rules import faults, judging
from tocsin.core.delivery import Delivery
from tocsin.core.environment import Environment
from tocsin.core.errors import Unavailable
from tocsin.core.event import Event
from tocsin.core.identifiers import BUCKETS, EventId, bucket_of
from tocsin.engine.bounds import ScanBounds
from tocsin.engine.postgres.find import find
from tocsin.engine.postgres.measure import measure
from tocsin.engine.postgres.parts import Parts, even_parts
from tocsin.engine.postgres.positions import settled_bound
from tocsin.engine.postgres.search import search
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.postgres.unstarted import Halted, learn
from tocsin.engine.rows import (
    DeliveryQuery,
    EventQuery,
    EventRow,
    Measures,
    Page,
    Query,
    QueueDepth,
    StandingQuery,
    TransactionTally,
)
from tocsin.testing.engine_contract import Stage
from tocsin.testing.engine_contract.consuming import begin_step

EIGHT = even_parts(8)
UNEVEN = Parts([range(1), range(1, 3), range(3, 60), range(60, BUCKETS)])
HOUR_MS = 3_600_000


async def pages_of(connection: Connection, query: Query[Any], now_ms: int, bounds: ScanBounds) -> list[Page[Any]]:
    """Return all pages, and some that begin elsewhere."""
    pages = [await page_of(connection, query, bounds, now_ms=now_ms)]
    while pages[-1].next_cursor is not None:
        pages.append(await page_of(connection, query, bounds, now_ms=now_ms, cursor=pages[-1].next_cursor))
    further = [await page_of(connection, query, bounds, now_ms=now_ms, offset=each) for each in (3, 20, 10_000)]
    return pages + further


@pytest.mark.parametrize("parts", [EIGHT, UNEVEN])
@pytest.mark.parametrize("turn", range(5))
def test_every_list_and_search_reads_several_parts_as_one(dsn: str, turn: int, parts: Parts) -> None:
    async def play(stage: Stage) -> None:
        filled = FilledStore(stage, turn)
        await filled.fill(70)
        now_ms = stage.clock.now_ms()
        few_bytes = msgspec.structs.replace(WIDE, page_bytes_max=900)
        seen = 0
        async with connected(dsn) as whole, connected(dsn, parts) as spread:
            for number, query in enumerate(filled.queries()[turn::5]):
                bounds = few_bytes if number % 3 == 0 else WIDE
                expected = await pages_of(whole, query, now_ms, bounds)
                assert await pages_of(spread, query, now_ms, bounds) == expected, query
                seen += sum(len(page.rows) for page in expected)
        assert seen > 40, "there was too little to compare"

    play_on(dsn, play, listens=False)


def _by_destination(measures: Measures) -> dict[bytes, QueueDepth]:
    return {each.destination_id: each for each in measures.queues}


def test_what_is_found_by_its_id_and_what_is_measured_is_the_same_in_several_parts(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        filled = FilledStore(stage, 6)
        await filled.fill(60)
        now_ms = stage.clock.now_ms()
        ids: list[bytes] = [each.id for each in filled.events]
        async with connected(dsn) as whole, connected(dsn, EIGHT) as spread:
            for kind in (Event, EventRow, TransactionTally):
                expected = await find(whole, kind, stage.organisation, ids)
                assert await find(spread, kind, stage.organisation, ids) == expected
                assert any(expected)
            every = DeliveryQuery(organisation_id=stage.organisation)
            deliveries = [row.delivery for row in (await page_of(whole, every, limit=500)).rows]
            found = await find(spread, Delivery, stage.organisation, [each.id for each in deliveries])
            assert found == deliveries
            # Now, and once every lease has run out.
            for moment_ms in (now_ms, now_ms + HOUR_MS):
                one, other = await measure(whole, now_ms=moment_ms), await measure(spread, now_ms=moment_ms)
                assert _by_destination(one) == _by_destination(other)
                assert len(other.queues) == len(filled.destinations)
                assert one.mailbox_items == other.mailbox_items > 0

    play_on(dsn, play, listens=False)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("bounds", [ScanBounds(time_max_s=0.0, count_max_s=0.0), ScanBounds(events_max=512)])
def test_a_search_that_is_cut_off_in_one_part_goes_on_and_tells_each_event_once(
    dsn: str, bounds: ScanBounds, ascending: bool
) -> None:
    """One part holds most: it is stopped again and again, while others are at their end at once."""

    async def play(stage: Stage) -> None:
        new = [
            stage.new(id=stage.id(9 if number % 5 else number % BUCKETS), data=f'{{"n":{number % 49}}}'.encode())
            for number in range(1500)
        ]
        await stage.store(*new)
        query = EventQuery(organisation_id=stage.organisation, text="7", ascending=ascending)
        matching = [each.event.id for each in new if b"7" in each.event.data]
        found: list[bytes] = []
        cursor, partial = None, 0
        async with connected(dsn, EIGHT) as connection:
            for _ in range(200):
                page = await page_of(connection, query, bounds, cursor=cursor, limit=40)
                found += [row.event.id for row in page.rows]
                cursor, partial = page.next_cursor, partial + page.partial
                if cursor is None:
                    break
        assert found == (matching if ascending else matching[::-1])
        assert partial > 2

    play_on(dsn, play, listens=False)


# -- consumer groups ---------------------------------------------------------------------------------------


def test_a_walk_through_parts_that_is_stopped_lets_the_next_one_come_further(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(1000)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new if each is not new[-2]])
        stage.clock.advance_ms(2 * HOUR_MS)
        query = StandingQuery(
            organisation_id=stage.organisation, tx_key="k", type="happened", environment=Environment.LIVE
        )
        none_left = ScanBounds(query_max_s=0.0)
        refused = 0
        found: list[EventId] = []
        async with connected(dsn, EIGHT) as connection:
            while not found and refused < 100:
                try:
                    page = await page_of(connection, query, none_left, now_ms=stage.clock.now_ms())
                    found = [row.event.id for row in page.rows]
                except Halted as error:
                    refused += 1
                    if error.lesson is not None:
                        async with connection.transaction():
                            await learn(connection, error.lesson)
            assert found == [new[-2].event.id]
            assert refused > 1
            late = stage.new(id=new[50].event.id[:15] + bytes([new[50].event.id[15] ^ 1]))
            await stage.store(late)
            page = await page_of(connection, query, now_ms=stage.clock.now_ms())
            assert [row.event.id for row in page.rows] == [late.event.id, new[-2].event.id]

    play_on(dsn, play, parts=EIGHT, listens=False)


def test_what_was_learnt_is_forgotten_where_an_older_event_came_since_in_any_part(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(200)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new])
        query = StandingQuery(
            organisation_id=stage.organisation, tx_key="k", type="happened", environment=Environment.LIVE
        )
        async with connected(dsn, EIGHT) as connection:
            for bucket in range(8):
                stage.clock.advance_ms(2 * HOUR_MS)
                now_ms = stage.clock.now_ms()
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    found = await search(
                        connection, query, limit=9, cursor=None, offset=0, now_ms=now_ms, bounds=WIDE
                    )
                assert found.lesson is not None
                beside = new[50 + bucket].event.id
                late = stage.new(id=beside[:8] + bytes([beside[8] & 0xC0 | bucket]) + os.urandom(7))
                await stage.store(late)
                async with connection.transaction():
                    await learn(connection, found.lesson)
                assert await connection.fetchval("select count(*) from consumer_run") == 0
                page = await page_of(connection, query, now_ms=now_ms)
                assert [row.event.id for row in page.rows] == [late.event.id]
                await stage.engine.transact([begin_step(stage, late.event.id)])

    play_on(dsn, play, listens=False)


# -- the order of commits ----------------------------------------------------------------------------------


async def _followed(connection: Connection, cursor: int, limit: int, **more: Any) -> tuple[list[Event], int, int]:
    """Return what a follower is told from a position on, where it ends, and how many pages held no events."""
    found: list[Event] = []
    empty = 0
    for _ in range(500):
        page = await tail_of(connection, cursor, limit, **more)
        assert page.cursor > cursor or not page.events
        assert page.positions == sorted(page.positions)
        assert len(page.destinations) == len(page.events)
        found, cursor, empty = found + page.events, page.cursor, empty + (not page.events)
        if not page.more:
            return found, cursor, empty
    raise AssertionError("it has no end")


@pytest.mark.parametrize("parts", [EIGHT, UNEVEN])
def test_a_follower_is_told_of_all_parts_in_the_order_of_one(dsn: str, parts: Parts) -> None:
    async def play(stage: Stage) -> None:
        filled = FilledStore(stage, 4)
        await filled.fill(120)
        async with connected(dsn) as whole, connected(dsn, parts) as spread:
            for limit, more in (
                (7, {}),
                (50, {"with_data": False}),
                (50, {"page_bytes_max": 700}),
                (3, {"organisations": frozenset({stage.foreign})}),
            ):
                expected = await _followed(whole, 0, limit, **more)
                assert await _followed(spread, 0, limit, **more) == expected
                assert expected[0]
            assert [each.id for each in (await _followed(spread, 0, 9))[0]] == [each.id for each in filled.events]
            for back in (0, 1, 50, 119, 120, 500):
                assert await tail_of(spread, None, 1, back=back) == await tail_of(whole, None, 1, back=back)

    play_on(dsn, play, listens=False)


def test_a_follower_of_a_quiet_organisation_passes_over_a_part_that_is_full_of_others(dsn: str) -> None:
    """Each of 64 parts is looked at for its share of a page; one of them has far more than that."""

    async def play(stage: Stage) -> None:
        busy = [stage.new(id=stage.id(9), organisation=stage.foreign) for _ in range(900)]
        quiet = [stage.new(id=stage.id(bucket)) for bucket in (9, *range(BUCKETS))]
        await stage.store(*busy[:400], quiet[0], *busy[400:], *quiet[1:])
        async with connected(dsn, even_parts(BUCKETS)) as connection:
            found, cursor, empty = await _followed(connection, 0, 100, organisations=frozenset({stage.organisation}))
            assert [each.id for each in found] == [each.event.id for each in quiet]
            assert cursor == (await tail_of(connection, None, 1)).cursor
            assert empty >= 2, "no page was cut off"

    play_on(dsn, play, listens=False)


class _DroppingConnection(Connection):
    """Drops an event between the two looks at a page: first at the sizes, then at the data."""

    dropped: EventId | None = None

    async def fetch(self, query: str, *args: Any, **more: Any) -> Any:
        found = await super().fetch(query, *args, **more)
        if self.dropped is not None and "octet_length(data)" in query:
            await super().execute("delete from event where id = $1", self.dropped)
        return found


def test_what_is_dropped_while_a_page_is_read_takes_nothing_behind_it_along(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(9)]
        await stage.store(*new)
        connection: Any = await asyncpg.connect(dsn, connection_class=_DroppingConnection)
        try:
            connection.dropped = new[1].event.id
            page = await tail_of(connection, 0, 3)
            assert [each.id for each in page.events] == [new[0].event.id, new[2].event.id]
            assert page.more
            rest = await tail_of(connection, page.cursor, 9)
            assert [each.id for each in rest.events] == [each.event.id for each in new[3:]]
        finally:
            await connection.close()

    play_on(dsn, play, listens=False)


@pytest.fixture(scope="module")
def preparing() -> Iterator[PostgresServer]:
    """A server that takes prepared transactions."""
    with running_server(fsync="off", max_prepared_transactions="5") as server:
        yield server


def test_a_follower_waits_for_what_is_committed_here_and_only_prepared_on_another_node(
    preparing: PostgresServer,
) -> None:
    """Two transactions of one server play the coordinator's and the node's, which two-phase commit makes one."""
    gid = "citus_0_77_5_1"

    async def play(stage: Stage) -> None:
        first, second, late = stage.new(), stage.new(), EventId(stage.id())
        await stage.store(first)
        cluster = Parts(EIGHT.all, is_cluster=True)
        async with (
            connected(dsn, cluster) as follower,
            connected(dsn, EIGHT) as naive,
            connected(dsn) as coordinator,
            connected(dsn) as node,
        ):
            cursor = (await tail_of(follower, None, 1)).cursor
            await coordinator.execute("begin")
            xid = await coordinator.fetchval("select pg_current_xact_id()::text::bigint")
            await stage.store(second)
            await coordinator.execute("insert into pg_dist_transaction (groupid, gid) values (1, $1)", gid)
            await node.execute("begin")
            await node.execute(_COPY, bucket_of(late), late, xid, first.event.id)
            await node.execute(f"prepare transaction '{gid}'")
            await coordinator.execute("commit")
            # The negative control: one who does not ask the nodes is told of the second, and never of the late one.
            assert [each.id for each in (await tail_of(naive, cursor, 9)).events] == [second.event.id]
            page = await tail_of(follower, cursor, 9)
            assert (page.events, page.cursor, page.more) == ([], cursor, False)
            held = await settled_bound(follower)
            await node.execute(f"commit prepared '{gid}'")
            assert held < await settled_bound(follower)
            page = await tail_of(follower, cursor, 9)
            assert [each.id for each in page.events] == [late, second.event.id]
            # It stays recorded for a while, which holds nobody up.
            assert await coordinator.fetchval("select count(*) from pg_dist_transaction") == 1
            await node.execute("update pg_dist_node set prepared_max = null where nodeid = 3")
            with pytest.raises(Unavailable):
                await tail_of(follower, cursor, 9)

    with preparing.database() as name:
        dsn = preparing.dsn(name)
        PaperCluster(preparing, name)
        play_on(dsn, play, listens=False)


_COPY = """
insert into event (bucket, id, seq, organisation_id, dialect, source, type, environment, time_ms, data)
select $1, $2, ($3::bigint + xid_offset) << 20, organisation_id, dialect, source, type, environment, time_ms, data
from event, store where id = $4
"""


# -- what a cluster runs -----------------------------------------------------------------------------------


def test_every_statement_of_every_list_and_search_is_one_shards(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        filled = FilledStore(stage, 5)
        await filled.fill(60)
        stage.clock.advance_ms(2 * HOUR_MS)
        sent: dict[str, tuple[Any, ...]] = {}

        def note(record: Any) -> None:
            sent.setdefault(record.query, record.args)

        async with connected(dsn, EIGHT) as connection:
            with connection.query_logger(note):
                for query in filled.queries():
                    await page_of(connection, query, now_ms=stage.clock.now_ms())
                    await page_of(connection, query, offset=5)
                await tail_of(connection, 0, 9, with_data=True)
                await tail_of(connection, None, 9, back=3)
                await measure(connection, now_ms=0)
        texts = {text: args for text, args in sent.items() if text.startswith(("select", "with"))}
        assert len(texts) > 100
        async with judging(dsn) as judge:
            objections = {text: await faults(judge, text, args, EIGHT) for text, args in texts.items()}
        assert {text: said for text, said in objections.items() if said} == {}

    play_on(dsn, play, listens=False)
