"""The SQLite engine's bounds: on what waits, on how long a search takes, on what a statement costs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import apsw.ext
import pytest

from engine.sqlite_store import sqlite_factory
from tocsin.core.delivery import EventStatus
from tocsin.core.errors import Unavailable
from tocsin.core.event import Environment
from tocsin.core.identifiers import DestinationId, EventId, OrganisationId
from tocsin.core.transaction import TransactionState
from tocsin.engine import migrations
from tocsin.engine.rows import (
    Accepted,
    AttemptQuery,
    DeliveryQuery,
    EventQuery,
    IncidentQuery,
    MailboxQuery,
    Query,
    SubscriptionQuery,
    TransactionQuery,
    UnstartedQuery,
)
from tocsin.engine.sqlite import settle
from tocsin.engine.sqlite.connection import DATABASE_FILE
from tocsin.engine.sqlite.readers import Readers
from tocsin.engine.sqlite.search import search
from tocsin.engine.sqlite.sql import SQL
from tocsin.engine.sqlite.unstarted import learn
from tocsin.testing.engine_contract import Stage
from tocsin.testing.engine_contract.consuming import begin_step


def _play(directory: Path, play: Callable[[Stage], Any], **settings: Any) -> None:
    async def run() -> None:
        stage = Stage(sqlite_factory(directory, **settings))
        await stage.open()
        try:
            await play(stage)
        finally:
            await stage.close()

    asyncio.run(run())


def test_more_writes_than_may_wait_are_refused_and_the_rest_is_stored(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        calls = [stage.judge(stage.new()) for _ in range(30)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [each for each in results if isinstance(each, Unavailable)]
        assert len(refused) == 20
        assert all(each.retry_after_s for each in refused)
        stored = [each for result in results if isinstance(result, list) for each in result]
        assert all(isinstance(each, Accepted) for each in stored)
        assert len(stored) == 10
        await stage.store(stage.new())

    _play(tmp_path, play, waiting_max=10)


def test_a_search_that_takes_too_long_is_stopped_and_says_so(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(3000)]
        await stage.store(*new)
        long = EventQuery(organisation_id=stage.organisation, status=EventStatus.EXPIRED)
        with pytest.raises(Unavailable) as caught:
            await stage.search(long)
        assert caught.value.code == "search_too_long"
        short = EventQuery(organisation_id=stage.organisation, subject="none")
        assert (await stage.search(short)).rows == []
        await stage.store(stage.new())

    _play(tmp_path, play, query_max_s=0.0, readers=1)


def test_leases_of_the_process_before_are_free_at_once_after_a_restart(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(stage.new(*stage.destinations(3)), stage.new(stage.destination(), leased=True))
        before = {each.delivery_id: each.number for each in await stage.claim()}
        assert await stage.claim() == []
        await stage.reopen()
        after = {each.delivery_id: each.number for each in await stage.claim()}
        assert len(after) == 4
        assert all(after[delivery_id] > number for delivery_id, number in before.items())

    _play(tmp_path, play)


def test_what_a_search_learnt_is_forgotten_where_an_older_event_came_since(tmp_path: Path) -> None:
    """The search reads in one thread, what it learnt is written in another, and an event may be stored between."""

    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(100)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new])
        query = UnstartedQuery(
            organisation_id=stage.organisation, tx_key="k", type="happened", environment=Environment.LIVE
        )
        connection = _opened(tmp_path)
        lesson = search(connection, query, limit=9, cursor=None, offset=0, now_ms=0).lesson
        assert lesson is not None
        late = stage.new(id=new[50].event.id[:15] + bytes([new[50].event.id[15] ^ 1]))
        await stage.store(late)
        learn(connection, lesson)
        connection.close()
        assert await stage.all(query) == [late.event]

    _play(tmp_path, play)


def test_a_reader_sees_one_moment_however_long_it_looks(tmp_path: Path) -> None:
    database = tmp_path / "db"
    writer = apsw.Connection(str(database))
    writer.execute("pragma journal_mode = wal")
    writer.execute("create table t (x)")
    looked, written = threading.Event(), threading.Event()

    def look_twice(connection: apsw.Connection) -> tuple[int, int]:
        before = connection.execute("select count(*) from t").get
        looked.set()
        written.wait()
        return before, connection.execute("select count(*) from t").get

    async def run() -> None:
        readers = Readers(lambda: apsw.Connection(str(database)), count=1, query_max_s=60.0)
        looking = asyncio.create_task(readers.run(look_twice))
        await asyncio.to_thread(looked.wait)
        writer.execute("insert into t values (1)")
        written.set()
        assert await looking == (0, 0)
        assert await readers.run(lambda connection: connection.execute("select count(*) from t").get) == 1
        readers.close()

    asyncio.run(run())
    writer.close()


@contextmanager
def _steps(connection: apsw.Connection) -> Iterator[Callable[[], int]]:
    """Count the steps of SQLite's virtual machine, a measure of work that no other process disturbs."""
    count = 0

    def step() -> bool:
        nonlocal count
        count += 1
        return False

    connection.set_progress_handler(step, 1)
    try:
        yield lambda: count
    finally:
        connection.set_progress_handler(None)


def _opened(directory: Path) -> apsw.Connection:
    return apsw.Connection(str(directory / DATABASE_FILE))


def _unstarted_steps(directory: Path, query: UnstartedQuery, expected: list[EventId]) -> int:
    """Return what the query costs the second time, when it may profit from what the first one learnt."""
    connection = _opened(directory)
    try:
        found = search(connection, query, limit=100, cursor=None, offset=0, now_ms=0)
        assert found.lesson is not None
        learn(connection, found.lesson)
        with _steps(connection) as steps:
            found = search(connection, query, limit=100, cursor=None, offset=0, now_ms=0)
            assert [row.id for row in found.page.rows] == expected
            return steps()
    finally:
        connection.close()


@pytest.mark.parametrize("ignored", [0, 3])
@pytest.mark.parametrize("since", [False, True])
def test_what_is_not_started_costs_by_the_rows_returned_not_by_the_history(
    tmp_path: Path, ignored: int, since: bool
) -> None:
    """With events that are never started at the head, and with a time before which none is asked for."""
    costs = []
    for history in (500, 4000):
        directory = tmp_path / str(history)

        async def play(stage: Stage, history: int = history, directory: Path = directory) -> None:
            await stage.store(*(stage.new() for _ in range(50)))
            stage.clock.advance_ms(10_000)
            start_ms = stage.clock.now_ms() if since else None
            new = [stage.new() for _ in range(ignored + history + 10)]
            await stage.store(*new)
            started = new[ignored : ignored + history]
            await stage.engine.transact([begin_step(stage, each.event.id) for each in started])
            await stage.close()
            query = UnstartedQuery(
                organisation_id=stage.organisation,
                since_ms=start_ms,
                tx_key="k",
                type="happened",
                environment=Environment.LIVE,
            )
            rest = new[:ignored] + new[ignored + history :]
            expected = [each.event.id for each in rest]
            if not since:
                connection = _opened(directory)
                old = connection.execute("select id from event order by id limit 50")
                expected = [EventId(row[0]) for row in old] + expected
                connection.close()
            costs.append(_unstarted_steps(directory, query, expected))

        _play(directory, play)
    small, large = costs
    assert large < 1.2 * small


def test_a_claim_costs_by_what_it_leases_not_by_what_waits(tmp_path: Path) -> None:
    costs = []
    for waiting in (1000, 8000):
        directory = tmp_path / str(waiting)

        async def play(stage: Stage, waiting: int = waiting) -> None:
            noisy, small = stage.destination(), stage.destinations(40)
            for _ in range(waiting // 100):
                await stage.store(stage.new(*[noisy] * 100))
            await stage.store(stage.new(*small))

        _play(directory, play)
        connection = _opened(directory)
        with _steps(connection) as steps:
            leases = settle.claim(
                connection,
                limit=60,
                per_destination=64,
                lease_until_ms=2**42,
                skip=frozenset(),
                now_ms=2**41,
            )
            costs.append(steps())
        connection.close()
        assert len(leases) == 60
    small_cost, large_cost = costs
    assert large_cost < 1.2 * small_cost


WHOLE_TABLE_ON_PURPOSE = {"release_all_leases": "delivery"}
"""Statements that go through a table: at start, when nobody waits for an answer but the operator."""


def _plan(connection: apsw.Connection, text: str) -> list[str]:
    lines: list[str] = []

    def walk(node: Any) -> None:
        lines.append(node.detail)
        for each in node.sub or ():
            walk(each)

    walk(apsw.ext.query_info(connection, text, explain_query_plan=True).query_plan)
    return lines


def _fresh() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for migration in migrations.load("sqlite"):
        connection.execute(migration.text)
    return connection


def _tables_scanned(plan: list[str]) -> list[str]:
    tables = {"event", "delivery", "delivery_history", "attempt", "idempotency", "mailbox", "incident"}
    tables |= {"consumer_transaction", "subscription", "replayed", "d", "e", "t", "m", "a"}
    scanned = [line.split()[1] for line in plan if line.startswith("SCAN")]
    return [each for each in scanned if each in tables]


def _queries() -> list[Query[Any]]:
    organisation, event_id = OrganisationId(b"o" * 16), EventId(b"e" * 16)
    processing = TransactionState.PROCESSING
    return [
        EventQuery(organisation_id=organisation),
        EventQuery(organisation_id=organisation, type="t", since_ms=1, until_ms=2),
        EventQuery(organisation_id=organisation, source="s"),
        EventQuery(organisation_id=organisation, subject="s", ascending=True),
        EventQuery(organisation_id=organisation, destination_id=DestinationId(b"d" * 16)),
        DeliveryQuery(organisation_id=organisation, event_id=event_id),
        AttemptQuery(organisation_id=organisation, event_id=event_id),
        AttemptQuery(organisation_id=organisation, delivery_id=event_id),  # type: ignore[arg-type]
        TransactionQuery(organisation_id=organisation),
        TransactionQuery(organisation_id=organisation, event_id=event_id),
        TransactionQuery(organisation_id=organisation, tx_key="k", type="t", state=processing),
        IncidentQuery(organisation_id=organisation),
        SubscriptionQuery(organisation_id=organisation, device_key="k"),
        MailboxQuery(organisation_id=organisation, device_key="k", now_ms=1),
    ]


@pytest.mark.parametrize("cursor", [None, b"c" * 16])
def test_no_list_goes_through_a_whole_table_or_sorts_one(cursor: bytes | None) -> None:
    connection = _fresh()
    texts: list[str] = []

    def trace(_cursor: apsw.Cursor, text: str, _bindings: object) -> bool:
        texts.append(text)
        return True

    for query in _queries():
        connection.exec_trace = trace
        search(connection, query, limit=3, cursor=cursor, offset=1, now_ms=1)
        connection.exec_trace = None
        while texts:
            plan = _plan(connection, texts.pop())
            assert _tables_scanned(plan) == [], (query, plan)
            if isinstance(query, EventQuery | TransactionQuery | IncidentQuery | MailboxQuery):
                assert not any("TEMP B-TREE" in line for line in plan), (query, plan)
    connection.close()


def test_no_statement_goes_through_a_whole_table() -> None:
    connection = _fresh()
    checked = 0
    for name in SQL.names():
        text = SQL.many(name, 2) if "{" in SQL[name] else SQL[name]
        plan = _plan(connection, text)
        allowed = [WHOLE_TABLE_ON_PURPOSE[name]] if name in WHOLE_TABLE_ON_PURPOSE else []
        assert _tables_scanned(plan) == allowed, (name, plan)
        checked += 1
    connection.close()
    assert checked > 60
