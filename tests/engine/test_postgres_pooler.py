"""Behind PgBouncer, which gives each transaction another connection of the server's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from engine.pgbouncer import PASSWORD, Pooler, running_pooler
from engine.postgres_server import PostgresServer, play_on, postgres_factory, postgres_settings, running_server
from engine.standby import until
from gateway import Answer, Process, Receiver
from program import Running, run_program, running_program
from tocsin.core.event import Event
from tocsin.core.identifiers import ChannelId
from tocsin.core.organisation import Category
from tocsin.engine.postgres import PostgresEngine
from tocsin.engine.postgres.pool import Pool
from tocsin.engine.rows import EngineRefused, EventQuery, Save
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import EngineFactory, Stage
from tocsin.testing.engine_contract.accepting import IdempotencyContract, StoringContract
from tocsin.testing.engine_contract.catalog import CatalogContract
from tocsin.testing.engine_contract.claiming import ClaimContract, LeaseContract, WaitContract
from tocsin.testing.engine_contract.consuming import TransactionContract
from tocsin.testing.engine_contract.jobs import JobContract
from tocsin.testing.engine_contract.lanes import LaneContract
from tocsin.testing.engine_contract.mailboxes import MailboxContract
from tocsin.testing.engine_contract.settling import SettleContract
from tocsin.testing.engine_contract.tailing import TailOfSomeContract

_SHARED = 3
"""Connections of the server's that all clients share: fewer than one engine would have."""

_ROUNDS = 12


@pytest.fixture(scope="module")
def pooler(postgres: PostgresServer) -> Iterator[Pooler]:
    """A PgBouncer in front of the tests' server."""
    with running_pooler(postgres, default_pool_size=str(_SHARED)) as running:
        yield running


class TestThroughPgBouncer(
    StoringContract,
    IdempotencyContract,
    ClaimContract,
    LeaseContract,
    WaitContract,
    SettleContract,
    LaneContract,
    TransactionContract,
    JobContract,
    CatalogContract,
    MailboxContract,
    TailOfSomeContract,
):
    """What uses a connection in each of the ways that the engine has, with default settings."""

    @pytest.fixture
    def engine_factory(self, pooler: Pooler, dsn: str) -> EngineFactory:
        return postgres_factory(pooler.around(dsn), listen_dsn=dsn)


def test_connections_of_the_servers_are_shared_by_transactions_that_run_at_once(pooler: Pooler, dsn: str) -> None:
    async def play(one: Stage, two: Stage) -> None:
        stored: list[bytes] = []
        finished: list[bytes] = []

        async def store(stage: Stage) -> None:
            for _ in range(_ROUNDS):
                new = [stage.new(stage.destination(), lane=b"l") for _ in range(3)]
                await stage.store(*new)
                stored.extend(each.event.id for each in new)
                assert None not in await stage.engine.find(Event, stage.organisation, [each.event.id for each in new])

        async def send(stage: Stage) -> None:
            while len(finished) < 4 * 3 * _ROUNDS:
                for lease in await stage.claim(limit=5):
                    assert await stage.finish(lease)
                    finished.append(lease.event.id)

        await asyncio.gather(*(store(stage) for stage in (one, two) * 2), send(one), send(two))
        assert sorted(finished) == sorted(stored)
        # The server's own list: PgBouncer's, and this one.
        connection = await asyncpg.connect(dsn)
        clients = "select count(*) from pg_stat_activity where datname = current_database()"
        assert await connection.fetchval(clients) <= _SHARED + 1
        await connection.close()

    play_on(pooler.around(dsn), play, engines=2, listens=False)


def test_a_pooler_is_found_out_and_no_statement_is_left_with_it(pooler: Pooler, dsn: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(stage.new(stage.destination()))
        pool: Pool = stage.engine._pool  # type: ignore[attr-defined]
        assert pool.is_pooled
        async with pool.lend() as connection:
            await connection.execute("begin")
            assert await connection.fetch("select name from pg_prepared_statements where name <> ''") == []
            assert await connection.fetch("select pg_listening_channels()") == []

    play_on(pooler.around(dsn), play)


def test_a_pooler_that_is_said_to_keep_statements_and_loses_them_is_refused(pooler: Pooler, dsn: str) -> None:
    async def run() -> None:
        settings = postgres_settings(pooler.around(dsn), pooler_keeps_statements=True)
        with pytest.raises(EngineRefused, match="TOCSIN_POSTGRES_POOLER_KEEPS_STATEMENTS=false"):
            await PostgresEngine(settings, clock=ManualClock()).open()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("parameters", "told"),
    [("?search_path=x", "startup parameter: search_path"), ("?options=-cx%3Dy", "startup parameter: options")],
)
def test_parameters_that_the_pooler_does_not_take_are_told(
    pooler: Pooler, dsn: str, parameters: str, told: str
) -> None:
    async def run() -> None:
        engine = PostgresEngine(postgres_settings(pooler.around(dsn) + parameters), clock=ManualClock())
        with pytest.raises(EngineRefused, match=rf"{told}, which the pooler does not take; .* ALTER ROLE"):
            await engine.open()

    asyncio.run(run())


# -- the program -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict() -> Iterator[tuple[PostgresServer, Pooler]]:
    """A server that asks for a password by SCRAM, and a PgBouncer as the page has it."""
    admits = ["host all app 127.0.0.1/32 scram-sha-256"]
    with running_server(admits=admits, fsync="off") as server:
        server.execute("create role app login", "create database app owner app encoding 'UTF8' template template0")
        with running_pooler(server, user="app") as pooler:
            yield server, pooler


def _settings(pooler: Pooler, **more: str) -> dict[str, str]:
    return {
        "TOCSIN_DATABASE": pooler.dsn("app"),
        "TOCSIN_SECRET_KEY": "11" * 32,
        "TOCSIN_POSTGRES_FSYNC_NEEDED": "false",
        "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
    } | more


def _asked(running: Running, method: str, path: str, body: Any = None, **options: Any) -> Answer:
    return Process(Path(), base_url=running.base_url).request(method, path, body, **options)


class _Working(NamedTuple):
    """A gateway, a dispatcher in another process, and a receiver that is told of every event."""

    gateway: Running
    receiver: Receiver
    key: str

    def emit(self) -> int:
        """Send an event; return the status of the answer."""
        headers = {"X-Buildable-Secret": self.key}
        return _asked(self.gateway, "POST", "/emit", {"event": "e", "payload": {}}, headers=headers).status


@contextmanager
def _working(directory: Path, settings: dict[str, str]) -> Iterator[_Working]:
    receiver = Receiver()
    try:
        with (
            running_program(directory, "--role", "gateway", settings=settings) as gateway,
            running_program(directory, command="work", settings=settings),
        ):
            made = run_program("init", "--new-key", "--json", settings=settings, directory=directory)
            key = made.json["api_key"]
            address = {"name": "all", "transport": "webhook", "address": {"url": receiver.url}}
            until(lambda: _asked(gateway, "GET", "/api/v1/destinations", key=key).status == 200)
            assert _asked(gateway, "POST", "/api/v1/destinations", address, key=key).status == 201
            yield _Working(gateway, receiver, key)
    finally:
        receiver.close()


@pytest.mark.acceptance
def test_gateway_and_dispatcher_work_through_it_and_tell_each_other_past_it(
    strict: tuple[PostgresServer, Pooler], tmp_path: Path
) -> None:
    _, pooler = strict
    # What is sent sooner was told of.
    settings = _settings(pooler, TOCSIN_DATABASE_LISTEN=pooler.past("app"), TOCSIN_DISPATCH_POLL_S="600")
    with _working(tmp_path, settings) as working:
        for _ in range(_ROUNDS):
            assert working.emit() == 200
        working.receiver.wait_for(_ROUNDS, timeout_s=60)


@pytest.mark.acceptance
def test_all_goes_on_when_the_server_went_away_behind_it(
    strict: tuple[PostgresServer, Pooler], tmp_path: Path
) -> None:
    server, pooler = strict
    with _working(tmp_path, _settings(pooler)) as working:
        assert working.emit() == 200
        working.receiver.wait_for(1, timeout_s=60)
        server.stop()
        try:
            assert _asked(working.gateway, "GET", "/ready").status == 503
            assert working.emit() == 503
        finally:
            server.start()
        until(lambda: _asked(working.gateway, "GET", "/ready").status == 200)
        until(lambda: working.emit() == 200)
        working.receiver.wait_for(2, timeout_s=60)


@pytest.mark.acceptance
def test_doctor_tells_of_the_pooler_and_what_leads_past_it(
    strict: tuple[PostgresServer, Pooler], tmp_path: Path
) -> None:
    _, pooler = strict
    run_program("init", settings=_settings(pooler), directory=tmp_path)

    def found(**more: str) -> dict[str, Any]:
        looked = run_program("doctor", "--only", "local", settings=_settings(pooler, **more), directory=tmp_path)
        assert PASSWORD not in looked.out + looked.err
        return {each["check"]: each for each in looked.rows}

    alone = found()
    assert alone["database"]["found"].endswith("/app, through a pooler")
    assert alone["listening"]["result"] == "warning"
    assert "TOCSIN_DATABASE_LISTEN" in alone["listening"]["do"]
    assert found(TOCSIN_DATABASE_LISTEN=pooler.past("app"))["listening"]["result"] == "ok"
    assert found(TOCSIN_DATABASE_LISTEN=pooler.dsn("app"))["listening"]["result"] == "warning"
    assert found(TOCSIN_DATABASE_LISTEN=pooler.past("nowhere"))["listening"]["result"] == "fault"


# -- what needs no pooler ----------------------------------------------------------------------------------


def test_what_answers_directly_keeps_prepared_statements(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(stage.new(stage.destination()))
        pool: Pool = stage.engine._pool  # type: ignore[attr-defined]
        assert not pool.is_pooled
        async with pool.lend() as connection:
            assert await connection.fetch("select name from pg_prepared_statements where name <> ''")

    play_on(dsn, play, connections=1, batches_at_once=1)


_TRACES = (
    "select name from pg_settings where source = 'session' and name <> 'application_name'",
    "select pg_listening_channels()",
    "select name from pg_prepared_statements where statement !~ 'pg_prepared_statements'",
    "select relname from pg_class where relpersistence = 't'",
    "select objid from pg_locks where locktype = 'advisory'",
    "select name from pg_cursors where name <> ''",
)


def test_nothing_is_left_on_a_connection(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        engine = stage.engine
        await stage.store(*(stage.new(stage.destination(), lane=b"l", keys=[stage.key(str(n))]) for n in range(5)))
        for lease in await stage.claim():
            await stage.finish(lease)
        await stage.search(EventQuery(organisation_id=stage.organisation, text="1"))
        category = Category(
            id=ChannelId(stage.id()),  # type: ignore[arg-type]
            organisation_id=stage.organisation,
            name="c",
            color=1,
            created_ms=0,
        )
        await engine.catalog_write([Save(category)])
        await engine.tend(1000)
        pool: Pool = engine._pool  # type: ignore[attr-defined]
        async with pool.lend() as connection:
            for text in _TRACES:
                assert await connection.fetch(text) == [], text

    play_on(dsn, play, connections=1, batches_at_once=1, statements_kept=0)
