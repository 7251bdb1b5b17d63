"""Every version of the server that is promised, where the machine has it, and one that is too old."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.postgres_server import (
    PostgresServer,
    fast_server,
    fresh_database,
    postgres_factory,
    postgres_settings,
    running_server,
    server_folders,
)
from tocsin.core.errors import Unavailable
from tocsin.engine.postgres import PostgresEngine
from tocsin.engine.postgres.opening import VERSION_MIN
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.rows import EngineRefused
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import EngineFactory
from tocsin.testing.engine_contract.accepting import IdempotencyContract
from tocsin.testing.engine_contract.lanes import LaneContract
from tocsin.testing.engine_contract.searching import EventSearchContract
from tocsin.testing.engine_contract.tailing import TailOfSomeContract

PROMISED = range(VERSION_MIN, 19)


def _major(folder: Path) -> int:
    told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30)
    (found,) = re.findall(r"PostgreSQL\) (\d+)", told.stdout)
    return int(found)


# Of two of the same version the first.
FOLDERS = {_major(each): each for each in reversed(server_folders())}
OTHERS = [each for each in PROMISED if each in FOLDERS and FOLDERS[each] != server_folders()[0]]
"""The versions that the machine has, but for the one with which all other tests are run."""


@pytest.mark.parametrize("number", PROMISED)
def test_a_version_that_is_promised_is_tried(number: int) -> None:
    if number not in FOLDERS:
        pytest.skip(f"no PostgreSQL {number} here: install it, or name its bin folder in TEST_POSTGRES_FOLDER")
    assert number in OTHERS or FOLDERS[number] == server_folders()[0]


@pytest.fixture(scope="module", params=OTHERS)
def version(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server of each of the other versions in turn."""
    with fast_server(FOLDERS[request.param]) as server:
        yield server


class TestEachVersion(
    IdempotencyContract,
    LaneContract,
    EventSearchContract,
    TailOfSomeContract,
):
    """What differs most from version to version: upserts, locks, plans of searches, and what a snapshot says."""

    @pytest.fixture
    def engine_factory(self, version: PostgresServer) -> Iterator[EngineFactory]:
        with fresh_database(version) as dsn:
            yield postgres_factory(dsn)


def test_from_17_on_a_process_that_stands_still_anywhere_keeps_nothing_locked() -> None:
    newer = [folder for number, folder in FOLDERS.items() if number >= 17]
    if not newer:
        pytest.skip("no PostgreSQL 17 or later here: name its bin folder in TEST_POSTGRES_FOLDER")
    entered, goes_on = asyncio.Event(), asyncio.Event()

    async def stand_still(connection: Connection, _: bool) -> None:
        await connection.execute("update store set probed_ms = 1")
        # From here on the server waits for the rest of a request, and is not idle.
        await connection.prepare("select 1")
        entered.set()
        while not goes_on.is_set():
            # A process that is stopped does not hear of its own bound either.
            with contextlib.suppress(asyncio.CancelledError):
                await goes_on.wait()

    async def scenario(dsn: str) -> None:
        stopped = Pool(PoolSettings(dsn=dsn, write_max_s=1.0, idle_max_s=600.0))
        other = Pool(PoolSettings(dsn=dsn))
        await stopped.open()
        await other.open()
        writing = asyncio.ensure_future(stopped.write(stand_still))
        await entered.wait()
        try:
            await other.write(lambda c, _: c.execute("update store set probed_ms = 2"))
        finally:
            goes_on.set()
        assert isinstance((await asyncio.gather(writing, return_exceptions=True))[0], Unavailable)
        await stopped.close()
        await other.close()

    with fast_server(newer[0]) as server, fresh_database(server) as dsn:
        asyncio.run(scenario(dsn))


def test_an_older_version_is_refused_with_words() -> None:
    async def refusal(dsn: str) -> str:
        with pytest.raises(EngineRefused) as refused:
            await PostgresEngine(postgres_settings(dsn), clock=ManualClock()).open()
        return str(refused.value)

    old = [folder for number, folder in FOLDERS.items() if number < VERSION_MIN]
    if not old:
        pytest.skip(f"no PostgreSQL below {VERSION_MIN} here: name its bin folder in TEST_POSTGRES_FOLDER")
    with running_server(old[0], fsync="off") as server:
        told = asyncio.run(refusal(server.dsn("postgres")))
    assert re.fullmatch(rf"PostgreSQL [\d.]+ is too old; Tocsin needs {VERSION_MIN} or later", told)
