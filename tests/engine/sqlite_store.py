"""What the tests of the SQLite engine share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tocsin.engine.protocol import Engine
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import RETENTION_MS, EngineFactory


def fatal(text: str) -> NoReturn:
    """Fail: no test that uses this has a disk that loses an fsync."""
    pytest.fail(text)


def sqlite_factory(directory: Path, **settings: Any) -> EngineFactory:
    """Return what opens the store in this directory; ``settings`` are fields of ``SqliteSettings``."""
    kept = dict.fromkeys(("retention_ms", "audit_retention_ms", "job_retention_ms"), RETENTION_MS)
    given: dict[str, Any] = {"patience_s": 0.0, "query_max_s": 60.0, **kept}
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
