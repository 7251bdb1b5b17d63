"""What the tests of the SQLite engine share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import apsw
import pytest

from tocsin.engine.protocol import Engine
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.engine.sqlite.connection import DATABASE_FILE
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import PAGE_BYTES_MAX, RETENTION_MS, EngineFactory, Stage


def fatal(text: str) -> NoReturn:
    """Fail: no test that uses this has a disk that loses an fsync."""
    pytest.fail(text)


def sqlite_factory(directory: Path, **settings: Any) -> EngineFactory:
    """Return what opens the store in this directory; ``settings`` are fields of ``SqliteSettings``."""
    kept = dict.fromkeys(("retention_ms", "audit_retention_ms", "job_retention_ms"), RETENTION_MS)
    given: dict[str, Any] = {
        "patience_s": 0.0,
        "query_max_s": 60.0,
        "count_max_s": 60.0,
        "page_bytes_max": PAGE_BYTES_MAX,
        **kept,
    }
    made = SqliteSettings(directory=directory, **(given | settings))

    @asynccontextmanager
    async def opened(clock: ManualClock) -> AsyncIterator[Engine]:
        engine = SqliteEngine(made, clock=clock, on_fatal=fatal)
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close()

    return opened


def play_in(directory: Path, play: Callable[[Stage], Any], **settings: Any) -> None:
    """Play a scene in the store in this directory; ``settings`` are fields of ``SqliteSettings``."""

    async def run() -> None:
        stage = Stage(sqlite_factory(directory, **settings))
        await stage.open()
        try:
            await play(stage)
        finally:
            await stage.close()

    asyncio.run(run())


def opened(directory: Path) -> apsw.Connection:
    """Return a connection of our own to the store in this directory."""
    return apsw.Connection(str(directory / DATABASE_FILE))


@contextmanager
def counted_steps(connection: apsw.Connection) -> Iterator[Callable[[], int]]:
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
