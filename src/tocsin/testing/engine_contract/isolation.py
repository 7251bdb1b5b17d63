"""No read and no write reaches another organisation's things, whatever ids it is given."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.delivery import Delivery
from tocsin.core.destination import Destination, Transport
from tocsin.core.device import Device, Platform
from tocsin.core.environment import Environment
from tocsin.core.event import Event
from tocsin.core.identifiers import ChannelId, DeliveryId, KeyId, OrganisationId
from tocsin.core.incident import Incident, IncidentAction, IncidentChange
from tocsin.core.organisation import Category
from tocsin.core.quota import QuotaCharge
from tocsin.core.transaction import TransactionRefusal, TransactionState
from tocsin.engine.rows import (
    AckItem,
    AmendmentResult,
    AttemptQuery,
    Cancel,
    CatalogResult,
    DeliveryQuery,
    EventQuery,
    EventRow,
    IncidentQuery,
    KeepSubscriptions,
    MailboxQuery,
    MailboxResult,
    NewEvent,
    PutItem,
    Query,
    Remove,
    Retry,
    Save,
    SaveDevice,
    StandingQuery,
    Subscribe,
    SubscriptionQuery,
    TransactionQuery,
    TransactionStep,
    TransactionTally,
    Unsubscribe,
)
from tocsin.testing.engine_contract.consuming import begin_step, end_step, move_step
from tocsin.testing.engine_contract.stage import Stage, scenario

KEY = "device"


class _Estate:
    """One organisation with one of everything."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.channel = ChannelId(stage.id())
        self.new: NewEvent
        self.device = Device(key=KEY, organisation_id=stage.organisation, platform=Platform.IOS, changed_ms=0)

    async def build(self) -> None:
        stage = self.stage
        subscribe = Subscribe(stage.organisation, KEY, self.channel, 9)
        await stage.engine.mailbox_write([SaveDevice(self.device), subscribe])
        self.new = stage.new(
            stage.destination(),
            incident=IncidentChange(action=IncidentAction.CREATE, channel="c", at_ms=1),
            quota=QuotaCharge("c", None),
            mailbox=(self.channel, stage.clock.now_ms() + 1000),
        )
        await stage.store(self.new)
        await stage.put_off(await stage.claim_one(), stage.clock.now_ms() + 1)
        await stage.engine.transact([begin_step(stage, self.new.event.id)])

    @property
    def delivery_id(self) -> DeliveryId:
        return self.new.deliveries[0].id

    def queries(self, organisation: OrganisationId) -> list[Query[Any]]:
        event = self.new.event
        return [
            EventQuery(organisation_id=organisation),
            EventQuery(organisation_id=organisation, destination_id=self.new.deliveries[0].destination_id),
            EventQuery(organisation_id=organisation, type=event.type),
            EventQuery(organisation_id=organisation, source=event.source),
            DeliveryQuery(organisation_id=organisation),
            DeliveryQuery(organisation_id=organisation, event_id=event.id),
            DeliveryQuery(organisation_id=organisation, destination_id=self.new.deliveries[0].destination_id),
            AttemptQuery(organisation_id=organisation, event_id=event.id),
            AttemptQuery(organisation_id=organisation, delivery_id=self.delivery_id),
            TransactionQuery(organisation_id=organisation),
            TransactionQuery(organisation_id=organisation, tx_key="k"),
            TransactionQuery(organisation_id=organisation, event_id=event.id),
            *(
                StandingQuery(
                    organisation_id=organisation,
                    tx_key=tx_key,
                    type=event.type,
                    environment=event.environment,
                    state=state,
                )
                for tx_key, state in (("other", None), ("k", TransactionState.PROCESSING))
            ),
            IncidentQuery(organisation_id=organisation, environment=Environment.LIVE),
            SubscriptionQuery(organisation_id=organisation, device_key=KEY),
            MailboxQuery(organisation_id=organisation, device_key=KEY, now_ms=self.stage.clock.now_ms()),
        ]

    async def seen(self, organisation: OrganisationId) -> list[Any]:
        """Return all that an organisation can see of it."""
        engine, event_id = self.stage.engine, self.new.event.id
        found: list[Any] = []
        for query in self.queries(organisation):
            page = await engine.search(query, limit=9)
            found.append((page.rows, page.total))
        kinds: list[tuple[type[Any], bytes]] = [
            (Event, event_id),
            (EventRow, event_id),
            (Incident, event_id),
            (Delivery, self.delivery_id),
            (Device, KEY.encode()),
            (TransactionTally, event_id),
        ]
        for kind, identifier in kinds:
            found.append(await engine.find(kind, organisation, [identifier]))
        return [*found, await engine.usage(organisation, "c")]


class IsolationContract:
    """What is another organisation's is not there."""

    @scenario
    async def test_no_read_shows_another_organisations_things(self, stage: Stage) -> None:
        estate = _Estate(stage)
        await estate.build()
        own = await estate.seen(stage.organisation)
        assert all(each not in (([], 0), [None], 0) for each in own), "the check sees what is there"
        foreign = await estate.seen(stage.foreign)
        assert all(each in (([], 0), [None], 0) for each in foreign)

    @scenario
    async def test_no_write_changes_another_organisations_things(self, stage: Stage) -> None:
        estate = _Estate(stage)
        await estate.build()
        before = await estate.seen(stage.organisation)
        event_id, delivery_id, now_ms = estate.new.event.id, estate.delivery_id, stage.clock.now_ms()
        foreign = stage.foreign

        amended = await stage.engine.amend(
            [
                Cancel(foreign, delivery_id),
                Retry(foreign, delivery_id, now_ms),
            ]
        )
        assert amended == [AmendmentResult.NOT_FOUND] * 2

        steps: list[TransactionStep] = [
            msgspec.structs.replace(begin_step(stage, event_id, "new"), organisation_id=foreign),
            msgspec.structs.replace(end_step(stage, event_id), organisation_id=foreign),
            msgspec.structs.replace(move_step(stage, event_id, TransactionState.FAILED), organisation_id=foreign),
        ]
        assert await stage.engine.transact(steps) == [TransactionRefusal.NOT_FOUND] * 3

        taken = msgspec.structs.replace(estate.device, organisation_id=foreign, replaced_by="mine")
        written = await stage.engine.mailbox_write(
            [
                SaveDevice(taken),
                Subscribe(foreign, KEY, estate.channel, 9),
                Unsubscribe(foreign, KEY, estate.channel),
                KeepSubscriptions(foreign, KEY, ()),
                AckItem(foreign, KEY, DeliveryId(event_id)),
                PutItem(foreign, KEY, delivery_id, event_id, now_ms + 9),
            ]
        )
        assert not any(each in (MailboxResult.DONE, MailboxResult.LIMIT) for each in written)

        await stage.store(
            stage.new(organisation=foreign, replay_of=event_id),
            stage.new(organisation=foreign, mailbox=(estate.channel, now_ms + 1000)),
            stage.new(organisation=foreign, quota=QuotaCharge("c", 1)),
        )
        assert await estate.seen(stage.organisation) == before

    @scenario
    async def test_another_organisations_subscribers_do_not_fill_a_channel(self, stage: Stage) -> None:
        estate = _Estate(stage)
        await estate.build()
        theirs = msgspec.structs.replace(estate.device, key="theirs", organisation_id=stage.foreign)
        ours = msgspec.structs.replace(estate.device, key="ours")
        results = await stage.engine.mailbox_write(
            [
                SaveDevice(theirs),
                SaveDevice(ours),
                Subscribe(stage.foreign, "theirs", estate.channel, 1),
                Subscribe(stage.organisation, "ours", estate.channel, 2),
            ]
        )
        assert results == [MailboxResult.DONE] * 4
        await stage.store(stage.new(mailbox=(estate.channel, stage.clock.now_ms() + 1000)))
        query = MailboxQuery(organisation_id=stage.foreign, device_key="theirs", now_ms=stage.clock.now_ms())
        assert await stage.all(query) == []

    @scenario
    async def test_the_catalog_is_changed_by_its_own_organisation_only(self, stage: Stage) -> None:
        now_ms = stage.clock.now_ms()
        category = Category(
            id=KeyId(stage.id()), organisation_id=stage.organisation, name="c", color=1, created_ms=now_ms
        )
        await stage.engine.catalog_write([Save(category)])
        before = await stage.engine.catalog_since(0)
        (stands,) = before.saved
        taken = msgspec.structs.replace(stands, organisation_id=stage.foreign)
        other_kind = Destination(
            id=stands.id,  # type: ignore[arg-type]
            organisation_id=stage.foreign,
            name="d",
            transport=Transport.WEBHOOK,
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        assert await stage.engine.catalog_write([Save(taken)]) == [CatalogResult.CHANGED_MEANWHILE]
        fresh = msgspec.structs.replace(taken, revision=0)
        assert await stage.engine.catalog_write([Save(fresh)]) == [CatalogResult.CHANGED_MEANWHILE]
        removal = Remove(Category, stage.foreign, stands.id)
        assert await stage.engine.catalog_write([removal]) == [CatalogResult.NOT_FOUND]
        assert await stage.engine.catalog_since(0) == before
        assert await stage.engine.catalog_write([Save(other_kind)]) == [CatalogResult.DONE]
        assert stands in (await stage.engine.catalog_since(0)).saved
