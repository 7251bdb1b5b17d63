"""What passes with time: replaced keys, waiting items, remembered op_ids; the clock is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from dialects.pushgo.stage import Gateway, Play
from tocsin.core.clock import DAY_MS
from tocsin.core.device import Device, Platform, PushType
from tocsin.core.errors import InvalidRequest, Unavailable
from tocsin.core.event import Event
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId, bucket_of
from tocsin.core.incident import Incident, IncidentState
from tocsin.dialects.pushgo import PushGoLimits


def test_a_replaced_key_leads_to_its_successor_for_ten_minutes(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        old, _ = await gateway.register("ios")
        new, reason = await gateway.register("android", old)
        assert reason == "platform_mismatch"
        gateway.clock.wall_ms += 600_000
        assert await gateway.register("android", old) == (new, "platform_mismatch")
        gateway.clock.wall_ms += 1
        third, reason = await gateway.register("android", old)
        assert reason == "device_key_not_found"
        assert third not in {old, new}

    play(scenario)


def test_requests_that_race_to_replace_a_key_get_one_successor(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        old, _ = await gateway.register("ios")
        answers = await asyncio.gather(*(gateway.register("android", old) for _ in range(5)))
        assert len(set(answers)) == 1

    play(scenario)


def test_a_key_that_is_replaced_in_a_race_does_not_come_back(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        for route, more in [("/channel/device", {"provider_token": "b" * 64}), ("/channel/device/delete", {})]:
            for place in range(4):
                gateway.engine.reads_before = 0
                old, _ = await gateway.register("ios")
                change = {"device_key": old, "channel_type": "apns"}
                await gateway.post("/channel/device", **change, provider_token="a" * 64)
                gateway.engine.reads_before = 20
                racing: list[Awaitable[Any]] = [gateway.tried(route, **change, **more) for _ in range(3)]
                racing.insert(place, gateway.register("android", old))
                await asyncio.gather(*racing)
                gone = await gateway.device(old)
                assert gone.replaced_by is not None
                assert gone.provider_token is None

    play(scenario)


def test_no_more_channels_are_made_than_may_be(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        key, _ = await gateway.register("ios")
        wanted = {"device_key": key, "password": "pass-1234"}
        racing = (gateway.tried("/channel/subscribe", **wanted, channel_name="c") for _ in range(6))
        answers = await asyncio.gather(*racing)
        made = [each["channel_id"] for each in answers if isinstance(each, dict)]
        refused = [each for each in answers if isinstance(each, InvalidRequest)]
        assert (len(made), {each.code for each in refused}) == (3, {"channel_limit_exceeded"})
        assert (await gateway.post("/channel/subscribe", **wanted, channel_id=made[0]))["subscribed"]

    play(scenario, PushGoLimits(channels_max=3))


def test_the_attrs_of_an_incident_do_not_grow_without_end(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        _, channel = await gateway.subscribed()
        created = await gateway.post("/event/create", **event(channel, attrs={"a": 1}))
        update = {**event(channel), "event_id": created["event_id"]}
        await gateway.post("/event/update", **update, attrs={"b": 22})
        refused = await gateway.tried("/event/update", **update, attrs={"c": 333})
        assert isinstance(refused, InvalidRequest)
        assert refused.code == "attrs_too_large"
        assert (await gateway.post("/event/close", **update))["accepted"]

    play(scenario, PushGoLimits(incident_attrs_bytes_max=len(b'{"a":1,"b":22}')))


def test_a_replaced_device_is_kept_without_its_vendor_address(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        old, _ = await gateway.register("ios")
        await gateway.post("/channel/device", device_key=old, channel_type="apns", provider_token="a" * 64)
        new, _ = await gateway.register("android", old)
        gone = await gateway.device(old)
        assert (gone.replaced_by, gone.provider_token) == (new, None)
        assert await gateway.device(new) == Device(
            key=new,
            organisation_id=DEFAULT_ORGANISATION,
            platform=Platform.ANDROID,
            changed_ms=gateway.clock.wall_ms,
        )

    play(scenario)


def test_a_vendor_address_is_stored_and_forgotten_and_its_type_stays(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        key, _ = await gateway.register("windows")
        assert (await gateway.device(key)).push_type is PushType.PRIVATE
        await gateway.post("/channel/device", device_key=key, channel_type="wns", provider_token="t" * 16)
        device = await gateway.device(key)
        assert (device.push_type, device.provider_token) == (PushType.WNS, "t" * 16)
        await gateway.post("/channel/device/delete", device_key=key, channel_type="wns")
        device = await gateway.device(key)
        assert (device.push_type, device.provider_token) == (PushType.WNS, None)

    play(scenario)


def event(channel: str, **fields: Any) -> dict[str, Any]:
    return {
        "channel_id": channel,
        "password": "pass-1234",
        "title": "T",
        "status": "s",
        "message": "m",
        "severity": "low",
        "event_time": 1,
        **fields,
    }


def test_an_item_waits_for_thirty_days(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        key, channel = await gateway.subscribed()
        await gateway.post("/event/create", **event(channel))
        await gateway.post("/message", channel_id=channel, password="pass-1234", title="T")
        gateway.clock.wall_ms += 30 * DAY_MS - 1
        assert len(await gateway.pulled(key)) == 2
        gateway.clock.wall_ms += 1
        assert await gateway.pulled(key) == []

    play(scenario)


def test_a_message_waits_until_its_ttl(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        key, channel = await gateway.subscribed()
        message = {"channel_id": channel, "password": "pass-1234", "title": "T"}
        now_ms = gateway.clock.wall_ms
        for ttl in (now_ms + 5000, now_ms + 31 * DAY_MS, now_ms, now_ms - 1):
            await gateway.post("/message", **message, ttl=ttl)
        assert [each["ttl"] for each in await gateway.pulled(key)] == [str(now_ms + 5000), str(now_ms + 30 * DAY_MS)]
        gateway.clock.wall_ms += 5000
        assert [each["ttl"] for each in await gateway.pulled(key)] == [str(now_ms + 30 * DAY_MS)]

    play(scenario)


def test_a_far_ttl_is_the_same_request_a_second_later(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        _, channel = await gateway.subscribed()
        message = {"channel_id": channel, "password": "pass-1234", "title": "T", "op_id": "o", "ttl": 4102444800}
        first = await gateway.post("/message", **message)
        gateway.clock.wall_ms += 1000
        assert await gateway.post("/message", **message) == first

    play(scenario)


def test_an_op_id_is_recognised_for_seven_days(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        _, channel = await gateway.subscribed()
        first = await gateway.post("/event/create", **event(channel, op_id="o"))
        gateway.clock.wall_ms += 7 * DAY_MS - 1
        assert await gateway.post("/event/create", **event(channel, op_id="o")) == first
        gateway.clock.wall_ms += 1
        again = await gateway.post("/event/create", **event(channel, op_id="o"))
        assert again["event_id"] != first["event_id"]

    play(scenario)


def test_repeats_at_the_same_moment_get_one_answer(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        key, channel = await gateway.subscribed()
        requests = [gateway.post("/event/create", **event(channel, op_id="o")) for _ in range(20)]
        answers = await asyncio.gather(*requests)
        assert all(answer == answers[0] for answer in answers)
        assert len(await gateway.pulled(key)) == 1

    play(scenario)


def test_an_op_id_is_each_event_s_own_wherever_the_events_are_kept(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        _, channel = await gateway.subscribed()
        by_bucket: dict[int, str] = {}
        neighbours: tuple[str, str] | None = None
        while neighbours is None:
            name = (await gateway.post("/event/create", **event(channel)))["event_id"]
            other = by_bucket.setdefault(bucket_of(bytes.fromhex(name)), name)
            neighbours = (other, name) if other != name else None
        for name in neighbours:
            update = {**event(channel), "event_id": name, "op_id": "o", "message": name}
            assert (await gateway.post("/event/update", **update))["event_id"] == name

    play(scenario)


def test_renames_that_race_are_carried_out_one_after_another(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        _, channel = await gateway.subscribed()
        wanted = {"channel_id": channel, "password": "pass-1234"}
        await asyncio.gather(*(gateway.post("/channel/rename", **wanted, channel_name=name) for name in ("a", "b")))
        assert (await gateway.post("/channel/rename", **wanted, channel_name="c"))["channel_name"] == "c"

    play(scenario)


def test_readyz_says_so_when_nothing_can_be_stored(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        assert await gateway.get("/readyz") == {"status": "ok"}
        await gateway.engine.close()
        with pytest.raises(Unavailable):
            await gateway.get("/readyz")
        assert (await gateway.get("/healthz"))["status"] == "ok"

    play(scenario)


def test_an_incident_holds_what_its_events_told_last(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        _, channel = await gateway.subscribed()
        created = await gateway.post(
            "/event/create",
            **event(channel, tags=["a"], images=["i"], attrs={"a": 1, "b": {"c": 1}}, metadata={"m": 10**30}),
        )
        name = created["event_id"]
        update = {**event(channel), "event_id": name, "event_time": 5}
        await gateway.post(
            "/event/update", **update | {"title": None, "tags": [], "attrs": {"a": None, "b": {"d": 2}}}
        )
        await gateway.post(
            "/event/close", **update | {"title": None, "status": "over", "event_time": 7, "ended_at": 6}
        )
        await gateway.post("/event/update", **update | {"title": "late", "event_time": 6})
        (incident,) = await gateway.engine.find(Incident, DEFAULT_ORGANISATION, [bytes.fromhex(name)])

        assert incident is not None
        assert incident.channel == channel
        assert incident.state is IncidentState.CLOSED
        assert (incident.opened_ms, incident.closed_ms) == (1000, 7000)
        assert incident.attrs == {"b": {"c": 1, "d": 2}}
        assert incident.profile == {
            "title": "T",
            "status": "over",
            "message": "m",
            "severity": "low",
            "tags": [],
            "images": ["i"],
            "metadata": {"m": 10**30},
            "started_at": 1000,
            "ended_at": 6000,
        }

    play(scenario)


def test_what_is_stored_names_its_source_type_and_subject_and_no_password(play: Play) -> None:
    async def scenario(gateway: Gateway) -> None:
        _, channel = await gateway.subscribed()
        created = await gateway.post("/event/create", **event(channel))
        sent = await gateway.post(
            "/message", channel_id=channel, password="pass-1234", title="T", thing_id="t", occurred_at=2**62
        )
        ids = [EventId(bytes.fromhex(text)) for text in (created["event_id"], sent["message_id"])]
        first, second = await gateway.engine.find(Event, DEFAULT_ORGANISATION, ids)

        assert first is not None
        assert second is not None
        assert {first.source, second.source} == {f"pushgo/channel/{channel}"}
        assert (first.type, second.type) == ("event.created", "message")
        assert (first.subject, second.subject) == (created["event_id"], "t")
        assert (first.time_ms, second.time_ms) == (1000, 253_402_300_799_999)
        for stored in (first, second):
            assert b"pass-1234" not in stored.data
            assert "pass-1234" not in str(stored.extension)
        assert msgspec.json.decode(second.data) == {
            "channel_id": channel,
            "title": "T",
            "thing_id": "t",
            "occurred_at": 2**62,
        }

    play(scenario)
