"""``Posted``: what remotes call the messages that told a lane's subject."""

from __future__ import annotations

import msgspec

from tocsin.core.delivery import DeliveryState, Lease, Posted
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.engine.rows import AmendmentResult, Finished, Retry, RetryAt, Settlement
from tocsin.testing.engine_contract.stage import RETENTION_MS, Stage, scenario

LANE = b"subject"


async def _tell(stage: Stage, lease: Lease, remote_id: str | None) -> bool:
    attempt = msgspec.structs.replace(stage.attempt(), remote_id=remote_id)
    (verdict,) = await stage.engine.settle([Settlement(lease, attempt, Finished(DeliveryState.DELIVERED))])
    return verdict


async def _posted(
    stage: Stage, destination: DestinationId, lane: bytes = LANE, *, organisation: OrganisationId | None = None
) -> Posted | None:
    (found,) = await stage.engine.find(Posted, organisation or stage.organisation, [destination + lane])
    return found


class PostedContract:
    """The last message of each lane is known, and of nothing else."""

    @scenario
    async def test_the_last_message_of_a_lane_is_kept(self, stage: Stage) -> None:
        destination = stage.destination()
        events = [stage.new(destination, lane=LANE) for _ in range(2)]
        await stage.store(*events)
        assert await _posted(stage, destination) is None
        for new, remote_id in zip(events, ("m-1", "m-2"), strict=True):
            assert await _tell(stage, await stage.claim_one(), remote_id)
            assert await _posted(stage, destination) == Posted(
                organisation_id=stage.organisation,
                destination_id=destination,
                lane=LANE,
                event_id=new.event.id,
                remote_id=remote_id,
            )

    @scenario
    async def test_each_lane_of_each_destination_has_its_own(self, stage: Stage) -> None:
        one, two = stage.destinations(2)
        lanes = [(one, b"a"), (one, b"b"), (two, b"a")]
        await stage.store(*(stage.new(destination, lane=lane) for destination, lane in lanes))
        settlements = [
            Settlement(
                lease,
                msgspec.structs.replace(stage.attempt(), remote_id=f"{lease.destination_id.hex()}{lease.lane!r}"),
                Finished(DeliveryState.DELIVERED),
            )
            for lease in await stage.claim()
        ]
        assert all(await stage.engine.settle(settlements))
        for destination, lane in lanes:
            found = await _posted(stage, destination, lane)
            assert found is not None
            assert found.remote_id == f"{destination.hex()}{lane!r}"
        assert await _posted(stage, two, b"b") is None

    @scenario
    async def test_it_is_nobody_elses(self, stage: Stage) -> None:
        destination = stage.destination()
        await stage.store(stage.new(destination, lane=LANE))
        await _tell(stage, await stage.claim_one(), "m-1")
        assert await _posted(stage, destination, organisation=stage.foreign) is None

    @scenario
    async def test_what_was_not_delivered_in_a_lane_leaves_none(self, stage: Stage) -> None:
        plain, failing, silent, late = stage.destinations(4)
        await stage.store(stage.new(plain), *(stage.new(each, lane=LANE) for each in (failing, silent, late)))
        leases = {lease.destination_id: lease for lease in await stage.claim()}
        attempt = msgspec.structs.replace(stage.attempt(500, error="no"), remote_id="m-1")
        assert await _tell(stage, leases[plain], "m-1")
        assert await stage.engine.settle([Settlement(leases[failing], attempt, RetryAt(stage.clock.now_ms()))])
        assert await _tell(stage, leases[silent], None)
        stale = msgspec.structs.replace(leases[late], number=leases[late].number + 1)
        assert not await _tell(stage, stale, "m-1")
        for destination in (plain, failing, silent, late):
            assert await _posted(stage, destination) is None

    @scenario
    async def test_an_older_event_that_is_sent_again_does_not_take_its_place(self, stage: Stage) -> None:
        destination = stage.destination()
        older, newer = stage.new(destination, lane=LANE), stage.new(destination, lane=LANE)
        await stage.store(older, newer)
        for remote_id in ("m-1", "m-2"):
            assert await _tell(stage, await stage.claim_one(), remote_id)
        delivery_id = older.deliveries[0].id
        (result,) = await stage.engine.amend([Retry(stage.organisation, delivery_id, stage.clock.now_ms())])
        assert result is AmendmentResult.DONE
        assert await _tell(stage, await stage.claim_one(), "m-3")
        found = await _posted(stage, destination)
        assert found is not None
        assert (found.event_id, found.remote_id) == (newer.event.id, "m-2")

    @scenario
    async def test_it_goes_with_its_event(self, stage: Stage) -> None:
        old, young = stage.destinations(2)
        await stage.store(stage.new(old, lane=LANE))
        await _tell(stage, await stage.claim_one(), "m-1")
        stage.clock.advance_ms(RETENTION_MS)
        await stage.store(stage.new(young, lane=LANE))
        await _tell(stage, await stage.claim_one(), "m-2")
        stage.clock.advance_ms(1)
        while await stage.engine.tend(10_000):
            pass
        assert await _posted(stage, old) is None
        assert await _posted(stage, young) is not None
