"""The SQLite engine's bounds: on what waits, on how long a search takes, on what a statement costs."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from engine.sqlite_store import counted_steps, opened, play_in
from tocsin.core.errors import Unavailable
from tocsin.core.event import Environment, Event
from tocsin.core.identifiers import EventId
from tocsin.core.transaction import TransactionState
from tocsin.engine.rows import (
    Accepted,
    AcceptFailed,
    DeliveryQuery,
    EventQuery,
    StandingQuery,
    StandingRow,
    TransactionStep,
)
from tocsin.engine.sqlite import settle
from tocsin.engine.sqlite.readers import Readers
from tocsin.engine.sqlite.search import search
from tocsin.engine.sqlite.unstarted import learn
from tocsin.testing.engine_contract import Stage
from tocsin.testing.engine_contract.accepting import UNSTORABLE
from tocsin.testing.engine_contract.consuming import begin_step, end_step


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

    play_in(tmp_path, play, waiting_max=10)


def test_a_batch_that_finds_no_place_to_be_stored_one_by_one_is_refused_whole_and_can_come_again(
    tmp_path: Path,
) -> None:
    """A faulty event fails its batch, and each is to be tried alone; but others have taken the batch's place."""

    async def play(stage: Stage) -> None:
        others: list[Any] = []

        async def crowd() -> None:
            # A step of the loop does not pass without a try, so that a place that is free is taken at once.
            while not judging.done():
                with suppress(Unavailable):
                    others.extend(await stage.judge(stage.new()))
                await asyncio.sleep(0)

        destination = stage.destination()
        good, bad = stage.new(destination), stage.new(destination, source=UNSTORABLE)
        judging = asyncio.create_task(stage.judge(good, bad))
        crowding = [asyncio.create_task(crowd()) for _ in range(2)]
        with pytest.raises(Unavailable) as refused:
            await judging
        assert refused.value.retry_after_s
        await asyncio.gather(*crowding)
        assert others
        assert all(isinstance(each, Accepted) for each in others)
        assert await stage.engine.find(Event, stage.organisation, [good.event.id, bad.event.id]) == [None, None]
        assert await stage.claim() == []
        assert [type(each) for each in await stage.judge(good, bad)] == [Accepted, AcceptFailed]
        assert [each.event.id for each in await stage.claim()] == [good.event.id]

    play_in(tmp_path, play, waiting_max=1)


def test_a_search_that_takes_too_long_is_stopped_and_says_so(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new(stage.destination()) for _ in range(3000)]
        await stage.store(*new)
        long = DeliveryQuery(organisation_id=stage.organisation, event_type="none")
        with pytest.raises(Unavailable) as caught:
            await stage.search(long)
        assert caught.value.code == "search_too_long"
        short = EventQuery(organisation_id=stage.organisation, subject="none")
        assert (await stage.search(short)).rows == []
        await stage.store(stage.new())

    play_in(tmp_path, play, query_max_s=0.0, readers=1)


def test_leases_of_the_process_before_are_free_at_once_after_a_restart(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(stage.new(*stage.destinations(3)), stage.new(stage.destination(), leased=True))
        before = {each.delivery_id: each.number for each in await stage.claim()}
        assert await stage.claim() == []
        await stage.reopen()
        after = {each.delivery_id: each.number for each in await stage.claim()}
        assert len(after) == 4
        assert all(after[delivery_id] > number for delivery_id, number in before.items())

    play_in(tmp_path, play)


def test_what_a_search_learnt_is_forgotten_where_an_older_event_came_since(tmp_path: Path) -> None:
    """The search reads in one thread, what it learnt is written in another, and an event may be stored between."""

    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(100)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new])
        query = StandingQuery(
            organisation_id=stage.organisation, tx_key="k", type="happened", environment=Environment.LIVE
        )
        connection = opened(tmp_path)
        lesson = search(connection, query, limit=9, cursor=None, offset=0, now_ms=0).lesson
        assert lesson is not None
        late = stage.new(id=new[50].event.id[:15] + bytes([new[50].event.id[15] ^ 1]))
        await stage.store(late)
        learn(connection, lesson)
        connection.close()
        assert [row.event for row in await stage.all(query)] == [late.event]

    play_in(tmp_path, play)


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


def _unstarted_steps(directory: Path, query: StandingQuery, expected: list[EventId]) -> int:
    """Return what the query costs the second time, when it may profit from what the first one learnt."""
    connection = opened(directory)
    try:
        found = search(connection, query, limit=100, cursor=None, offset=0, now_ms=0)
        assert found.lesson is not None
        learn(connection, found.lesson)
        with counted_steps(connection) as steps:
            found = search(connection, query, limit=100, cursor=None, offset=0, now_ms=0)
            assert [row.event.id for row in found.page.rows] == expected
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
            query = StandingQuery(
                organisation_id=stage.organisation,
                since_ms=start_ms,
                tx_key="k",
                type="happened",
                environment=Environment.LIVE,
            )
            rest = new[:ignored] + new[ignored + history :]
            expected = [each.event.id for each in rest]
            if not since:
                connection = opened(directory)
                old = connection.execute("select id from event order by id limit 50")
                expected = [EventId(row[0]) for row in old] + expected
                connection.close()
            costs.append(_unstarted_steps(directory, query, expected))

        play_in(directory, play)
    small, large = costs
    assert large < 1.2 * small


def test_a_search_that_was_stopped_lets_the_next_one_come_further(tmp_path: Path) -> None:
    """A group that started a long history without ever asking for it must not be refused for ever."""

    async def play(stage: Stage) -> None:
        new = [stage.new() for _ in range(8000)]
        await stage.store(*new)
        await stage.engine.transact([begin_step(stage, each.event.id) for each in new[:-1]])
        query = StandingQuery(
            organisation_id=stage.organisation, tx_key="k", type="happened", environment=Environment.LIVE
        )
        refused = 0
        found: list[StandingRow] = []
        while not found and refused < 100:
            try:
                found = await stage.all(query)
            except Unavailable:
                refused += 1
                # What the search learnt is written behind its back; the writer takes calls in their order.
                await stage.engine.probe()
        assert [row.event for row in found] == [new[-1].event]
        assert refused > 1

    play_in(tmp_path, play, query_max_s=0.0, readers=1)


def _half_full(directory: Path, *, live: int, output_characters: int) -> StandingQuery:
    """Fill a store with ``live`` events and 40 test events, of which ten groups have finished; return who asks."""
    asked: list[StandingQuery] = []

    async def play(stage: Stage) -> None:
        await stage.store(*(stage.new() for _ in range(live)))
        new = [stage.new(environment=Environment.TEST) for _ in range(40)]
        await stage.store(*new)
        steps: list[TransactionStep] = []
        for tx_key in "abcdefghij":
            for each in new:
                steps += [
                    begin_step(stage, each.event.id, tx_key),
                    end_step(stage, each.event.id, tx_key, output="o" * output_characters),
                ]
        await stage.engine.transact([msgspec.structs.replace(each, environment=Environment.TEST) for each in steps])
        asked.append(
            StandingQuery(
                organisation_id=stage.organisation, tx_key="a", type="happened", environment=Environment.TEST
            )
        )

    play_in(directory, play)
    return asked[0]


@pytest.mark.parametrize(("tx_key", "state"), [("nobody", None), ("a", TransactionState.FINISHED)])
def test_standings_read_no_output_and_no_event_that_is_not_shown(
    tmp_path: Path, tx_key: str, state: TransactionState | None
) -> None:
    """Counted in pages of the file and in steps, which no other process disturbs."""
    costs = []
    for name, live, output_characters in (("small", 10, 10), ("large", 5000, 100_000)):
        asked = _half_full(tmp_path / name, live=live, output_characters=output_characters)
        query = msgspec.structs.replace(asked, tx_key=tx_key, state=state)
        connection = opened(tmp_path / name)
        with counted_steps(connection) as steps:
            found = search(connection, query, limit=20, cursor=None, offset=0, now_ms=0)
            pages = connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0]
            costs.append((steps(), pages))
        connection.close()
        assert [row.tally.total for row in found.page.rows] == [10] * 20
        assert found.page.total == 40
    (small_steps, small_pages), (large_steps, large_pages) = costs
    assert large_steps < 1.1 * small_steps
    # Rows that hold a long output stand one to a page each.
    assert large_pages < small_pages + 60


@pytest.mark.parametrize(("tx_key", "state"), [("nobody", None), ("a", TransactionState.FINISHED)])
def test_a_page_of_standings_takes_as_many_statements_whatever_its_size(
    tmp_path: Path, tx_key: str, state: TransactionState | None
) -> None:
    asked = _half_full(tmp_path, live=0, output_characters=1)
    query = msgspec.structs.replace(asked, tx_key=tx_key, state=state)
    connection = opened(tmp_path)
    texts: list[str] = []

    def trace(_cursor: apsw.Cursor, text: str, _bindings: object) -> bool:
        texts.append(text)
        return True

    connection.exec_trace = trace
    counts = []
    for limit in (1, 10, 32):
        search(connection, query, limit=limit, cursor=None, offset=0, now_ms=0)
        counts.append(len(texts))
        texts.clear()
    connection.close()
    assert counts[0] <= 7
    assert len(set(counts)) == 1


def test_a_claim_costs_by_what_it_leases_not_by_what_waits(tmp_path: Path) -> None:
    costs = []
    for waiting in (1000, 8000):
        directory = tmp_path / str(waiting)

        async def play(stage: Stage, waiting: int = waiting) -> None:
            noisy, small = stage.destination(), stage.destinations(40)
            for _ in range(waiting // 100):
                await stage.store(stage.new(*[noisy] * 100))
            await stage.store(stage.new(*small))

        play_in(directory, play)
        connection = opened(directory)
        with counted_steps(connection) as steps:
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
