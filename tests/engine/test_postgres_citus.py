"""The store on a real Citus cluster, where ``TOCSIN_TEST_CITUS`` names the coordinator of one.

It is a URL, ``postgresql://tocsin@coordinator/tests``, of a database that has Citus on every node, and workers.
Schemas are made in it and dropped; nothing else may use it meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import asyncpg
import pytest

from engine.postgres_server import postgres_factory
from engine.router_rules import Judge
from engine.test_postgres_processes import (
    test_a_lease_that_another_took_over_is_not_settled as test_a_lease_is_settled_once_on_a_cluster,
)
from engine.test_postgres_processes import (
    test_a_tail_misses_nothing_of_what_two_processes_store as test_a_tail_misses_nothing_on_a_cluster,
)
from engine.test_postgres_processes import (
    test_lanes_keep_their_order_under_two_dispatchers as test_lanes_keep_their_order_on_a_cluster,
)
from engine.test_postgres_processes import (
    test_one_request_that_reaches_two_processes_is_stored_once as test_one_request_is_stored_once_on_a_cluster,
)
from engine.test_postgres_processes import (
    test_two_claim_disjointly_and_all_of_it as test_two_claim_disjointly_on_a_cluster,
)
from engine.test_postgres_statements import bindings_for
from gateway import Receiver
from program import run_program, running_program
from several import KEY, ask, emit, first_key, make_destination
from tocsin.cli.exits import OK
from tocsin.engine.postgres.cluster import DISTRIBUTED, found_parts
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.spans import TABLES as PARTITIONED
from tocsin.engine.postgres.sql import SQL, _text_of
from tocsin.testing.engine_contract import EngineContract, EngineFactory, Stage

__all__ = [
    "test_a_lease_is_settled_once_on_a_cluster",
    "test_a_tail_misses_nothing_on_a_cluster",
    "test_lanes_keep_their_order_on_a_cluster",
    "test_one_request_is_stored_once_on_a_cluster",
    "test_two_claim_disjointly_on_a_cluster",
]

COORDINATOR = os.environ.get("TOCSIN_TEST_CITUS", "")

pytestmark = [
    pytest.mark.skipif(not COORDINATOR, reason="needs a Citus cluster; TOCSIN_TEST_CITUS names its coordinator"),
    pytest.mark.timeout(600),
]

T = TypeVar("T")

EVENTS = 200
WHOLE = (
    *("gate", "partition_span", "quota", "consumer_run", "catalog", "device", "subscription", "mailbox", "job"),
    "audit",
)
"""Tables that stay whole, but for the one row of ``store`` and what is known of the schema."""
SETTINGS = {"TOCSIN_POSTGRES_FSYNC_NEEDED": "false"}
_TASKS = re.compile(r'"Task Count": (\d+)')


def on(dsn: str, play: Callable[[Judge], Awaitable[T]]) -> T:
    """Return what a play with a connection returns."""

    async def run() -> T:
        connection = await asyncpg.connect(dsn)
        try:
            return await play(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


@contextmanager
def fresh_schema() -> Iterator[str]:
    """Make an empty schema; return the URL by which a store is made and found in it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    on(COORDINATOR, lambda connection: connection.execute(f"create schema {name}"))
    try:
        yield f"{COORDINATOR}{'&' if urlsplit(COORDINATOR).query else '?'}search_path={name}%2Cpublic"
    finally:
        on(COORDINATOR, lambda connection: connection.execute(f"drop schema {name} cascade"))


def fill(dsn: str, count: int) -> None:
    """Store events in every bucket, each with a delivery."""

    async def play() -> None:
        stage = Stage(postgres_factory(dsn))
        await stage.open()
        try:
            destination = stage.destination()
            await stage.store(*(stage.new(destination, id=stage.id(number % 64)) for number in range(count)))
        finally:
            await stage.close()

    asyncio.run(play())


def distribute(dsn: str) -> dict[str, int]:
    """Distribute the store; return the rows of its tables."""
    done = run_program("db", "distribute", "--database", dsn, settings=SETTINGS)
    assert done.status == OK, done.err
    return {row["table"]: row["rows"] for row in done.rows}


@pytest.fixture(scope="module")
def distributed() -> Iterator[str]:
    """The URL of a distributed store, which all tests use one after another."""
    with fresh_schema() as made:
        distribute(made)
        yield made


@pytest.fixture
def dsn(distributed: str) -> str:
    """The URL of a distributed store that is empty."""

    async def play(connection: Judge) -> None:
        for tables in (DISTRIBUTED, WHOLE):
            await connection.execute(f"truncate {', '.join(tables)}")
        for table in PARTITIONED:
            for row in await connection.fetch(
                "select inhrelid::regclass::text from pg_inherits where inhparent = to_regclass($1)", table
            ):
                await connection.execute(f"drop table {row[0]}")

    on(distributed, play)
    return distributed


class TestOnCitus(EngineContract):
    @pytest.fixture
    def engine_factory(self, dsn: str) -> EngineFactory:
        return postgres_factory(dsn)


def test_an_empty_store_is_distributed_and_used() -> None:
    with fresh_schema() as dsn:
        assert distribute(dsn) == dict.fromkeys(DISTRIBUTED, 0)
        fill(dsn, EVENTS)
        rows = on(dsn, lambda connection: connection.fetchval("select count(*) from event"))
        assert rows == EVENTS


def test_a_filled_store_is_distributed_with_all_its_rows() -> None:
    with fresh_schema() as dsn:
        fill(dsn, EVENTS)
        assert distribute(dsn) == dict.fromkeys(DISTRIBUTED, 0) | {"event": EVENTS, "delivery": EVENTS}
        # Run again, it changes nothing; and nothing is left on the coordinator of what was copied.
        assert distribute(dsn) == dict.fromkeys(DISTRIBUTED, 0) | {"event": EVENTS, "delivery": EVENTS}
        assert on(dsn, lambda connection: connection.fetchval("select pg_relation_size('delivery')")) == 0

        async def claimed() -> int:
            stage = Stage(postgres_factory(dsn))
            await stage.open()
            try:
                return len(await stage.claim(limit=2 * EVENTS, per_destination=2 * EVENTS))
            finally:
                await stage.close()

        assert asyncio.run(claimed()) == EVENTS


def test_each_part_is_the_buckets_of_one_shard(dsn: str) -> None:
    async def play() -> None:
        connection = await Pool(PoolSettings(dsn=dsn)).connect()
        try:
            parts = await found_parts(connection)
            assert parts.is_cluster
            assert 1 < len(parts.all) <= 8
            for buckets in parts.all:
                for table in DISTRIBUTED:
                    query = f"explain (format json) select 1 from {table} where bucket = any($1)"
                    assert tasks_of(await connection.fetchval(query, buckets)) == [1]
            query = "explain (format json) select 1 from event where bucket = any($1)"
            spread = [part[0] for part in parts.all]
            assert tasks_of(await connection.fetchval(query, spread)) == [len(spread)]
        finally:
            await connection.close()

    asyncio.run(play())


def test_every_statement_is_one_task(dsn: str) -> None:
    fill(dsn, 1)

    async def play(connection: Judge) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in SQL.names():
            text, is_of_one_part = _text_of(name, is_told=True)
            try:
                plan = await connection.fetchval(
                    f"explain (format json, costs off) {text}", *await bindings_for(connection, text)
                )
            except asyncpg.PostgresError as error:
                found[name] = str(error)
                continue
            # An insert of rows that come with it has no tasks yet: each row goes where its bucket is.
            tasks = set(tasks_of(plan))
            if tasks - {1} or (is_of_one_part and not tasks):
                found[name] = plan
        return found

    assert on(dsn, play) == {}


def tasks_of(plan: str) -> list[int]:
    """Return how many tasks each distributed part of a plan has."""
    assert json.loads(plan)
    return [int(each) for each in _TASKS.findall(plan)]


@pytest.mark.acceptance
def test_a_gateway_and_a_dispatcher_share_a_cluster(dsn: str, tmp_path: Path) -> None:
    settings = SETTINGS | {
        "TOCSIN_DATABASE": dsn,
        "TOCSIN_SECRET_KEY": KEY,
        "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
        "TOCSIN_LOG_FORMAT": "json",
    }
    receiver = Receiver()
    try:
        with running_program(tmp_path, "--role", "gateway", settings=settings) as gateway:
            key = first_key(gateway)
            make_destination(gateway, key, receiver.url)
            with running_program(tmp_path, settings=settings, command="work"):
                sent = {emit(gateway, key, number) for number in range(20)}
                receiver.wait_for(len(sent), timeout_s=120)
                events = ask(gateway, "GET", "/api/v1/events?limit=100", key=key).json["events"]
                assert {each["id"] for each in events} >= sent
    finally:
        receiver.close()
