"""``mailbox_write`` and what ``accept`` puts into mailboxes."""

from __future__ import annotations

import msgspec

from tocsin.core.device import Device, MailboxItem, Platform, PushType
from tocsin.core.event import Event
from tocsin.core.identifiers import ChannelId, DeliveryId, EventId
from tocsin.core.organisation import Channel
from tocsin.engine.rows import (
    AckItem,
    KeepSubscriptions,
    MailboxOp,
    MailboxQuery,
    MailboxResult,
    PutItem,
    Remove,
    Save,
    SaveDevice,
    Subscribe,
    SubscriptionQuery,
    Unsubscribe,
)
from tocsin.testing.engine_contract.stage import Stage, scenario

DONE, UNCHANGED, LIMIT = MailboxResult.DONE, MailboxResult.UNCHANGED, MailboxResult.LIMIT
NOT_FOUND = MailboxResult.NOT_FOUND


async def _write(stage: Stage, *ops: MailboxOp) -> list[MailboxResult]:
    return await stage.engine.mailbox_write(ops)


async def _device(stage: Stage, key: str) -> Device:
    device = Device(
        key=key, organisation_id=stage.organisation, platform=Platform.ANDROID, changed_ms=stage.clock.now_ms()
    )
    assert await _write(stage, SaveDevice(device)) == [DONE]
    return device


def _subscribe(stage: Stage, key: str, channel: ChannelId, *, limit: int = 100) -> Subscribe:
    return Subscribe(stage.organisation, key, channel, limit)


async def _subscriptions(stage: Stage, key: str) -> list[ChannelId]:
    return await stage.all(SubscriptionQuery(organisation_id=stage.organisation, device_key=key), limit=2)


async def _waiting(stage: Stage, key: str) -> list[MailboxItem]:
    query = MailboxQuery(organisation_id=stage.organisation, device_key=key, now_ms=stage.clock.now_ms())
    return await stage.all(query, limit=2)


async def _send(stage: Stage, channel: ChannelId, *, kept_ms: int = 1000) -> Event:
    new = stage.new(mailbox=(channel, stage.clock.now_ms() + kept_ms))
    await stage.store(new)
    return new.event


class DeviceContract:
    """Devices and their subscriptions."""

    @scenario
    async def test_a_device_is_saved_and_replaced(self, stage: Stage) -> None:
        device = await _device(stage, "ä")
        assert await stage.engine.find(Device, stage.organisation, ["ä".encode(), b"none"]) == [device, None]
        changed = msgspec.structs.replace(device, push_type=PushType.FCM, replaced_by="b")
        assert await _write(stage, SaveDevice(changed)) == [DONE]
        assert await stage.engine.find(Device, stage.organisation, ["ä".encode()]) == [changed]

    @scenario
    async def test_a_device_subscribes_and_ends_it(self, stage: Stage) -> None:
        await _device(stage, "d")
        channels = sorted(ChannelId(stage.id()) for _ in range(5))
        for channel in channels:
            assert await _write(stage, _subscribe(stage, "d", channel)) == [DONE]
        assert await _write(stage, _subscribe(stage, "d", channels[0])) == [UNCHANGED]
        assert await _subscriptions(stage, "d") == channels
        end = Unsubscribe(stage.organisation, "d", channels[2])
        assert await _write(stage, end, end) == [DONE, UNCHANGED]
        assert await _subscriptions(stage, "d") == channels[:2] + channels[3:]

    @scenario
    async def test_an_unknown_device_cannot_subscribe(self, stage: Stage) -> None:
        channel = ChannelId(stage.id())
        assert await _write(stage, _subscribe(stage, "none", channel)) == [NOT_FOUND]
        assert await _subscriptions(stage, "none") == []

    @scenario
    async def test_a_channel_takes_no_more_devices_than_its_limit(self, stage: Stage) -> None:
        channel = ChannelId(stage.id())
        for number in range(4):
            await _device(stage, f"d{number}")
        ops = [_subscribe(stage, f"d{number}", channel, limit=3) for number in range(4)]
        assert await _write(stage, *ops) == [DONE, DONE, DONE, LIMIT]
        assert await _write(stage, ops[0]) == [UNCHANGED], "who is in stays in"
        await _write(stage, Unsubscribe(stage.organisation, "d1", channel))
        assert await _write(stage, ops[3], ops[1]) == [DONE, LIMIT]

    @scenario
    async def test_a_removed_channel_has_no_subscribers(self, stage: Stage) -> None:
        channels = [
            Channel(
                id=ChannelId(stage.id()),
                organisation_id=stage.organisation,
                name=name,
                password_hash="",
                created_ms=stage.clock.now_ms(),
            )
            for name in ("stays", "goes")
        ]
        stays, goes = channels
        await stage.engine.catalog_write([Save(each) for each in channels])
        await _device(stage, "d")
        await _write(stage, *(_subscribe(stage, "d", each.id) for each in channels))
        nothing = Remove(Channel, stage.organisation, stage.id())
        await stage.engine.catalog_write([Remove(Channel, stage.organisation, goes.id), nothing])
        assert len(await _subscriptions(stage, "d")) == 2, "a refused removal removes nothing"
        await stage.engine.catalog_write([Remove(Channel, stage.organisation, goes.id)])
        assert await _subscriptions(stage, "d") == [stays.id]

    @scenario
    async def test_only_the_subscriptions_named_are_kept(self, stage: Stage) -> None:
        for key in ("d", "e"):
            await _device(stage, key)
        channels = sorted(ChannelId(stage.id()) for _ in range(4))
        await _write(stage, *(_subscribe(stage, key, each) for key in ("d", "e") for each in channels))
        kept = (channels[3], channels[1], ChannelId(stage.id()))
        keep = KeepSubscriptions(stage.organisation, "d", kept)
        assert await _write(stage, keep, keep) == [DONE, UNCHANGED]
        assert await _subscriptions(stage, "d") == [channels[1], channels[3]]
        assert await _write(stage, KeepSubscriptions(stage.organisation, "d", ())) == [DONE]
        assert await _subscriptions(stage, "d") == []
        assert await _subscriptions(stage, "e") == channels


class MailboxContract:
    """What waits for devices."""

    @scenario
    async def test_an_event_waits_for_every_device_of_its_channel(self, stage: Stage) -> None:
        channel, other = ChannelId(stage.id()), ChannelId(stage.id())
        for key in ("a", "b", "c"):
            await _device(stage, key)
        await _write(stage, _subscribe(stage, "a", channel), _subscribe(stage, "b", channel))
        await _write(stage, _subscribe(stage, "c", other))
        events = [await _send(stage, channel) for _ in range(5)]
        for key in ("a", "b"):
            items = await _waiting(stage, key)
            assert [item.event for item in items] == events
            assert len({item.delivery_id for item in items}) == 5
            assert items[0].expires_ms == stage.clock.now_ms() + 1000
        assert await _waiting(stage, "c") == []

    @scenario
    async def test_who_subscribes_later_gets_what_comes_later(self, stage: Stage) -> None:
        channel = ChannelId(stage.id())
        await _device(stage, "a")
        await _send(stage, channel)
        await _write(stage, _subscribe(stage, "a", channel))
        event = await _send(stage, channel)
        await _write(stage, Unsubscribe(stage.organisation, "a", channel))
        await _send(stage, channel)
        assert [item.event for item in await _waiting(stage, "a")] == [event]

    @scenario
    async def test_an_item_is_gone_once_it_is_acknowledged(self, stage: Stage) -> None:
        channel = ChannelId(stage.id())
        for key in ("a", "b"):
            await _device(stage, key)
            await _write(stage, _subscribe(stage, key, channel))
        await _send(stage, channel)
        (item,) = await _waiting(stage, "a")
        ack = AckItem(stage.organisation, "a", item.delivery_id)
        assert await _write(stage, ack, ack) == [DONE, UNCHANGED]
        assert await _waiting(stage, "a") == []
        assert len(await _waiting(stage, "b")) == 1

    @scenario
    async def test_an_item_is_gone_when_its_time_is_over(self, stage: Stage) -> None:
        channel = ChannelId(stage.id())
        await _device(stage, "a")
        await _write(stage, _subscribe(stage, "a", channel))
        await _send(stage, channel, kept_ms=1000)
        stage.clock.advance_ms(999)
        assert len(await _waiting(stage, "a")) == 1
        stage.clock.advance_ms(1)
        assert await _waiting(stage, "a") == []

    @scenario
    async def test_one_item_is_found_by_its_delivery(self, stage: Stage) -> None:
        channel = ChannelId(stage.id())
        await _device(stage, "a")
        await _write(stage, _subscribe(stage, "a", channel))
        events = [await _send(stage, channel) for _ in range(3)]
        item = (await _waiting(stage, "a"))[1]
        query = MailboxQuery(
            organisation_id=stage.organisation,
            device_key="a",
            now_ms=stage.clock.now_ms(),
            delivery_id=item.delivery_id,
        )
        assert await stage.all(query) == [item]
        assert item.event == events[1]

    @scenario
    async def test_a_delivery_puts_its_event_into_one_mailbox_once(self, stage: Stage) -> None:
        await _device(stage, "a")
        new = stage.new(stage.destination())
        await stage.store(new)
        delivery_id = new.deliveries[0].id
        expires_ms = stage.clock.now_ms() + 50
        put = PutItem(stage.organisation, "a", delivery_id, new.event.id, expires_ms)
        assert await _write(stage, put, put) == [DONE, UNCHANGED]
        assert await _waiting(stage, "a") == [
            MailboxItem(delivery_id=delivery_id, event=new.event, expires_ms=expires_ms)
        ]

    @scenario
    async def test_what_is_not_there_is_not_put(self, stage: Stage) -> None:
        await _device(stage, "a")
        new = stage.new()
        await stage.store(new)
        expires_ms = stage.clock.now_ms() + 50
        delivery_id, nothing = DeliveryId(stage.id()), EventId(stage.id())
        ops = [
            PutItem(stage.organisation, "none", delivery_id, new.event.id, expires_ms),
            PutItem(stage.organisation, "a", delivery_id, nothing, expires_ms),
        ]
        assert await _write(stage, *ops) == [NOT_FOUND, NOT_FOUND]
        assert await _waiting(stage, "a") == []

    @scenario
    async def test_mailboxes_outlive_a_restart(self, stage: Stage) -> None:
        channel = ChannelId(stage.id())
        await _device(stage, "a")
        await _write(stage, _subscribe(stage, "a", channel))
        event = await _send(stage, channel)
        await stage.reopen()
        assert await _subscriptions(stage, "a") == [channel]
        assert [item.event for item in await _waiting(stage, "a")] == [event]
