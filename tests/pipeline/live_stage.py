"""The hub of live streams on a real store, whose reads a test can hold, count and fail."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tocsin.core.delivery import NewDelivery
from tocsin.core.environment import Environment
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DeliveryId, DestinationId, EventId, IdSequence, OrganisationId
from tocsin.core.stream import StreamFilter
from tocsin.engine.rows import Accepted, NewEvent, TailPage
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.pipeline.live import Happening, Live, Positions, Render, Stream, StreamLimits
from tocsin.telemetry import Metrics
from tocsin.testing.clock import ManualClock

MINE = OrganisationId(b"m" * 16)
THEIRS = OrganisationId(b"t" * 16)
HERE = DestinationId(b"d" * 16)
PATIENCE_S = 20.0
SWIFT = StreamLimits(gather_s=0.0, poll_s=0.01, check_s=0.01)


class Gate:
    """Where a call waits.

    Attributes:
        reached: set when it does.
    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    async def wait(self) -> None:
        """Wait until it is opened."""
        self.reached.set()
        await self._open.wait()

    def open(self) -> None:
        """Let it go on."""
        self._open.set()


class Tailed(SqliteEngine):
    """The engine; of ``tail`` it counts the calls, and holds or fails them on request.

    Attributes:
        before, behind: by the cursor that a call begins at, where it waits before and after it has read.
        faults: what the next calls raise, one each.
    """

    def __init__(self, directory: Path) -> None:
        settings = SqliteSettings(directory=directory, patience_s=0.0)
        super().__init__(settings, clock=ManualClock(), on_fatal=pytest.fail)
        self.tails = 0
        self.before: dict[int | None, Gate] = {}
        self.behind: dict[int | None, Gate] = {}
        self.faults: list[Exception] = []

    async def tail(self, cursor: int | None, limit: int, **options: Any) -> TailPage:
        self.tails += 1
        if self.faults:
            raise self.faults.pop(0)
        if cursor in self.before:
            await self.before.pop(cursor).wait()
        page = await super().tail(cursor, limit, **options)
        if cursor in self.behind:
            await self.behind.pop(cursor).wait()
        return page

    async def newest(self) -> int:
        """Return the newest event's position."""
        return (await super().tail(None, 1)).cursor


class World:
    """A hub on a real store."""

    def __init__(self, engine: Tailed, limits: StreamLimits) -> None:
        self.engine = engine
        self.clock = ManualClock()
        self.ids = IdSequence(os.urandom)
        positions = Positions(b"k" * 32)
        self.live = Live(engine=engine, positions=positions, clock=self.clock, metrics=Metrics(), limits=limits)

    async def store(self, count: int = 1, organisation_id: OrganisationId = MINE) -> list[EventId]:
        """Store events as another process would: nobody is told of them."""
        return [(await self.accept(organisation_id)).event.id for _ in range(count)]

    async def accept(self, organisation_id: OrganisationId = MINE, *destinations: DestinationId) -> Accepted:
        """Store one event with deliveries that are leased at once."""
        event = Event(
            id=EventId(self.ids.make(self.clock.now_ms())),
            organisation_id=organisation_id,
            dialect=Dialect.TOCSIN,
            source="tests",
            type="happened",
            time_ms=self.clock.now_ms(),
            data=b'{"a":1}',
        )
        deliveries = tuple(
            NewDelivery(id=DeliveryId(self.ids.make(self.clock.now_ms())), destination_id=each, leased=True)
            for each in destinations
        )
        (stored,) = await self.engine.accept(
            [NewEvent(event=event, deliveries=deliveries)], lease_until_ms=self.clock.now_ms() + 60_000
        )
        assert isinstance(stored, Accepted)
        return stored

    async def listen(
        self,
        organisation_id: OrganisationId = MINE,
        *,
        after: int | None = None,
        render: Render | None = None,
        **wanted: Any,
    ) -> Stream:
        """Open a stream."""
        return await self.live.open(
            StreamFilter(organisation_id=organisation_id, environment=Environment.LIVE, **wanted),
            after=after,
            render=named if render is None else render,
            permitted=lambda: True,
        )


def named(happening: Happening, _mark: str) -> bytes:
    """Write an event as its id, and a delivery as its state."""
    if happening.change is None:
        return happening.event.id
    return happening.change.delivery.state.value.encode()


def with_data(happening: Happening, _mark: str) -> bytes:
    """Write an event as its data."""
    return happening.event.data


async def told(stream: Stream, count: int) -> list[bytes]:
    """Return so many texts that a stream tells."""
    found: list[bytes] = []
    while len(found) < count:
        found += [each.text for each in await stream.next(bytes_max=1000, timeout_s=PATIENCE_S)]
        assert stream.ended is None
    return found


def play(directory: Path, scenario: Callable[[World], Awaitable[None]], limits: StreamLimits = SWIFT) -> None:
    """Play a scenario on an open store, with what runs beside it."""

    @asynccontextmanager
    async def running(world: World) -> Any:
        jobs = [asyncio.create_task(job) for job in (world.live.follow(), world.live.watch())]
        try:
            yield
            assert not any(job.done() for job in jobs)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def main() -> None:
        engine = Tailed(directory)
        await engine.open()
        world = World(engine, limits)
        try:
            async with asyncio.timeout(PATIENCE_S), running(world):
                await scenario(world)
        finally:
            await engine.close()

    asyncio.run(main())


async def told_after_storing(world: World, stream: Stream) -> None:
    """Store an event and see it told, without a hint."""
    stored = await world.store()
    assert await told(stream, 1) == stored
