"""What the PostgreSQL engine reads: the order of commits, bounds on searches, indexes, and runs that are learnt."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from engine.postgres_server import PostgresServer, play_on
from tocsin.core.delivery import DeliveryPhase, DeliveryState, EventStatus
from tocsin.core.destination import Filter
from tocsin.core.environment import Environment
from tocsin.core.event import Dialect, Severity
from tocsin.core.identifiers import EventId
from tocsin.core.transaction import TransactionState
from tocsin.engine.bounds import ScanBounds
from tocsin.engine.postgres.event_search import Halted, until
from tocsin.engine.postgres.search import search
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.postgres.texts import held, told
from tocsin.engine.postgres.unstarted import Halted as WalkHalted
from tocsin.engine.postgres.unstarted import learn
from tocsin.engine.postgres.windows import windows
from tocsin.engine.rows import (
    AttemptQuery,
    AuditQuery,
    DeliveryQuery,
    EventQuery,
    IncidentQuery,
    JobQuery,
    MailboxQuery,
    Query,
    StandingQuery,
    SubscriptionQuery,
    TransactionQuery,
)
from tocsin.engine.runs import Found
from tocsin.engine.wanted import Span
from tocsin.testing.engine_contract import Stage
from tocsin.testing.engine_contract.consuming import begin_step

HOUR_MS = 3_600_000
WIDE = ScanBounds(time_max_s=60.0, count_max_s=60.0, query_max_s=60.0)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """Lend a connection of the test's own."""
    made: Any = await asyncpg.connect(dsn, connection_class=Connection)
    try:
        yield made
    finally:
        await made.close()


async def found_by(
    connection: Connection, query: Query[Any], bounds: ScanBounds = WIDE, now_ms: int = 0, **more: Any
) -> Found[Any]:
    """Return what a search finds, in a transaction as the engine has it."""
    asked = {"limit": 100, "cursor": None, "offset": 0} | more
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await search(connection, query, now_ms=now_ms, bounds=bounds, **asked)


# -- the order of commits ----------------------------------------------------------------------------------


def test_a_follower_waits_for_a_transaction_that_began_before_and_misses_nothing(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        first, second = stage.new(), stage.new()
        await stage.store(first)
        cursor = (await stage.engine.tail(None, 1)).cursor
        late = EventId(stage.id())
        async with connected(dsn) as connection:
            async with connection.transaction():
                await connection.execute("select pg_current_xact_id()")
                await stage.store(second)
                page = await stage.engine.tail(cursor, 9)
                assert (page.events, page.cursor, page.more) == ([], cursor, False)
                await connection.execute(
                    "insert into event "
                    "(bucket, id, seq, organisation_id, dialect, source, type, environment, time_ms, data) "
                    "select get_byte($1, 8) & 63, $1, (pg_current_xact_id()::text::bigint + xid_offset) << 20, "
                    "organisation_id, dialect, source, type, environment, time_ms, data "
                    "from event, store where id = $2",
                    late,
                    first.event.id,
                )
            page = await stage.engine.tail(cursor, 9)
            assert [each.id for each in page.events] == [late, second.event.id]

    play_on(dsn, play, listens=False)


def test_transactions_of_other_databases_hold_no_follower_up(postgres: PostgresServer, dsn: str) -> None:
    async def play(stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        async with connected(postgres.dsn("postgres")) as stranger, stranger.transaction():
            await stranger.execute("select pg_current_xact_id()")
            new = stage.new()
            await stage.store(new)
            assert (await stage.engine.tail(cursor, 9)).events == [new.event]

    play_on(dsn, play, listens=False)


# -- bounds ------------------------------------------------------------------------------------------------


def test_what_runs_at_a_deadline_is_stopped_and_the_transaction_reads_on(dsn: str) -> None:
    async def play() -> None:
        async with connected(dsn) as connection, connection.transaction():
            with pytest.raises(Halted):
                async with until(connection, time.monotonic() + 0.05):
                    await connection.execute("select pg_sleep(600)")
            assert await connection.fetchval("select 1") == 1
            assert await connection.fetchval("show statement_timeout") == "0"
            async with until(connection, time.monotonic() + 600):
                assert await connection.fetchval("show statement_timeout") != "0"
            assert await connection.fetchval("show statement_timeout") == "0"
            with pytest.raises(Halted):
                async with until(connection, time.monotonic()):
                    pytest.fail("began too late")

    asyncio.run(play())


def test_a_search_that_is_cut_off_goes_on_from_its_cursor_and_finds_all(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new(data=b'{"is":"it"}' if number % 90 == 7 else b"{}") for number in range(1000)]
        await stage.store(*new)
        expected = [each.event.id for each in reversed(new) if each.event.data != b"{}"]
        tight = ScanBounds(time_max_s=0.0, count_max_s=0.0)
        for query in (
            EventQuery(organisation_id=stage.organisation, text="IT"),
            EventQuery(organisation_id=stage.organisation, text="IT", type="happened"),
        ):
            found: list[bytes] = []
            cursor, partial = None, 0
            async with connected(dsn) as connection:
                while True:
                    page = (await found_by(connection, query, tight, cursor=cursor)).page
                    found += [row.event.id for row in page.rows]
                    cursor, partial = page.next_cursor, partial + page.partial
                    if cursor is None:
                        break
            assert found == expected
            assert partial > 3

    play_on(dsn, play, listens=False)


# -- runs of started events --------------------------------------------------------------------------------


def _unstarted_of(stage: Stage) -> StandingQuery:
    return StandingQuery(
        organisation_id=stage.organisation, tx_key="k", type="happened", environment=Environment.LIVE
    )


async def _runs(dsn: str) -> list[tuple[bytes, bytes]]:
    async with connected(dsn) as connection:
        rows = await connection.fetch("select first_id, end_id from consumer_run order by first_id")
        return [(row[0], row[1]) for row in rows]


def test_runs_are_learnt_once_they_are_old_and_cut_by_an_event_that_comes_late(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(100)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new])
        query = _unstarted_of(stage)
        assert await stage.all(query) == []
        await stage.reopen()
        assert await _runs(dsn) == []
        stage.clock.advance_ms(2 * HOUR_MS)
        assert await stage.all(query) == []
        await stage.reopen()
        assert await _runs(dsn) == [(new[0].event.id, new[-1].event.id + b"\0")]
        assert await stage.all(query) == []
        late = stage.new(id=new[50].event.id[:15] + bytes([new[50].event.id[15] ^ 1]))
        await stage.store(late)
        assert await _runs(dsn) == [(new[0].event.id, late.event.id)]
        assert [row.event for row in await stage.all(query)] == [late.event]

    play_on(dsn, play, listens=False)


def test_what_a_search_learnt_is_forgotten_where_an_older_event_came_since(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(100)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new])
        stage.clock.advance_ms(2 * HOUR_MS)
        query = _unstarted_of(stage)
        async with connected(dsn) as connection:
            lesson = (await found_by(connection, query, now_ms=stage.clock.now_ms())).lesson
            assert lesson is not None
            late = stage.new(id=new[50].event.id[:15] + bytes([new[50].event.id[15] ^ 1]))
            await stage.store(late)
            async with connection.transaction():
                await learn(connection, lesson)
        assert await _runs(dsn) == []
        assert [row.event for row in await stage.all(query)] == [late.event]

    play_on(dsn, play, listens=False)


def test_a_search_that_was_stopped_lets_the_next_one_come_further(dsn: str) -> None:
    """A group that started a long history without ever asking for it must not be refused for ever."""

    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(4000)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new[:-1]])
        stage.clock.advance_ms(2 * HOUR_MS)
        refused, codes = 0, set()
        found: list[EventId] = []
        async with connected(dsn) as connection:
            while not found and refused < 100:
                try:
                    page = (
                        await found_by(
                            connection, _unstarted_of(stage), ScanBounds(query_max_s=0.0), stage.clock.now_ms()
                        )
                    ).page
                    found = [row.event.id for row in page.rows]
                except WalkHalted as error:
                    refused += 1
                    codes.add(error.code)
                    if error.lesson is not None:
                        async with connection.transaction():
                            await learn(connection, error.lesson)
        assert found == [new[-1].event.id]
        assert refused > 1
        assert codes == {"search_too_long"}

    play_on(dsn, play, listens=False)


# -- indexes -----------------------------------------------------------------------------------------------


def _queries(stage: Stage, event_id: EventId) -> list[Query[Any]]:
    organisation, destination = stage.organisation, stage.destination()
    given: list[dict[str, Any]] = [
        {},
        {"environment": Environment.TEST},
        {"type": "a"},
        {"source": "a"},
        {"subject": "a"},
        {"severity": Severity.HIGH},
        {"dialect": Dialect.PUSHGO},
        {"filter": Filter(types=("a*",), sources=("b", "c"))},
        {"text": "a", "unreplayed": True},
        {"destination_id": destination, "type": "a"},
        *({"status": status} for status in EventStatus),
        *({"status": status, "type": "a"} for status in EventStatus),
    ]
    deliveries: list[dict[str, Any]] = [
        {},
        {"destination_id": destination},
        {"event_id": event_id},
        {"event_type": "a", "unreplayed": True},
        {"phases": frozenset({DeliveryPhase.EXPIRED})},
        {"phases": frozenset({DeliveryPhase.RETRYING})},
    ]
    group: dict[str, Any] = {"tx_key": "k", "type": "a", "environment": Environment.LIVE}
    return [
        *(EventQuery(organisation_id=organisation, **each) for each in given),
        *(DeliveryQuery(organisation_id=organisation, **each) for each in deliveries),
        AttemptQuery(organisation_id=organisation, delivery_id=stage.id()),  # type: ignore[arg-type]
        AttemptQuery(organisation_id=organisation, event_id=event_id),
        TransactionQuery(organisation_id=organisation),
        TransactionQuery(organisation_id=organisation, tx_key="k"),
        TransactionQuery(organisation_id=organisation, event_id=event_id),
        *(StandingQuery(organisation_id=organisation, state=each, **group) for each in (None, *TransactionState)),
        IncidentQuery(organisation_id=organisation, environment=Environment.LIVE),
        SubscriptionQuery(organisation_id=organisation, device_key="d"),
        MailboxQuery(organisation_id=organisation, device_key="d", now_ms=0),
        JobQuery(organisation_id=organisation),
        AuditQuery(organisation_id=organisation),
        AuditQuery(organisation_id=organisation, subject="s"),
    ]


def test_no_search_goes_through_a_whole_table(dsn: str) -> None:
    """Where every other way is dear, PostgreSQL reads a table from end to end only if no index serves."""

    async def play(stage: Stage) -> None:
        events = [stage.new(stage.destination(), severity=Severity.HIGH, subject="a", type="a") for _ in range(40)]
        await stage.store(*events, stage.new(type="a"))
        for lease in (await stage.claim())[::2]:
            await stage.finish(lease, DeliveryState.EXPIRED)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in events[::3]])
        statements: dict[str, tuple[Any, ...]] = {}
        async with connected(dsn) as connection:
            await connection.execute("set enable_seqscan = off")

            def note(record: Any) -> None:
                statements.setdefault(record.query, record.args)

            with connection.query_logger(note):
                for query in _queries(stage, events[0].event.id):
                    await found_by(connection, query)
            plans = {
                text: "\n".join(row[0] for row in await connection.fetch(f"explain {text}", *bindings))
                for text, bindings in statements.items()
                if text.startswith(("select", "with"))
            }
        assert len(plans) > 60
        whole = {
            (table, text)
            for text, plan in plans.items()
            for table in re.findall(r"Seq Scan on (\w+)", plan)
            if table not in {"store", "partition_span"}
        }
        assert sorted(whole) == []

    play_on(dsn, play, listens=False)


# -- by themselves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 8, 20])
def test_windows_cover_a_span_once_and_without_gaps(count: int, ascending: bool) -> None:
    cuts = [bytes([at]) for at in range(10, 10 + count)]
    found = list(windows(Span(b"\x05", b"\xf0"), [b"\x01", *cuts, b"\xff"], ascending=ascending))
    rising = found if ascending else found[::-1]
    assert (rising[0].low, rising[-1].high) == (b"\x05", b"\xf0")
    assert all(one.high == other.low for one, other in pairwise(rising))
    assert len(found) == (count + 1).bit_length()


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("", ""),
        ("a", "a"),
        ("\0", "\x01\x01"),
        ("\x01", "\x01\x02"),
        ("\x02", "\x02"),
        ("a\0\x01b", "a\x01\x01\x01\x02b"),
    ],
)
def test_a_text_is_held_without_a_nul_and_told_as_it_was(text: str, stored: str) -> None:
    assert held(text) == stored
    assert told(stored) == text


def test_texts_that_are_held_sort_as_the_texts_do() -> None:
    texts = [
        "",
        "\0",
        "\0\0",
        "\0\x01",
        "\0a",
        "\x01",
        "\x01\0",
        "\x01\x01",
        "\x01\x02",
        "\x01a",
        "\x02",
        "a",
        "a\0",
        "b",
    ]
    assert texts == sorted(texts)
    assert [told(each) for each in sorted(map(held, texts))] == texts
