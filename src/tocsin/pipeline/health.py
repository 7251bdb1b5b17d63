"""Destinations over days: those that fail for too long, or say that they are gone, are disabled, and that is told."""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from tocsin.core.clock import DAY_MS, Clock, rfc3339
from tocsin.core.destination import Destination
from tocsin.core.errors import TocsinError, Unavailable
from tocsin.core.event import Dialect, Draft
from tocsin.core.identifiers import DestinationId, prefixed
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.ingest import Ingest

DISABLED_TYPE = "tocsin.destination.disabled"
"""The type of the event that tells of a destination that was disabled; it can itself be routed."""

_PAUSE_S = 0.5

_log = structlog.get_logger("tocsin.health")


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a destination is given up.

    Attributes:
        disable_after_ms: of nothing but failures.
        note_after_ms: a shorter row of failures is not worth a write.
    """

    disable_after_ms: int = 5 * DAY_MS
    note_after_ms: int = 60_000


class _Suspicion(msgspec.Struct, frozen=True):
    """A row of failures that is too short to be written down.

    Attributes:
        revision: of the destination; a change by hand starts the count anew.
    """

    revision: int
    since_ms: int


_FAILING = "failing"
_RECOVERED = "recovered"


class DestinationHealth:
    """Notes since when each destination fails, and disables the hopeless."""

    def __init__(self, *, catalog: Catalog, clock: Clock, limits: HealthLimits) -> None:
        self._catalog = catalog
        self._clock = clock
        self._limits = limits
        self._suspicions: dict[DestinationId, _Suspicion] = {}
        self._changes: dict[DestinationId, tuple[Destination, str]] = {}
        self._wanted = asyncio.Event()
        catalog.tell_of_removed_destinations(self._forget)

    def succeeded(self, destination: Destination) -> None:
        """Note that something arrived."""
        self._suspicions.pop(destination.id, None)
        self._changes.pop(destination.id, None)
        current = self._catalog.any_destination(destination.id)
        if current is not None and current.failing_since_ms is not None:
            self._want(destination, _RECOVERED)

    def failed(self, destination: Destination, *, dead: str | None) -> None:
        """Note that an attempt failed; ``dead`` is how the remote said that nothing will ever be taken there."""
        current = self._catalog.any_destination(destination.id)
        if current is None or not current.enabled or not _same_address(current, destination):
            return
        now_ms = self._clock.now_ms()
        since_ms = self._since_ms(current, now_ms)
        if dead is not None:
            self._want(destination, dead)
        elif now_ms - since_ms >= self._limits.disable_after_ms:
            self._want(destination, f"every attempt failed for {self._limits.disable_after_ms // DAY_MS} days")
        elif current.failing_since_ms is None and now_ms - since_ms >= self._limits.note_after_ms:
            self._want(destination, _FAILING)

    def _since_ms(self, current: Destination, now_ms: int) -> int:
        """Return since when a destination fails, as far as is known."""
        if current.failing_since_ms is not None:
            self._suspicions.pop(current.id, None)
            return current.failing_since_ms
        suspicion = self._suspicions.get(current.id)
        if suspicion is None or suspicion.revision != current.revision:
            suspicion = self._suspicions[current.id] = _Suspicion(current.revision, now_ms)
        return suspicion.since_ms

    def _want(self, destination: Destination, change: str) -> None:
        if change != _FAILING or destination.id not in self._changes:
            self._changes[destination.id] = (destination, change)
            self._wanted.set()

    def _forget(self, destination_id: DestinationId) -> None:
        self._suspicions.pop(destination_id, None)
        self._changes.pop(destination_id, None)

    async def keep(self, ingest: Ingest) -> None:
        """Write down what was noted, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._changes:
                destination, change = self._changes.pop(next(iter(self._changes)))
                try:
                    await self._apply(destination, change, ingest)
                except TocsinError as error:
                    # Somebody changed it meanwhile, or the store is away: the next attempt tells again.
                    _log.warning("health_not_noted", destination=destination.id.hex(), error=error.detail)

    async def _apply(self, noted: Destination, change: str, ingest: Ingest) -> None:
        destination = self._catalog.any_destination(noted.id)
        if destination is None or not destination.enabled or not _same_address(destination, noted):
            return
        if change == _RECOVERED:
            await self._catalog.save(msgspec.structs.replace(destination, failing_since_ms=None))
            return
        failing_since_ms = self._since_ms(destination, self._clock.now_ms())
        if change == _FAILING:
            await self._catalog.save(msgspec.structs.replace(destination, failing_since_ms=failing_since_ms))
            return
        disabled = msgspec.structs.replace(
            destination, enabled=False, disabled_reason=change, failing_since_ms=failing_since_ms
        )
        await self._catalog.save(disabled)
        self._suspicions.pop(destination.id, None)
        _log.warning("destination_disabled", destination=destination.id.hex(), reason=change)
        await self._tell(disabled, ingest)

    async def _tell(self, disabled: Destination, ingest: Ingest) -> None:
        """Store the event of a destination that was disabled; nobody tells it again, so it waits for the store."""
        shown = prefixed("dst", disabled.id)
        assert disabled.failing_since_ms is not None
        data = {
            "destination": shown,
            "name": disabled.name,
            "reason": disabled.disabled_reason,
            "failing_since": rfc3339(disabled.failing_since_ms),
        }
        draft = Draft(
            organisation_id=disabled.organisation_id,
            dialect=Dialect.TOCSIN,
            source=f"tocsin/destination/{shown}",
            type=DISABLED_TYPE,
            time_ms=self._clock.now_ms(),
            data=msgspec.json.encode(data),
            subject=shown,
        )
        while True:
            try:
                await ingest.accept(draft)
            except Unavailable:
                await asyncio.sleep(_PAUSE_S)
            else:
                return


def _same_address(one: Destination, other: Destination) -> bool:
    """Return whether what is known of one holds for the other too."""
    return one.address == other.address and one.sealed_address == other.sealed_address
