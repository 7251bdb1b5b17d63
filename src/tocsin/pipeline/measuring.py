"""What stands in the store and in the catalog, as gauges."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.destination import Destination
from tocsin.core.errors import TocsinError
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import Measures
from tocsin.pipeline.catalog import Catalog
from tocsin.telemetry import Metrics


class MeasuringLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How often.

    Attributes:
        every_s: how old a measurement may be; whoever asks for the metrics more often gets the last one.
    """

    every_s: float = 5.0


class Measuring:
    """Measures when it is asked, at most as often as its limits say, whoever asks."""

    def __init__(
        self, *, engine: Engine, catalog: Catalog, metrics: Metrics, clock: Clock, limits: MeasuringLimits
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._metrics = metrics
        self._clock = clock
        self._limits = limits
        self._again_s = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def refresh(self) -> None:
        """Have the gauges show what stands; what cannot be read now they do not show."""
        async with self._one_at_a_time:
            if self._clock.monotonic_s() < self._again_s:
                return
            try:
                self._show(await self._engine.measure())
            except TocsinError:
                self._hide()
            self._show_catalog()
            self._again_s = self._clock.monotonic_s() + self._limits.every_s

    def _hide(self) -> None:
        metrics = self._metrics
        for gauge in (metrics.queue, metrics.oldest_due, metrics.mailbox, metrics.store_bytes, metrics.store_free):
            gauge.read = lambda: None

    def _show(self, measures: Measures) -> None:
        """Show the queue; what waits for a destination that is paused or disabled is nobody's to hurry."""
        idle = self._catalog.idle_destinations
        states = dict.fromkeys(("due", "scheduled", "leased", "blocked", "idle"), 0)
        oldest_ms: int | None = None
        for queue in measures.queues:
            states["leased"] += queue.leased
            if queue.destination_id in idle:
                states["idle"] += queue.due + queue.scheduled + queue.blocked
                continue
            states["due"] += queue.due
            states["scheduled"] += queue.scheduled
            states["blocked"] += queue.blocked
            if queue.oldest_due_ms is not None:
                oldest_ms = min(queue.oldest_due_ms, queue.oldest_due_ms if oldest_ms is None else oldest_ms)
        waited_ms = 0 if oldest_ms is None else max(0, self._clock.now_ms() - oldest_ms)
        metrics = self._metrics
        metrics.queue.read = lambda: {(state,): count for state, count in states.items()}
        metrics.oldest_due.set(waited_ms / 1000)
        metrics.mailbox.set(measures.mailbox_items)
        metrics.store_bytes.read = lambda: {(name,): size for name, size in measures.file_bytes.items()}
        free_bytes = measures.free_bytes
        metrics.store_free.read = lambda: None if free_bytes is None else {(): free_bytes}

    def _show_catalog(self) -> None:
        sizes = self._catalog.sizes()
        standing = Counter(_standing(each) for each in self._catalog.all_destinations())
        states = {state: standing[state] for state in ("well", "failing", "paused", "disabled")}
        self._metrics.catalog.read = lambda: {(kind,): count for kind, count in sizes.items()}
        self._metrics.destinations.read = lambda: {(state,): count for state, count in states.items()}


def _standing(destination: Destination) -> str:
    if not destination.enabled:
        return "disabled"
    if destination.paused:
        return "paused"
    return "well" if destination.failing_since_ms is None else "failing"
