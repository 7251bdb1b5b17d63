"""The pipeline with its real parts on a real store, a clock moved by hand, and a way out whose far end a test plays."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from receivers import LOOPBACK
from tocsin.core.delivery import (
    Attempt,
    Deferred,
    Delivered,
    Delivery,
    DeliveryState,
    ErrorClass,
    Exchange,
    Lease,
    Outcome,
    RecordedAttempt,
    Rejected,
)
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import TocsinError
from tocsin.core.event import Dialect, Draft, Event
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, DestinationId, IdSequence, OrganisationId
from tocsin.engine.rows import Acceptance, AttemptQuery, DeliveryQuery, DeliveryRow, EventQuery, NewEvent, Settlement
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.destinations import DestinationBounds, Destinations, DestinationSpec
from tocsin.pipeline.dispatcher import Dispatcher, DispatchLimits
from tocsin.pipeline.health import DestinationHealth, HealthLimits
from tocsin.pipeline.ingest import Ingest, IngestLimits
from tocsin.pipeline.vault import Vault
from tocsin.telemetry import Metrics
from tocsin.testing.clock import ManualClock
from tocsin.transports import protocol
from tocsin.transports.addresses import AddressPolicy, UrlChecks
from tocsin.transports.protocol import Done, Shipment

NOWHERE = "http://127.0.0.1:9/hook"
"""An address that the guard lets pass and that no test ever connects to."""

QUICK = DispatchLimits(poll_s=0.01)
"""Looks for due work so often that a moved clock shows at once."""

PATIENCE_S = 25.0
"""How long a scenario may take on a slow machine before it counts as stuck."""


class Signal:
    """Wakes whoever waits for something to have changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def give(self) -> None:
        """Wake all who wait."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds, looked at again at each signal."""
        while not condition():
            await self._changed.wait()

    async def until_found(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Return once the condition holds that takes a look at the store."""
        while True:
            changed = self._changed
            if await condition():
                return
            await changed.wait()


class SignallingMetrics(Metrics):
    """Metrics that give a signal with every recorded batch of settlements."""

    def __init__(self, signal: Signal) -> None:
        super().__init__()
        self.recorded = 0
        self.breakers_opened = 0
        self._signal = signal

    def settled(self, count: int) -> None:
        super().settled(count)
        self.recorded += count
        self._signal.give()

    def breaker_opened(self) -> None:
        super().breaker_opened()
        self.breakers_opened += 1


class FaultyEngine(SqliteEngine):
    """The engine, with faults on request.

    Attributes:
        faults: by a method's name, what its next calls raise, one each.
        held: by a method's name, what its calls wait for before they go on.
        batches: by a method's name, how many items its calls had, refused ones included.
    """

    def __init__(self, settings: SqliteSettings, *, clock: ManualClock) -> None:
        super().__init__(settings, clock=clock, on_fatal=pytest.fail)
        self.faults: dict[str, list[Exception]] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.batches: dict[str, list[int]] = {"accept": [], "settle": [], "tend": []}

    async def accept(self, events: Sequence[NewEvent], *, lease_until_ms: int) -> list[Acceptance]:
        await self._enter("accept", len(events))
        return await super().accept(events, lease_until_ms=lease_until_ms)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        await self._enter("settle", len(settlements))
        return await super().settle(settlements)

    async def tend(self, budget_ms: int) -> bool:
        await self._enter("tend", budget_ms)
        return await super().tend(budget_ms)

    async def _enter(self, method: str, items: int) -> None:
        self.batches[method].append(items)
        if method in self.held:
            await self.held[method].wait()
        if self.faults.get(method):
            raise self.faults[method].pop(0)


Far = Callable[[Shipment], Outcome | None]
"""What the far end makes of an attempt; None leaves it hanging."""


class Remote:
    """A way out: implements ``transports.protocol.Transport``, the far end of which a test plays.

    Attributes:
        answer: what happens to attempts to destinations that ``answers`` does not name.
        answers: by a destination's name.
        started: all attempts, in the order in which they began.
        under_way: those that hang, oldest first.
        most_at_once: the highest number of attempts at once, over all.
        most_per_destination: the same for each destination, by its name.
    """

    def __init__(self, signal: Signal, clock: ManualClock) -> None:
        self.answer: Far = lambda shipment: Delivered(self.attempt(200))
        self.answers: dict[str, Far] = {}
        self.started: list[Shipment] = []
        self.under_way: list[tuple[Shipment, Done]] = []
        self.most_at_once = 0
        self.most_per_destination: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._signal = signal
        self._clock = clock
        self.is_open = False

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False
        self.under_way.clear()

    def start(self, shipment: Shipment, done: Done) -> None:
        name = shipment.target.destination.name
        self.started.append(shipment)
        self._now[name] += 1
        self.most_at_once = max(self.most_at_once, self._now.total())
        self.most_per_destination[name] = max(self.most_per_destination[name], self._now[name])
        outcome = self.answers.get(name, self.answer)(shipment)
        if outcome is None:
            self.under_way.append((shipment, done))
        else:
            asyncio.get_running_loop().call_soon(self._end, shipment, done, outcome)
        self._signal.give()

    def _end(self, shipment: Shipment, done: Done, outcome: Outcome) -> None:
        if self.is_open:
            self._now[shipment.target.destination.name] -= 1
            done(shipment, outcome)
            self._signal.give()

    def finish(self, outcome: Outcome | None = None, *, name: str | None = None) -> None:
        """End the oldest hanging attempt, or the oldest to a destination."""
        found = next(each for each in self.under_way if name in (None, each[0].target.destination.name))
        self.under_way.remove(found)
        self._end(*found, Delivered(self.attempt(200)) if outcome is None else outcome)

    def sent_to(self, name: str) -> list[Shipment]:
        """Return the attempts to a destination, oldest first."""
        return [each for each in self.started if each.target.destination.name == name]

    def attempt(self, status_code: int | None = 503, **fields: Any) -> Attempt:
        """Return an attempt that ended with this status; a failed one says so."""
        failed = status_code is None or status_code >= 300
        given: dict[str, Any] = {
            "started_ms": self._clock.now_ms(),
            "duration_ms": 1,
            "exchange": Exchange(request_line=f"POST {NOWHERE}"),
            "status_code": status_code,
            "error_class": ErrorClass.STATUS if failed else None,
            "error": f"remote answered {status_code}" if failed else None,
        }
        return Attempt(**(given | fields))

    def fail(self, _: Shipment) -> Outcome:
        """Answer 503."""
        return Deferred(self.attempt(503))

    def gone(self, _: Shipment) -> Outcome:
        """Answer 410."""
        return Rejected(self.attempt(410), disable=True)

    def hang(self, _: Shipment) -> Outcome | None:
        """Answer nothing."""
        return None


class Stage:
    """Everything between a draft and the far end; nothing of it runs until ``open``."""

    def __init__(
        self,
        directory: Path,
        *,
        dispatch: DispatchLimits = QUICK,
        intake: IngestLimits | None = None,
        bounds: DestinationBounds | None = None,
        transports: Callable[[Stage], Mapping[Transport, protocol.Transport]] | None = None,
    ) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.signal = Signal()
        self.random = random.Random(11)
        self.remote = Remote(self.signal, self.clock)
        self.ids = IdSequence(self.random.randbytes)
        self.vault = Vault(b"k" * 32, self.random.randbytes)
        self.engine = FaultyEngine(SqliteSettings(directory=directory, patience_s=0.0), clock=self.clock)
        self.metrics = SignallingMetrics(self.signal)
        self._dispatch = dispatch
        self._intake = IngestLimits() if intake is None else intake
        self._bounds = DestinationBounds() if bounds is None else bounds
        self._transports = {Transport.WEBHOOK: self.remote} if transports is None else transports(self)

    async def open(self, *, sending: bool = True) -> None:
        """Open the store and build everything on it; start to send, unless told otherwise."""
        await self.engine.open()
        self.catalog = Catalog(self.engine)
        await self.catalog.refresh()
        self.health = DestinationHealth(catalog=self.catalog, clock=self.clock, limits=HealthLimits())
        self.dispatcher = self.new_dispatcher()
        self.ingest = Ingest(
            engine=self.engine,
            catalog=self.catalog,
            sender=self.dispatcher,
            clock=self.clock,
            ids=self.ids,
            transports=frozenset(self._transports),
            limits=self._intake,
        )
        self.destinations = Destinations(
            catalog=self.catalog,
            ingest=self.ingest,
            vault=self.vault,
            urls=UrlChecks(AddressPolicy(LOOPBACK)),
            clock=self.clock,
            ids=self.ids,
            entropy=self.random.randbytes,
            bounds=self._bounds,
        )
        self._keeper = asyncio.get_running_loop().create_task(self.health.keep(self.ingest))
        if sending:
            await self.dispatcher.start()

    def new_dispatcher(self) -> Dispatcher:
        """Return a dispatcher on this store; nothing of it runs."""
        return Dispatcher(
            engine=self.engine,
            catalog=self.catalog,
            vault=self.vault,
            transports=self._transports,
            health=self.health,
            clock=self.clock,
            random=self.random.random,
            metrics=self.metrics,
            limits=self._dispatch,
        )

    async def close(self, *, patience_s: float = 5.0) -> None:
        """End what runs and close the store, as the program does."""
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        await self.dispatcher.stop(patience_s)
        await self.engine.close()

    # -- making -----------------------------------------------------------------------------------------

    async def destination(
        self, name: str = "a", *, organisation_id: OrganisationId = DEFAULT_ORGANISATION, **fields: Any
    ) -> Destination:
        """Store a destination; ``fields`` are those of its spec."""
        given: dict[str, Any] = {"name": name, "transport": Transport.WEBHOOK, "address": {"url": NOWHERE}}
        made, _ = await self.destinations.create(organisation_id, DestinationSpec(**(given | fields)))
        return made

    async def change(self, destination: Destination, **changes: Any) -> Destination:
        """Change a destination."""
        return await self.destinations.change(destination.organisation_id, destination.id, changes)

    def draft(self, **fields: Any) -> Draft:
        """Return a draft of the default organisation."""
        given: dict[str, Any] = {
            "organisation_id": DEFAULT_ORGANISATION,
            "dialect": Dialect.TOCSIN,
            "source": "tests",
            "type": "happened",
            "time_ms": self.clock.now_ms(),
            "data": b'{"a":1}',
        }
        return Draft(**(given | fields))

    async def accept(self, count: int = 1, **fields: Any) -> list[DeliveryId]:
        """Store events one after another; return the ids of their deliveries."""
        made: list[DeliveryId] = []
        for _ in range(count):
            made += (await self.ingest.accept(self.draft(**fields))).deliveries
        return made

    async def accept_at_once(self, count: int, **fields: Any) -> list[DeliveryId]:
        """Store events in as few batches as the intake makes of them."""
        receipts = await asyncio.gather(*(self.ingest.accept(self.draft(**fields)) for _ in range(count)))
        return [delivery for receipt in receipts for delivery in receipt.deliveries]

    # -- looking ----------------------------------------------------------------------------------------

    async def deliveries(self, ids: Sequence[DeliveryId]) -> list[Delivery]:
        """Return deliveries that must be there."""
        found = await self.engine.find(Delivery, DEFAULT_ORGANISATION, list(ids))
        return [each for each in found if each is not None]

    async def states(self, ids: Sequence[DeliveryId]) -> list[DeliveryState]:
        """Return where deliveries stand."""
        return [each.state for each in await self.deliveries(ids)]

    async def until_all(self, ids: Sequence[DeliveryId], state: DeliveryState) -> None:
        """Return once all of these deliveries are in this state."""

        async def reached() -> bool:
            return set(await self.states(ids)) <= {state}

        await self.signal.until_found(reached)

    async def attempts(self, delivery_id: DeliveryId) -> list[RecordedAttempt]:
        """Return a delivery's attempts, oldest first."""
        query = AttemptQuery(organisation_id=DEFAULT_ORGANISATION, delivery_id=delivery_id)
        return (await self.engine.search(query, limit=1000)).rows

    async def rows_of(self, destination: Destination) -> list[DeliveryRow]:
        """Return the deliveries to a destination, newest first."""
        query = DeliveryQuery(organisation_id=destination.organisation_id, destination_id=destination.id)
        return (await self.engine.search(query, limit=1000)).rows

    async def events(self, type: str | None = None) -> list[Event]:  # noqa: A002  CloudEvents' own word
        """Return the default organisation's events, oldest first."""
        query = EventQuery(organisation_id=DEFAULT_ORGANISATION, type=type, ascending=True)
        return [row.event for row in (await self.engine.search(query, limit=1000)).rows]


def run(
    directory: Path,
    scenario: Callable[[Stage], Awaitable[None]],
    *,
    sending: bool = True,
    patience_s: float = 5.0,
    **options: Any,
) -> None:
    """Play a scenario on an open stage.

    Args:
        sending: whether the dispatcher is started.
        patience_s: for attempts that the scenario leaves hanging.
        options: of ``Stage``.
    """

    async def main() -> None:
        stage = Stage(directory, **options)
        await stage.open(sending=sending)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await scenario(stage)
        finally:
            await stage.close(patience_s=patience_s)

    asyncio.run(main())


def refusal(error: TocsinError) -> tuple[type[TocsinError], str]:
    """Return what a caller can tell errors by."""
    return type(error), error.code


def lease_of(stage: Stage, *, attempts_made: int = 0, number: int = 1, **event: Any) -> Lease:
    """Return a lease that no store knows of."""
    given: dict[str, Any] = {
        "id": stage.ids.make(stage.clock.now_ms()),
        "organisation_id": DEFAULT_ORGANISATION,
        "dialect": Dialect.TOCSIN,
        "source": "tests",
        "type": "happened",
        "time_ms": stage.clock.now_ms(),
        "data": b"{}",
    }
    return Lease(
        delivery_id=DeliveryId(stage.ids.make(stage.clock.now_ms())),
        destination_id=DestinationId(bytes(16)),
        event=Event(**(given | event)),
        number=number,
        attempts_made=attempts_made,
        until_ms=0,
    )
