"""The pipeline's real parts on a real store, a clock moved by hand, and a way out whose far end a test plays."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.faulty import FaultyEngine, SignallingMetrics
from pipeline.remote import NOWHERE, Remote, Signal
from receivers import LOOPBACK
from tocsin.core.delivery import (
    Delivery,
    DeliveryState,
    RecordedAttempt,
)
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import TocsinError
from tocsin.core.event import Dialect, Draft, Event
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, IdSequence, OrganisationId
from tocsin.engine.rows import AttemptQuery, DeliveryQuery, DeliveryRow, EventQuery
from tocsin.engine.sqlite import SqliteSettings
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.conditions import ConditionLimits, Conditions
from tocsin.pipeline.destinations import DestinationBounds, Destinations, DestinationSpec
from tocsin.pipeline.dispatcher import Dispatcher, DispatchLimits
from tocsin.pipeline.first_attempts import FirstAttempts
from tocsin.pipeline.health import DestinationHealth, HealthLimits
from tocsin.pipeline.ingest import Ingest, IngestLimits
from tocsin.pipeline.learning import AddressLearning
from tocsin.pipeline.vault import Vault
from tocsin.testing.clock import ManualClock
from tocsin.transports import protocol
from tocsin.transports.addresses import AddressPolicy, UrlChecks

QUICK = DispatchLimits(poll_s=0.01)
"""Looks for due work so often that a moved clock shows at once."""

PATIENCE_S = 25.0
"""How long a scenario may take on a slow machine before it counts as stuck."""


class Stage:
    """Everything between a draft and the far end; nothing of it runs until ``open``."""

    def __init__(
        self,
        directory: Path,
        *,
        dispatch: DispatchLimits = QUICK,
        intake: IngestLimits | None = None,
        conditions: ConditionLimits | None = None,
        bounds: DestinationBounds | None = None,
        transports: Callable[[Stage], Mapping[Transport, protocol.Transport]] | None = None,
        dispatcher: type[Dispatcher] = Dispatcher,
    ) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.signal = Signal()
        self.random = random.Random(11)
        """For jitter, the same in every run."""
        self.remote = Remote(self.signal, self.clock)
        self.ids = IdSequence(os.urandom)
        self.vault = Vault(b"k" * 32, os.urandom)
        self.engine = FaultyEngine(
            SqliteSettings(directory=directory, patience_s=0.0), clock=self.clock, signal=self.signal
        )
        self.metrics = SignallingMetrics(self.signal)
        self._dispatch = dispatch
        self._dispatcher = dispatcher
        self._intake = IngestLimits() if intake is None else intake
        self._conditions = ConditionLimits() if conditions is None else conditions
        self._bounds = DestinationBounds() if bounds is None else bounds
        self._transports = {Transport.WEBHOOK: self.remote} if transports is None else transports(self)

    async def open(self, *, sending: bool = True) -> None:
        """Open the store and build everything on it; start to send, unless told otherwise."""
        await self.engine.open()
        self.catalog = Catalog(self.engine)
        await self.catalog.refresh()
        self.health = DestinationHealth(catalog=self.catalog, clock=self.clock, limits=HealthLimits())
        self.first_attempts = FirstAttempts(self.engine)
        self.learning = AddressLearning(self.catalog)
        self.dispatcher = self.new_dispatcher()
        self.ingest = self.new_ingest()
        self.destinations = Destinations(
            catalog=self.catalog,
            ingest=self.ingest,
            vault=self.vault,
            urls=UrlChecks(AddressPolicy(LOOPBACK)),
            clock=self.clock,
            ids=self.ids,
            entropy=os.urandom,
            bounds=self._bounds,
        )
        loop = asyncio.get_running_loop()
        self._keepers = [loop.create_task(each) for each in (self.health.keep(self.ingest), self.learning.keep())]
        if sending:
            await self.dispatcher.start()

    def new_dispatcher(self) -> Dispatcher:
        """Return a dispatcher on this store; nothing of it runs."""
        return self._dispatcher(
            engine=self.engine,
            catalog=self.catalog,
            vault=self.vault,
            transports=self._transports,
            health=self.health,
            first_attempts=self.first_attempts,
            clock=self.clock,
            random=self.random.random,
            metrics=self.metrics,
            limits=self._dispatch,
            on_learned=self.learning.note,
        )

    def new_ingest(self, on_stored: Callable[[], None] | None = None) -> Ingest:
        """Return an intake of this store."""
        return Ingest(
            engine=self.engine,
            catalog=self.catalog,
            conditions=Conditions(metrics=self.metrics, clock=self.clock, limits=self._conditions),
            sender=self.dispatcher,
            clock=self.clock,
            ids=self.ids,
            transports=frozenset(self._transports),
            limits=self._intake,
            on_stored=on_stored,
        )

    async def close(self, *, patience_s: float = 0.2) -> None:
        """End what runs and close the store, as the program does."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
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

    async def all_are(self, ids: Sequence[DeliveryId], state: DeliveryState) -> bool:
        """Return whether all of these deliveries are in this state."""
        return set(await self.states(ids)) <= {state}

    async def until_all(self, ids: Sequence[DeliveryId], state: DeliveryState) -> None:
        """Return once all of these deliveries are in this state."""
        await self.signal.until_found(lambda: self.all_are(ids, state))

    async def until_looked(self, times: int = 4) -> None:
        """Return once the dispatcher has looked for due work so many times more, and has had its turn since."""
        looked = len(self.engine.batches["claim"])
        await self.signal.until(lambda: len(self.engine.batches["claim"]) >= looked + times)

    async def until_batches(self, batches: int) -> None:
        """Return once the engine has been handed so many batches of events in all."""
        await self.signal.until(lambda: len(self.engine.batches["accept"]) >= batches)

    async def until_started(self, attempts: int, name: str | None = None) -> None:
        """Return once at least so many attempts have begun in all, or to a destination."""
        await self.signal.until(
            lambda: len(self.remote.started if name is None else self.remote.sent_to(name)) >= attempts
        )

    async def until_recorded(self, settlements: int) -> None:
        """Return once at least so many settlements have been recorded in all."""
        await self.signal.until(lambda: self.metrics.recorded >= settlements)

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
    patience_s: float = 0.2,
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
