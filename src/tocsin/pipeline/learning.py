"""What remotes tell of addresses: kept with the destination, so that it need not be asked for again."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog

from tocsin.core.destination import Destination
from tocsin.core.errors import TocsinError
from tocsin.core.identifiers import DestinationId
from tocsin.pipeline.catalog import Catalog

_log = structlog.get_logger("tocsin.learning")


class AddressLearning:
    """Writes down what was learned of destinations' addresses, unless they were changed meanwhile."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._news: dict[DestinationId, tuple[Destination, dict[str, Any]]] = {}
        self._wanted = asyncio.Event()

    def note(self, destination: Destination, learned: dict[str, Any]) -> None:
        """Keep these parts soon."""
        self._news[destination.id] = destination, learned
        self._wanted.set()

    async def keep(self) -> None:
        """Write down what was noted, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._news:
                destination, learned = self._news.pop(next(iter(self._news)))
                try:
                    await self._apply(destination, learned)
                except TocsinError as error:
                    # The remote tells it again with the next event.
                    _log.warning("address_not_learned", destination=destination.id.hex(), error=error.detail)

    async def _apply(self, noted: Destination, learned: dict[str, Any]) -> None:
        current = self._catalog.any_destination(noted.id)
        if current is None or current.address != noted.address or current.sealed_address != noted.sealed_address:
            return
        known = current.learned | learned
        if known != current.learned:
            await self._catalog.save(msgspec.structs.replace(current, learned=known))
            _log.info("address_learned", destination=noted.id.hex(), parts=sorted(learned))
