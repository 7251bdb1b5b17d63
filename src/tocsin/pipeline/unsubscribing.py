"""Taking a mail address out of a destination at the wish of whoever reads its mails."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.audit import Actor, ActorKind, AuditId, AuditRecord
from tocsin.core.clock import Clock
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import Conflict
from tocsin.core.identifiers import IdSequence, prefixed
from tocsin.engine.rows import Note, Save
from tocsin.pipeline.catalog import Catalog, unique_name
from tocsin.transports.unsubscribing import Unsubscription, address_digest

LAST_ADDRESS_GONE = "whoever it told wants no more mails"
_TRIES = 3


class Unsubscribing:
    """Takes addresses out, and tells it in the audit trail of their organisation.

    The last address of a destination stays, and the destination is disabled. Were it paused, all that happens would
    wait there, to be sent in one go to somebody who wants nothing, as soon as it is resumed.
    """

    def __init__(self, *, catalog: Catalog, clock: Clock, ids: IdSequence) -> None:
        self._catalog = catalog
        self._clock = clock
        self._ids = ids

    def find(self, wanted: Unsubscription) -> str | None:
        """Return the address that still gets mails, or None where it gets none any more."""
        found = self._destination(wanted)
        if found is None or (not found.enabled and len(found.address.get("to", ())) == 1):
            return None
        return _address(found, wanted)

    async def remove(self, wanted: Unsubscription, *, client: str) -> None:
        """See to it that the address gets no more mails from there; what is done already is left alone.

        Args:
            client: the peer's address.

        Raises:
            Conflict: others change the destination all the time.
            Unavailable: the store cannot write now.
        """
        for left in reversed(range(_TRIES)):
            address, destination = self.find(wanted), self._destination(wanted)
            if address is None or destination is None:
                return
            try:
                await self._save(destination, address, client)
            except Conflict:
                await self._catalog.refresh()
                if not left:
                    raise
            else:
                return

    def _destination(self, wanted: Unsubscription) -> Destination | None:
        found = self._catalog.find_destination(wanted.organisation_id, wanted.destination_id)
        return found if found is not None and found.transport is Transport.EMAIL else None

    async def _save(self, before: Destination, address: str, client: str) -> None:
        now_ms = self._clock.now_ms()
        others = [each for each in before.address["to"] if each != address]
        changes: dict[str, Any] = (
            {"address": before.address | {"to": others}}
            if others
            else {"enabled": False, "disabled_reason": LAST_ADDRESS_GONE}
        )
        after = msgspec.structs.replace(before, **changes, updated_ms=now_ms)
        record = AuditRecord(
            id=AuditId(self._ids.make(now_ms)),
            organisation_id=before.organisation_id,
            at_ms=now_ms,
            actor=Actor(kind=ActorKind.OTHER),
            action="destination.unsubscribed",
            subject=prefixed("dst", before.id),
            summary={"name": before.name, "address": address, "disabled": not others},
            client=client,
        )
        await self._catalog.write([Save(after, unique_name(after)), Note(record)])


def _address(destination: Destination, wanted: Unsubscription) -> str | None:
    given = destination.address.get("to")
    addresses = [each for each in given if isinstance(each, str)] if isinstance(given, list) else []
    return next((each for each in addresses if address_digest(each) == wanted.address_digest), None)
