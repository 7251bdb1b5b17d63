"""Gauges of what stands: measured on a real store, and silent about what cannot be read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.measuring import Measuring, MeasuringLimits
from tocsin.telemetry import Metrics
from tocsin.testing.clock import ManualClock

OF_THE_STORE = (
    "tocsin_queue_deliveries{",
    "tocsin_queue_oldest_due_seconds ",
    "tocsin_mailbox_items ",
    "tocsin_store_bytes{",
    "tocsin_store_free_bytes ",
)


def shown(metrics: Metrics) -> set[str]:
    """Return which of the store's gauges an exposition has."""
    lines = metrics.exposition().decode().splitlines()
    return {name for name in OF_THE_STORE if any(line.startswith(name) for line in lines)}


def test_what_cannot_be_read_any_more_is_not_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, metrics = ManualClock(), Metrics()
        engine = SqliteEngine(SqliteSettings(directory=tmp_path), clock=clock, on_fatal=pytest.fail)
        measuring = Measuring(
            engine=engine, catalog=Catalog(engine), metrics=metrics, clock=clock, limits=MeasuringLimits()
        )
        await engine.open()
        await measuring.refresh()
        assert shown(metrics) == set(OF_THE_STORE)

        await engine.close()
        clock.advance_ms(round(MeasuringLimits().every_s * 1000))
        await measuring.refresh()
        assert shown(metrics) == set()

    asyncio.run(scenario())
