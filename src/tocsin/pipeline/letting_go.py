"""Letting go what quiet hours hold back, once they are no longer what they were."""

from __future__ import annotations

from tocsin.core.clock import Clock
from tocsin.core.destination import Destination
from tocsin.core.quiet_hours import QuietHours, quiet_until_ms
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import CatalogOp, Hurry
from tocsin.pipeline.catalog import Catalog


def let_go(before: Destination, quiet: QuietHours | None, now_ms: int) -> list[Hurry]:
    """Return what lets go what the quiet hours of ``before`` hold now, where others take their place.

    Where the new ones hold it too, it is put back until these end, by whoever claims it.
    """
    held_until_ms = None if before.quiet_hours == quiet else quiet_until_ms(before.quiet_hours, now_ms)
    return [] if held_until_ms is None else [Hurry(before.organisation_id, before.id, held_until_ms, now_ms)]


class Stragglers:
    """Lets go what a process puts back by quiet hours of which it does not know yet that they were changed.

    The change itself lets go what was held back by then; this is for what reached the store behind it.
    """

    def __init__(self, engine: Engine, catalog: Catalog, clock: Clock) -> None:
        self._engine = engine
        self._catalog = catalog
        self._clock = clock
        self._former: list[Destination] = []

    async def let_go(self, *, settled: bool) -> None:
        """Let go what the former quiet hours held back.

        Args:
            settled: nothing is on its way to the store. Until that was so once, this is done again at each call.

        Raises:
            TocsinError: as the engine's ``catalog_write``; the next call makes up for it.
        """
        self._former += self._catalog.take_former_quiet_hours()
        if not self._former:
            return
        now_ms = self._clock.now_ms()
        ops: list[CatalogOp] = [op for former in self._former for op in let_go(former, None, now_ms)]
        if ops:
            await self._engine.catalog_write(ops)
        if settled or not ops:
            self._former.clear()
