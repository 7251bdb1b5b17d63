"""Destinations over days: those that fail for too long, or say that they are gone, are disabled, and that is told."""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from tocsin.core.clock import DAY_MS, Clock, rfc3339
from tocsin.core.destination import Destination
from tocsin.core.errors import TocsinError
from tocsin.core.event import Dialect, Draft
from tocsin.core.identifiers import DestinationId, prefixed
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.ingest import Ingest

DISABLED_TYPE = "tocsin.destination.disabled"
"""The type of the event that tells of a destination that was disabled; it can itself be routed."""

_log = structlog.get_logger("tocsin.health")


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a destination is given up.

    Attributes:
        disable_after_ms: of nothing but failures.
        note_after_ms: a shorter row of failures is not worth a write.
    """

    disable_after_ms: int = 5 * DAY_MS
    note_after_ms: int = 60_000


class DestinationHealth:
    """Notes since when each destination fails, and disables the hopeless."""

    def __init__(self, *, catalog: Catalog, clock: Clock, limits: HealthLimits) -> None:
        self._catalog = catalog
        self._clock = clock
        self._limits = limits
        self._failing_since: dict[DestinationId, int] = {}
        self._changes: asyncio.Queue[tuple[Destination, str]] = asyncio.Queue()
        self._queued: set[DestinationId] = set()

    def succeeded(self, destination: Destination) -> None:
        """Note that something arrived."""
        self._failing_since.pop(destination.id, None)
        if destination.failing_since_ms is not None:
            self._queue(destination, "recovered")

    def failed(self, destination: Destination, *, dead: bool) -> None:
        """Note that an attempt failed; ``dead`` when the remote said that nothing will ever be taken there."""
        now_ms = self._clock.now_ms()
        since_ms = destination.failing_since_ms or self._failing_since.setdefault(destination.id, now_ms)
        if dead or now_ms - since_ms >= self._limits.disable_after_ms:
            self._queue(destination, "the receiver answered 410 Gone" if dead else self._too_long())
        elif destination.failing_since_ms is None and now_ms - since_ms >= self._limits.note_after_ms:
            self._queue(destination, "failing")

    def _too_long(self) -> str:
        return f"every attempt failed for {self._limits.disable_after_ms // DAY_MS} days"

    def _queue(self, destination: Destination, change: str) -> None:
        if destination.id not in self._queued:
            self._queued.add(destination.id)
            self._changes.put_nowait((destination, change))

    async def keep(self, ingest: Ingest) -> None:
        """Write down what was noted, for ever."""
        while True:
            destination, change = await self._changes.get()
            self._queued.discard(destination.id)
            try:
                await self._apply(destination, change, ingest)
            except TocsinError as error:
                # Somebody changed it meanwhile, or the store is away: the next attempt tells again.
                _log.warning("health_not_noted", destination=destination.id.hex(), error=error.detail)

    async def _apply(self, noted: Destination, change: str, ingest: Ingest) -> None:
        destination = self._catalog.any_destination(noted.id)
        if destination is None or not destination.enabled:
            return
        if change == "recovered":
            await self._catalog.save(msgspec.structs.replace(destination, failing_since_ms=None))
            return
        since_ms = self._failing_since.get(destination.id, self._clock.now_ms())
        failing_since_ms = destination.failing_since_ms or since_ms
        if change == "failing":
            await self._catalog.save(msgspec.structs.replace(destination, failing_since_ms=failing_since_ms))
            return
        await self._catalog.save(
            msgspec.structs.replace(
                destination, enabled=False, disabled_reason=change, failing_since_ms=failing_since_ms
            )
        )
        self._failing_since.pop(destination.id, None)
        _log.warning("destination_disabled", destination=destination.id.hex(), reason=change)
        shown = prefixed("dst", destination.id)
        data = {
            "destination": shown,
            "name": destination.name,
            "reason": change,
            "failing_since": rfc3339(failing_since_ms),
        }
        await ingest.accept(
            Draft(
                organisation_id=destination.organisation_id,
                dialect=Dialect.TOCSIN,
                source=f"tocsin/destination/{shown}",
                type=DISABLED_TYPE,
                time_ms=self._clock.now_ms(),
                data=msgspec.json.encode(data),
                subject=shown,
            )
        )
