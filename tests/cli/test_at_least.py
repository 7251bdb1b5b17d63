"""What a command would do, where there is too much to be counted: it says ``at least``."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from cli.commands import Shell
from gateway import Process
from tenants import Tenant
from tocsin.bootstrap.adapters import SystemClock
from tocsin.cli.exits import USAGE
from tocsin.core.delivery import NewDelivery
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import (
    DEFAULT_ORGANISATION,
    DeliveryId,
    DestinationId,
    EventId,
    IdSequence,
    bucket_of,
    parse_prefixed,
)
from tocsin.engine.rows import Cancel, NewEvent
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings

pytestmark = pytest.mark.acceptance

COUNTED_MAX = 10_000
NO_TIME = {"TOCSIN_STORE_THOROUGH_COUNT_MAX_S": "0"}


async def fill(data: Path, destination_id: DestinationId, count: int) -> None:
    """Store events, each with a delivery to the destination that was cancelled."""
    ids = IdSequence(os.urandom)
    engine = SqliteEngine(SqliteSettings(directory=data), clock=SystemClock(), on_fatal=pytest.fail)
    await engine.open()
    for start in range(0, count, 500):
        now_ms = int(time.time() * 1000)
        new = [_new(ids, now_ms, destination_id) for _ in range(min(500, count - start))]
        await engine.accept(new, lease_until_ms=0)
        await engine.amend([Cancel(DEFAULT_ORGANISATION, each.deliveries[0].id) for each in new])
    await engine.close()


def _new(ids: IdSequence, now_ms: int, destination_id: DestinationId) -> NewEvent:
    event_id = EventId(ids.make(now_ms))
    event = Event(
        id=event_id,
        organisation_id=DEFAULT_ORGANISATION,
        dialect=Dialect.BUILDABLE,
        source="buildable",
        type="load",
        time_ms=now_ms,
        data=b"{}",
    )
    delivery = NewDelivery(id=DeliveryId(ids.make(now_ms, bucket_of(event_id))), destination_id=destination_id)
    return NewEvent(event=event, deliveries=(delivery,))


def test_what_was_not_counted_to_its_end_is_told_as_at_least_so_many(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", dict(NO_TIME))
    process.start()
    try:
        shell = Shell(tmp_path, Tenant(process, process.keys["api_key"]))
        address = {"url": "http://127.0.0.1:9/"}
        destination = {"name": "shop", "transport": "webhook", "address": address, "enabled": False}
        made = parse_prefixed("dst", shell.tenant.post("/api/v1/destinations", destination)["id"])
        assert made is not None
        process.stop()
        asyncio.run(fill(process.data, DestinationId(made), COUNTED_MAX + 5))
        process.start()

        missed = ("retry", "--since", "1h", "--status", "cancelled")
        told = f"at least {COUNTED_MAX} deliveries to 1 destination would be sent again"
        counted = shell.run(*missed, "--dry-run")
        assert told in counted.err
        assert [(row["count"], row["exact"]) for row in counted.rows] == [(COUNTED_MAX, False)]
        shell.refused(USAGE, *missed, says=told)

        past = ("events", "replay", "--since", "1h", "--search", "{")
        counted = shell.run(*past, "--dry-run")
        (row,) = counted.rows
        assert not row["exact"]
        assert f"at least {row['count']} events would be replayed" in counted.err

        # With time to count them all, nothing is left open.
        process.stop()
        process.settings.clear()
        process.start()
        (row,) = shell.rows(*missed, "--dry-run")
        assert (row["count"], row["exact"]) == (COUNTED_MAX + 5, True)
        shell.refused(USAGE, *missed, says=f"{COUNTED_MAX + 5} deliveries to 1 destination would be sent again")
        assert shell.ok(*past, "--dry-run") == {"count": COUNTED_MAX + 5, "exact": True}
    finally:
        process.stop()
