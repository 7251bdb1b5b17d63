"""``Hurry``: what waits for a destination until one moment is let go, and nothing else is."""

from __future__ import annotations

import msgspec

from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Destination, Transport
from tocsin.core.identifiers import DestinationId
from tocsin.core.quiet_hours import QuietHours
from tocsin.engine.rows import CatalogResult, Hurry, Save
from tocsin.testing.engine_contract.stage import Stage, scenario

HELD_MS = 3_600_000


async def _held(stage: Stage, destination: DestinationId, until_ms: int, count: int = 1) -> list[bytes]:
    """Store events that wait until then; return the ids of their deliveries, oldest first."""
    new = [stage.new(destination) for _ in range(count)]
    await stage.store(*new)
    for lease in await stage.claim():
        await stage.put_off(lease, until_ms, counted=False)
    return [each.deliveries[0].id for each in new]


class HurryContract:
    """What quiet hours held back is let go by a change of them, in the same commit."""

    @scenario
    async def test_what_waits_until_that_moment_is_due_in_the_order_of_acceptance(self, stage: Stage) -> None:
        destination, now_ms = stage.destination(), stage.clock.now_ms()
        held = await _held(stage, destination, now_ms + HELD_MS, 5)
        assert await stage.claim() == []
        hurry = Hurry(stage.organisation, destination, now_ms + HELD_MS, now_ms)
        assert await stage.engine.catalog_write([hurry]) == [CatalogResult.DONE]
        assert [lease.delivery_id for lease in await stage.claim()] == held

    @scenario
    async def test_what_waits_until_another_moment_goes_on_waiting(self, stage: Stage) -> None:
        destination, now_ms = stage.destination(), stage.clock.now_ms()
        await _held(stage, destination, now_ms + HELD_MS - 1)
        await _held(stage, destination, now_ms + HELD_MS + 1)
        await stage.engine.catalog_write([Hurry(stage.organisation, destination, now_ms + HELD_MS, now_ms)])
        assert await stage.claim() == []

    @scenario
    async def test_it_is_one_destinations_alone_and_no_other_organisations(self, stage: Stage) -> None:
        mine, other = stage.destinations(2)
        now_ms = stage.clock.now_ms()
        for each in (mine, other):
            await _held(stage, each, now_ms + HELD_MS)
        until_ms = now_ms + HELD_MS
        await stage.engine.catalog_write([Hurry(stage.foreign, mine, until_ms, now_ms)])
        assert await stage.claim() == []
        await stage.engine.catalog_write([Hurry(stage.organisation, mine, until_ms, now_ms)])
        assert [lease.destination_id for lease in await stage.claim()] == [mine]

    @scenario
    async def test_what_is_being_sent_keeps_its_lease(self, stage: Stage) -> None:
        destination = stage.destination()
        await stage.store(stage.new(destination))
        lease = await stage.claim_one()
        now_ms = stage.clock.now_ms()
        await stage.engine.catalog_write([Hurry(stage.organisation, destination, lease.until_ms, now_ms)])
        assert await stage.claim() == []
        assert (await stage.delivery(lease.delivery_id)).state is DeliveryState.LEASED

    @scenario
    async def test_a_change_that_is_refused_lets_nothing_go(self, stage: Stage) -> None:
        now_ms = stage.clock.now_ms()
        quiet = Destination(
            id=stage.destination(),
            organisation_id=stage.organisation,
            name="d",
            transport=Transport.DISCORD,
            created_ms=now_ms,
            updated_ms=now_ms,
            quiet_hours=QuietHours(start="00:00", end="01:00"),
        )
        await stage.engine.catalog_write([Save(quiet)])
        await _held(stage, quiet.id, now_ms + HELD_MS)
        loud = msgspec.structs.replace(quiet, quiet_hours=None, revision=99)
        hurry = Hurry(stage.organisation, quiet.id, now_ms + HELD_MS, now_ms)
        results = await stage.engine.catalog_write([hurry, Save(loud)])
        assert results == [CatalogResult.SKIPPED, CatalogResult.CHANGED_MEANWHILE]
        assert await stage.claim() == []
