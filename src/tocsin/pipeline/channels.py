"""How many channels an organisation may have, whichever routes make them."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from tocsin.core.errors import InvalidRequest
from tocsin.core.identifiers import OrganisationId
from tocsin.core.organisation import Channel
from tocsin.engine.rows import CatalogOp, Save
from tocsin.pipeline.catalog import Catalog


class Channels:
    """Stores new channels as far as their organisation may have more, whichever processes do so at the same time.

    Args:
        per_organisation_max: channels of one organisation.
    """

    def __init__(self, catalog: Catalog, per_organisation_max: int) -> None:
        self._catalog = catalog
        self._per_organisation_max = per_organisation_max
        self._adding: WeakValueDictionary[OrganisationId, asyncio.Lock] = WeakValueDictionary()

    def check_room(self, organisation_id: OrganisationId) -> None:
        """Return when there is room for one more; asked before a password is hashed in vain.

        Raises:
            InvalidRequest: ``channel_limit_exceeded``.
        """
        if len(self._catalog.channels(organisation_id)) >= self._per_organisation_max:
            raise InvalidRequest("channel limit exceeded", code="channel_limit_exceeded")

    async def add(self, channel: Channel) -> None:
        """Store a new channel.

        Raises:
            InvalidRequest: ``channel_limit_exceeded``.
        """
        async with self._adding.setdefault(channel.organisation_id, asyncio.Lock()):
            await self._catalog.write_decided(Channel, channel.organisation_id, lambda: self._checked(channel))

    def _checked(self, channel: Channel) -> list[CatalogOp]:
        self.check_room(channel.organisation_id)
        return [Save(channel)]
