"""Changes of deliveries that other processes make: found by looking, since nobody tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
import structlog

from tocsin.core.clock import Clock
from tocsin.core.delivery import LIVE, Delivery, DeliveryPhase
from tocsin.core.errors import TocsinError
from tocsin.core.event import Event
from tocsin.core.identifiers import DeliveryId, OrganisationId, created_ms
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import DeliveryQuery, DeliveryRow, Settlement
from tocsin.pipeline.live.happening import DeliveryChange, Happening, change_of
from tocsin.pipeline.live.hub import Live

_log = structlog.get_logger("tocsin.stream")

_LATE_MS = 10_000
"""How much later than its id says a delivery may be stored and still be found."""

_NOTICE_S = 0.05
"""How soon it is noticed that somebody has begun to listen: what is over by then is not told."""

_UNDER_WAY = frozenset({DeliveryPhase.NEW, DeliveryPhase.RETRYING, DeliveryPhase.SENDING})


class ElsewhereLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What streams tell of deliveries that other processes send.

    Attributes:
        look_every_s: how often they are looked at while somebody listens; a change is told after two looks.
        deliveries_max: of one organisation that are under way and looked at, the newest; changes of others are not
            told.
    """

    look_every_s: float = 1.0
    deliveries_max: int = 500


_Stand = tuple[int, bool]
"""Attempts made, and whether it is final."""


class _Watched(msgspec.Struct):
    """A delivery that is looked at.

    Attributes:
        told: where it stood when it was last told of.
        found: where it was found since, which waits for one more look: this process may be about to tell it itself.
    """

    event: Event
    told: _Stand
    found: _Stand | None = None


class Elsewhere:
    """Finds what became of deliveries of organisations whose streams tell of them, and hands it to the hub.

    As far as it goes: what changes twice between two looks is told once, and an attempt without the attempt itself.
    """

    def __init__(self, live: Live, *, engine: Engine, clock: Clock, limits: ElsewhereLimits) -> None:
        self._live = live
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._watched: dict[OrganisationId, dict[DeliveryId, _Watched]] = {}
        self._since_ms: dict[OrganisationId, int] = {}

    def settled(self, settlements: Sequence[Settlement], verdicts: Sequence[bool]) -> None:
        """Note what this process recorded, which the hub tells by itself."""
        for settlement, counts in zip(settlements, verdicts, strict=True):
            watched = self._watched.get(settlement.lease.event.organisation_id)
            if not counts or watched is None:
                continue
            happening = change_of(settlement, now_ms=0)
            if happening is not None and happening.change is not None:
                delivery = happening.change.delivery
                event = msgspec.structs.replace(happening.event, data=b"")
                watched[delivery.id] = _Watched(event, _stand(delivery))

    async def keep(self) -> None:
        """Look every now and then, and at once where somebody begins to listen, for ever."""
        time_s = asyncio.get_running_loop().time
        due_s = 0.0
        while True:
            await asyncio.sleep(min(_NOTICE_S, self._limits.look_every_s))
            try:
                if time_s() >= due_s:
                    due_s = time_s() + self._limits.look_every_s
                    await self.look()
                else:
                    await self._begin_new()
            except TocsinError as error:
                _log.warning("stream_read_failed", error=error.detail)

    async def look(self) -> None:
        """Look once at what is told of."""
        wanted = self._live.told_of_deliveries()
        for gone in self._watched.keys() - wanted.keys():
            del self._watched[gone]
            del self._since_ms[gone]
        for organisation_id, reads_data in wanted.items():
            watched = self._watched.get(organisation_id)
            if watched is None:
                await self._begin(organisation_id)
                continue
            changes = [self._changed(watched, each) for each in await self._standing(organisation_id, watched)]
            told = [each for each in changes if each is not None]
            if reads_data:
                told = await self._with_data(organisation_id, told)
            self._live.found(told)
            self._drop_old(organisation_id, watched)

    async def _begin_new(self) -> None:
        for organisation_id in self._live.told_of_deliveries().keys() - self._watched.keys():
            await self._begin(organisation_id)

    async def _begin(self, organisation_id: OrganisationId) -> None:
        """Take note of where everything stands for one of whom nobody was told until now."""
        now_ms = self._clock.now_ms()
        rows = await self._listed(organisation_id, since_ms=now_ms - _LATE_MS)
        rows += await self._listed(organisation_id, phases=_UNDER_WAY)
        self._watched[organisation_id] = {
            row.delivery.id: _Watched(row.event, _stand(row.delivery)) for row in reversed(rows)
        }
        self._since_ms[organisation_id] = now_ms - _LATE_MS

    async def _standing(self, organisation_id: OrganisationId, watched: dict[DeliveryId, _Watched]) -> list[Delivery]:
        """Return where every delivery stands that is looked at, new ones included."""
        now_ms = self._clock.now_ms()
        rows = await self._listed(organisation_id, since_ms=self._since_ms[organisation_id])
        self._since_ms[organisation_id] = now_ms - _LATE_MS
        for row in reversed(rows):
            watched.setdefault(row.delivery.id, _Watched(row.event, (0, False)))
        listed = {row.delivery.id for row in rows}
        live = [each for each, known in watched.items() if not known.told[1] and each not in listed]
        found = await self._engine.find(Delivery, organisation_id, live)
        return [row.delivery for row in reversed(rows)] + [each for each in found if each is not None]

    async def _listed(
        self,
        organisation_id: OrganisationId,
        *,
        since_ms: int | None = None,
        phases: frozenset[DeliveryPhase] = frozenset(),
    ) -> list[DeliveryRow]:
        query = DeliveryQuery(
            organisation_id=organisation_id, since_ms=since_ms, phases=phases, counted=False, with_data=False
        )
        return list((await self._engine.search(query, limit=self._limits.deliveries_max)).rows)

    def _changed(self, watched: dict[DeliveryId, _Watched], delivery: Delivery) -> Happening | None:
        """Return what is told of a delivery, where it has changed and had a look's time to be told of."""
        known = watched[delivery.id]
        stand = _stand(delivery)
        if stand == known.told:
            known.found = None
            return None
        if stand != known.found:
            known.found = stand
            return None
        known.told, known.found = stand, None
        change = DeliveryChange(delivery=delivery, attempt=None, number=delivery.attempts_made)
        return Happening(known.event, destinations=frozenset({delivery.destination_id}), change=change)

    async def _with_data(self, organisation_id: OrganisationId, told: Iterable[Happening]) -> list[Happening]:
        """Return the same with their events' data, read one by one: each may be long."""
        whole = []
        for each in told:
            (event,) = await self._engine.find(Event, organisation_id, [each.event.id])
            if event is not None:
                whole.append(Happening(event, destinations=each.destinations, change=each.change))
        return whole

    def _drop_old(self, organisation_id: OrganisationId, watched: dict[DeliveryId, _Watched]) -> None:
        """Forget what is over and will not be listed again, and of what is too much the oldest.

        As many that are over are kept as one page lists, or they would be taken for new ones.
        """
        since_ms = self._since_ms[organisation_id]
        for each in [each for each, known in watched.items() if known.told[1] and created_ms(each) < since_ms]:
            del watched[each]
        for is_over in (False, True):
            alike = [each for each, known in watched.items() if known.told[1] is is_over]
            for each in alike[: max(0, len(alike) - self._limits.deliveries_max)]:
                del watched[each]


def _stand(delivery: Delivery) -> _Stand:
    return delivery.attempts_made, delivery.state not in LIVE
