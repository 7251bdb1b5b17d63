"""Texts: any that UTF-8 can write comes back as it was, and is found by what it is, the NUL among them."""

from __future__ import annotations

from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Filter
from tocsin.core.device import Device, Platform
from tocsin.core.environment import Environment
from tocsin.core.event import Event
from tocsin.core.identifiers import ChannelId
from tocsin.core.incident import IncidentAction, IncidentChange
from tocsin.core.quota import QuotaCharge
from tocsin.core.transaction import Transaction
from tocsin.engine.rows import (
    DeliveryQuery,
    EventQuery,
    Finished,
    IncidentQuery,
    MailboxQuery,
    SaveDevice,
    Settlement,
    StandingQuery,
    Subscribe,
    SubscriptionQuery,
    TransactionQuery,
)
from tocsin.testing.engine_contract.consuming import begin_step, end_step
from tocsin.testing.engine_contract.stage import Stage, scenario

ODD = ("\0", "a\0b", "a\x01b", "a\x01\x01b", "a\x01\x02b", "\x01\0", "ab", "a'b%_\\", "\x7f\u2028\U0010ffff")
"""Texts that some store takes for others, or does not take at all."""


class TextContract:
    """What an application calls its things."""

    @scenario
    async def test_any_text_names_an_event_and_finds_it(self, stage: Stage) -> None:
        events = [stage.event(source=each, type=each, subject=each) for each in ODD]
        await stage.store(*(stage.new(event=each) for each in events))
        assert await stage.engine.find(Event, stage.organisation, [each.id for each in events]) == events
        for text, event in zip(ODD, events, strict=True):
            for given in ({"source": text}, {"type": text}, {"subject": text}):
                query = EventQuery(organisation_id=stage.organisation, **given)  # type: ignore[arg-type]
                assert await stage.ids_of(query) == [event.id], (text, given)
        for pattern, count in (("a*", 6), ("a\0*", 1), ("a\x01*", 3), ("\0*", 1), ("*", 9)):
            query = EventQuery(organisation_id=stage.organisation, filter=Filter(types=(pattern,)))
            assert len(await stage.ids_of(query)) == count, pattern
        leases = await stage.claim()
        assert leases == []

    @scenario
    async def test_any_text_names_a_consumer_group_and_is_its_output(self, stage: Stage) -> None:
        event = stage.event(type="a\0b")
        await stage.store(stage.new(event=event))
        for text in ODD:
            await stage.engine.transact([begin_step(stage, event.id, text)])
            (ended,) = await stage.engine.transact([end_step(stage, event.id, text, output=text)])
            assert isinstance(ended, Transaction)
            query = TransactionQuery(organisation_id=stage.organisation, tx_key=text)
            assert [row.transaction for row in await stage.all(query)] == [ended]
            assert ended.output == text
            unstarted = StandingQuery(
                organisation_id=stage.organisation, tx_key=text, type="a\0b", environment=Environment.LIVE
            )
            assert await stage.all(unstarted) == []
        everything = await stage.all(TransactionQuery(organisation_id=stage.organisation), limit=2)
        assert [row.transaction.tx_key for row in everything] == sorted(ODD)

    @scenario
    async def test_any_text_names_a_device_a_channel_and_a_counter(self, stage: Stage) -> None:
        organisation, channel = stage.organisation, ChannelId(stage.id())
        expires_ms = stage.clock.now_ms() + 1000
        for text in ODD:
            device = Device(key=text, organisation_id=organisation, platform=Platform.IOS, changed_ms=0)
            await stage.engine.mailbox_write([SaveDevice(device), Subscribe(organisation, text, channel, 99)])
            assert await stage.engine.find(Device, organisation, [text.encode()]) == [device]
            assert await stage.all(SubscriptionQuery(organisation_id=organisation, device_key=text)) == [channel]
            change = IncidentChange(action=IncidentAction.CREATE, channel=text, at_ms=1)
            await stage.store(stage.new(incident=change, quota=QuotaCharge(text, 9)))
            assert await stage.engine.usage(organisation, text) == 1
            incidents = IncidentQuery(organisation_id=organisation, environment=Environment.LIVE, channel=text)
            assert [each.channel for each in await stage.all(incidents)] == [text]
        await stage.store(stage.new(mailbox=(channel, expires_ms)))
        for text in ODD:
            query = MailboxQuery(organisation_id=organisation, device_key=text, now_ms=stage.clock.now_ms())
            assert len(await stage.all(query)) == 1

    @scenario
    async def test_any_text_is_an_error(self, stage: Stage) -> None:
        new = [stage.new(stage.destination(), type=text) for text in ODD]
        await stage.store(*new)
        for lease, text in zip(await stage.claim(), ODD, strict=True):
            assert lease.event.type in ODD
            attempt = stage.attempt(500, error=text)
            await stage.engine.settle([Settlement(lease, attempt, Finished(DeliveryState.EXPIRED))])
            assert (await stage.delivery(lease.delivery_id)).error == text
            assert [each.attempt for each in await stage.attempts(lease.delivery_id)] == [attempt]
        rows = await stage.all(DeliveryQuery(organisation_id=stage.organisation, event_type="a\0b"))
        assert [row.event.type for row in rows] == ["a\0b"]
