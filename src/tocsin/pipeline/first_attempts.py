"""Waiting for the first attempts of a few deliveries, for a client that wants to know how they went."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from tocsin.core.delivery import LIVE, Delivery, DeliveryState
from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import DeliveryId, EventId, OrganisationId
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import DeliveryQuery

_LOOK_AGAIN_S = 0.05
"""When the store is first asked again about what nobody told of: attempts of other processes, and ones that just
ended. Each time it is twice as late: the swift answer within milliseconds, the slow within half a minute."""

_LOOK_AGAIN_MAX_S = 1.0
"""So often it is asked at the least."""

_PAGE = 500
"""How many of an event's deliveries are asked for at once."""


class _Watch:
    """One client's wait: what it still waits for, and whether all of the rest arrived."""

    def __init__(self, deliveries: Sequence[DeliveryId]) -> None:
        self.pending = set(deliveries)
        self.all_arrived = True
        self.ended = asyncio.Event()
        self._check()

    def note(self, delivery_id: DeliveryId, *, delivered: bool) -> None:
        if delivery_id in self.pending:
            self.pending.discard(delivery_id)
            self.all_arrived = self.all_arrived and delivered
            self._check()

    def _check(self) -> None:
        if not self.pending:
            self.ended.set()


class FirstAttempts:
    """Tells whoever waits when the first attempts of deliveries have ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watches: dict[DeliveryId, list[_Watch]] = {}

    async def first_attempts(
        self, organisation_id: OrganisationId, deliveries: Sequence[DeliveryId], timeout_s: float
    ) -> bool:
        """Wait until each delivery's first attempt ended; return whether all were delivered.

        Some may have ended before: those are found in the store, and what has arrived by a later attempt has arrived.
        Of no deliveries it is False at once: nobody was told.

        Args:
            timeout_s: an attempt that has not ended by then counts as not delivered.
        """
        if not deliveries:
            return False
        watch = _Watch(deliveries)
        for each in deliveries:
            self._watches.setdefault(each, []).append(watch)
        try:
            pause_s = _LOOK_AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while not watch.ended.is_set():
                        await self._look(organisation_id, watch)
                        with suppress(TimeoutError):
                            async with asyncio.timeout(pause_s):
                                await watch.ended.wait()
                        pause_s = min(2 * pause_s, _LOOK_AGAIN_MAX_S)
        finally:
            for each in deliveries:
                self._forget(each, watch)
        return watch.ended.is_set() and watch.all_arrived

    async def first_attempts_of(self, organisation_id: OrganisationId, event_id: EventId, timeout_s: float) -> bool:
        """Wait in the same way for the deliveries that a stored event has.

        Raises:
            Unavailable: the store does not tell which these are.
        """
        query = DeliveryQuery(organisation_id=organisation_id, event_id=event_id, counted=False, with_data=False)
        found: list[DeliveryId] = []
        cursor: bytes | None = None
        while True:
            page = await self._engine.search(query, limit=_PAGE, cursor=cursor)
            found += [row.delivery.id for row in page.rows]
            cursor = page.next_cursor
            if cursor is None:
                return await self.first_attempts(organisation_id, found, timeout_s)

    def tell(self, delivery_id: DeliveryId, *, delivered: bool) -> None:
        """Note that a delivery's attempt ended."""
        for watch in self._watches.get(delivery_id, ()):
            watch.note(delivery_id, delivered=delivered)

    async def _look(self, organisation_id: OrganisationId, watch: _Watch) -> None:
        """Find in the store what has ended."""
        with suppress(Unavailable):
            for found in await self._engine.find(Delivery, organisation_id, list(watch.pending)):
                if found is not None and (found.attempts_made or found.state not in LIVE):
                    watch.note(found.id, delivered=found.state is DeliveryState.DELIVERED)

    def _forget(self, delivery_id: DeliveryId, watch: _Watch) -> None:
        watches = self._watches[delivery_id]
        watches.remove(watch)
        if not watches:
            del self._watches[delivery_id]
