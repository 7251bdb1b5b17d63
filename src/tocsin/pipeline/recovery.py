"""Recovery: what one destination missed is sent to it again, for when it was down for longer than its retries."""

from __future__ import annotations

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.delivery import DeliveryPhase
from tocsin.core.environment import Environment
from tocsin.core.errors import Unprocessable
from tocsin.core.identifiers import DeliveryId, DestinationId, OrganisationId, prefixed
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import AmendmentResult, DeliveryQuery, Note, Retry
from tocsin.pipeline.audit import record_of

GIVEN_UP = frozenset({DeliveryPhase.EXPIRED})
"""What a recovery takes unless it is told otherwise."""


class RecoveryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one recovery.

    Attributes:
        deliveries_max: more than these are refused, and the caller narrows the time; 16 bytes of memory each.
        page_rows: deliveries read at once; each row brings its event, which may hold a mebibyte.
        batch_deliveries: deliveries put back into the queue in one call of the engine.
    """

    deliveries_max: int = 1_000_000
    page_rows: int = 100
    batch_deliveries: int = 500


_ID_BYTES = 16


class Recovery:
    """Puts finished deliveries of one destination back into its queue."""

    def __init__(self, *, engine: Engine, clock: Clock, limits: RecoveryLimits) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits

    async def recover(
        self,
        organisation_id: OrganisationId,
        destination_id: DestinationId,
        *,
        environment: Environment,
        since_ms: int,
        until_ms: int | None = None,
        phases: frozenset[DeliveryPhase] = GIVEN_UP,
    ) -> int:
        """Send again what a destination missed, oldest first; return how many deliveries that is, once it is done.

        Whoever cannot wait, or has more than ``deliveries_max``, asks for a job (``pipeline/jobs.py``).

        The deliveries are the old ones made due again, so that an event that is delivered at last says so, and a
        second recovery of the same time finds nothing more to do. It goes forward in batches, each durable by itself:
        one that breaks off may be started again.

        Args:
            environment: of the events whose deliveries are meant.
            since_ms, until_ms: both inclusive, of the event's acceptance.
            phases: which deliveries, by how they stand now.

        Raises:
            Unprocessable: ``too_many``, over ``deliveries_max``; nothing was done.
        """
        query = DeliveryQuery(
            organisation_id=organisation_id,
            destination_id=destination_id,
            since_ms=since_ms,
            until_ms=until_ms,
            environment=environment,
            phases=phases,
            unreplayed=True,
            with_data=False,
            counted=False,
        )
        found = await self._collect(query)
        record = record_of(
            "destination.recovered", prefixed("dst", destination_id), {"count": len(found) // _ID_BYTES}
        )
        if found and record is not None:
            # First, since the batches are commits of their own: what a crash leaves half done is told too.
            await self._engine.catalog_write([Note(record)])
        return await self._put_back(organisation_id, found)

    async def _collect(self, query: DeliveryQuery) -> bytearray:
        """Return the ids of all that the query matches, newest first, one behind the other."""
        found = bytearray()
        cursor: bytes | None = None
        while True:
            page = await self._engine.search(query, limit=self._limits.page_rows, cursor=cursor)
            for row in page.rows:
                found += row.delivery.id
            if len(found) > self._limits.deliveries_max * _ID_BYTES:
                raise Unprocessable(
                    f"more than {self._limits.deliveries_max} deliveries are meant; narrow the time",
                    code="too_many",
                )
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor

    async def _put_back(self, organisation_id: OrganisationId, found: bytearray) -> int:
        due_ms = self._clock.now_ms()
        step = max(1, self._limits.batch_deliveries) * _ID_BYTES
        done = 0
        for end in range(len(found), 0, -step):
            batch = bytes(found[max(0, end - step) : end])
            retries = [
                Retry(organisation_id, DeliveryId(batch[at : at + _ID_BYTES]), due_ms)
                for at in range(len(batch) - _ID_BYTES, -1, -_ID_BYTES)
            ]
            results = await self._engine.amend(retries)
            done += results.count(AmendmentResult.DONE)
        return done
