"""``measure``: how much is live and waits."""

from __future__ import annotations

from tocsin.core.device import Device, Platform
from tocsin.core.identifiers import ChannelId, DeliveryId, EventId
from tocsin.engine.rows import PutItem, QueueDepth, SaveDevice
from tocsin.testing.engine_contract.stage import LEASE_MS, Stage, scenario

_KEY = "measured"


async def _queues(stage: Stage) -> dict[bytes, QueueDepth]:
    return {each.destination_id: each for each in (await stage.engine.measure()).queues}


class MeasureContract:
    """What a measurement says, and of what it says nothing."""

    @scenario
    async def test_an_empty_store_measures_nothing(self, stage: Stage) -> None:
        measured = await stage.engine.measure()
        assert (measured.queues, measured.mailbox_items) == ((), 0)

    @scenario
    async def test_each_live_delivery_is_counted_once_by_how_it_stands(self, stage: Stage) -> None:
        one, other = stage.destinations(2)
        began_ms = stage.clock.now_ms()
        await stage.store(stage.new(one), stage.new(one, organisation=stage.foreign), stage.new(one, leased=True))
        await stage.store(*(stage.new(other, lane=b"lane") for _ in range(3)))
        stage.clock.advance_ms(5000)
        put_off = (await stage.claim(limit=1, skip=frozenset({other})))[0]
        await stage.put_off(put_off, stage.clock.now_ms() + 1)

        assert await _queues(stage) == {
            one: QueueDepth(destination_id=one, due=1, scheduled=1, leased=1, oldest_due_ms=began_ms),
            other: QueueDepth(destination_id=other, due=1, blocked=2, oldest_due_ms=began_ms),
        }

    @scenario
    async def test_a_lease_that_ran_out_is_due_since_then(self, stage: Stage) -> None:
        (destination,) = stage.destinations(1)
        await stage.store(stage.new(destination, leased=True))
        ends_ms = stage.clock.now_ms() + LEASE_MS
        stage.clock.advance_ms(LEASE_MS + 1000)
        assert await _queues(stage) == {
            destination: QueueDepth(destination_id=destination, due=1, oldest_due_ms=ends_ms)
        }

    @scenario
    async def test_what_is_final_is_not_counted(self, stage: Stage) -> None:
        (destination,) = stage.destinations(1)
        await stage.store(stage.new(destination))
        await stage.finish(await stage.claim_one())
        assert await _queues(stage) == {}

    @scenario
    async def test_items_in_mailboxes_are_counted(self, stage: Stage) -> None:
        now_ms = stage.clock.now_ms()
        device = Device(key=_KEY, organisation_id=stage.organisation, platform=Platform.ANDROID, changed_ms=now_ms)
        (stored,) = await stage.store(stage.new(mailbox=(ChannelId(stage.id()), now_ms + 1000)))
        item = PutItem(stage.organisation, _KEY, DeliveryId(stage.id()), EventId(stored.event.id), now_ms + 1000)
        await stage.engine.mailbox_write([SaveDevice(device), item])
        assert (await stage.engine.measure()).mailbox_items == 1
