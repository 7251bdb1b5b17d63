"""``tail``, ``tend`` and a restart: what is kept, in which order, and for how long."""

from __future__ import annotations

import asyncio

from tocsin.core.clock import DAY_MS
from tocsin.core.delivery import DeliveryState
from tocsin.core.device import Device, Platform
from tocsin.core.errors import Unavailable
from tocsin.core.event import Event
from tocsin.core.identifiers import ChannelId, EventId
from tocsin.core.incident import Incident, IncidentAction, IncidentChange
from tocsin.core.quota import QuotaCharge
from tocsin.engine.rows import (
    Accepted,
    AttemptQuery,
    DeliveryQuery,
    EventQuery,
    MailboxQuery,
    Repeated,
    SaveDevice,
    StandingQuery,
    Subscribe,
    TransactionQuery,
    TransactionTally,
)
from tocsin.testing.engine_contract.consuming import begin_step
from tocsin.testing.engine_contract.stage import RETENTION_MS, Stage, scenario

BUDGET_MS = 10_000


async def _tended(stage: Stage) -> None:
    while await stage.engine.tend(BUDGET_MS):
        pass


async def _kept(stage: Stage, *events: Event) -> list[bool]:
    found = await stage.engine.find(Event, stage.organisation, [each.id for each in events])
    return [each is not None for each in found]


class TailContract:
    """``tail``: every event once, in the order in which it could be seen."""

    @scenario
    async def test_a_tail_starts_behind_the_newest(self, stage: Stage) -> None:
        assert (await stage.engine.tail(None, 10)).events == []
        await stage.store(stage.new())
        page = await stage.engine.tail(None, 10)
        assert page.events == []
        new = stage.new()
        await stage.store(new)
        page = await stage.engine.tail(page.cursor, 10)
        assert page.events == [new.event]
        again = await stage.engine.tail(page.cursor, 10)
        assert (again.events, again.cursor) == ([], page.cursor)

    @scenario
    async def test_ids_that_fall_do_not_matter(self, stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        new = [stage.new(id=stage.id_at(stage.clock.now_ms() - number * DAY_MS)) for number in range(5)]
        for each in new:
            await stage.store(each)
        seen = []
        for _ in range(5):
            page = await stage.engine.tail(cursor, 1)
            seen += page.events
            cursor = page.cursor
        assert seen == [each.event for each in new]

    @scenario
    async def test_followers_miss_nothing_of_what_many_store_at_once(self, stage: Stage) -> None:
        cursor = (await stage.engine.tail(None, 1)).cursor
        seen: list[EventId] = []
        stored: list[EventId] = []

        async def write() -> None:
            for size in range(1, 12):
                batch = [stage.new(organisation=stage.random.choice([None, stage.foreign])) for _ in range(size)]
                await stage.store(*batch)
                stored.extend(each.event.id for each in batch)

        async def follow(position: int) -> None:
            while len(seen) < 5 * 66:
                page = await stage.engine.tail(position, 7)
                position = page.cursor
                seen.extend(each.id for each in page.events)

        await asyncio.gather(follow(cursor), *(write() for _ in range(5)))
        assert len(seen) == len(set(seen))
        assert set(seen) == set(stored)

    @scenario
    async def test_a_cursor_outlives_a_restart_and_the_retention(self, stage: Stage) -> None:
        await stage.store(stage.new(), stage.new())
        cursor = (await stage.engine.tail(None, 1)).cursor
        stage.clock.advance_ms(RETENTION_MS + 1)
        await _tended(stage)
        await stage.reopen()
        new = stage.new()
        await stage.store(new)
        assert (await stage.engine.tail(cursor, 9)).events == [new.event]


class TendContract:
    """``tend``: what is past its time goes, what is under way stays."""

    @scenario
    async def test_history_past_its_time_goes_with_all_that_hangs_on_it(self, stage: Stage) -> None:
        old = stage.new(*stage.destinations(2))
        await stage.store(old)
        for lease in await stage.claim():
            await stage.finish(lease)
        await stage.engine.transact([begin_step(stage, old.event.id)])
        stage.clock.advance_ms(RETENTION_MS - 1000)
        young = stage.new(stage.destination())
        await stage.store(young)
        await stage.finish(await stage.claim_one())
        stage.clock.advance_ms(999)
        await _tended(stage)
        assert await _kept(stage, old.event, young.event) == [True, True]
        stage.clock.advance_ms(2)
        await _tended(stage)
        assert await _kept(stage, old.event, young.event) == [False, True]
        organisation = stage.organisation
        assert len(await stage.all(EventQuery(organisation_id=organisation))) == 1
        assert len(await stage.all(DeliveryQuery(organisation_id=organisation))) == 1
        assert await stage.all(AttemptQuery(organisation_id=organisation, event_id=old.event.id)) == []
        assert await stage.all(TransactionQuery(organisation_id=organisation)) == []
        assert await stage.engine.find(TransactionTally, organisation, [old.event.id]) == [None]

    @scenario
    async def test_an_event_under_way_stays_and_the_others_behind_it_go(self, stage: Stage) -> None:
        waiting = [stage.new(stage.destination()) for _ in range(300)]
        done = [stage.new() for _ in range(300)]
        await stage.store(*waiting)
        await stage.store(*done, stage.new())
        stage.clock.advance_ms(RETENTION_MS + 1)
        await _tended(stage)
        assert all(await _kept(stage, *(each.event for each in waiting)))
        assert not any(await _kept(stage, *(each.event for each in done)))
        for lease in await stage.claim():
            assert lease.event.id in {each.event.id for each in waiting}
            await stage.finish(lease, DeliveryState.EXPIRED)
        await _tended(stage)
        assert not any(await _kept(stage, *(each.event for each in waiting)))

    @scenario
    async def test_a_round_in_small_portions_drops_all_that_lies_between_what_is_kept(self, stage: Stage) -> None:
        waiting, done = [], []
        for _ in range(3):
            waiting += [stage.new(stage.destination()) for _ in range(250)]
            done += [stage.new() for _ in range(250)]
            await stage.store(*waiting[-250:])
            await stage.store(*done[-250:])
        await stage.store(stage.new())
        stage.clock.advance_ms(RETENTION_MS + 1)
        while await stage.engine.tend(1):
            pass
        assert all(await _kept(stage, *(each.event for each in waiting)))
        assert not any(await _kept(stage, *(each.event for each in done)))

    @scenario
    async def test_what_ends_behind_the_place_of_a_round_goes_in_the_next(self, stage: Stage) -> None:
        waiting = stage.new(stage.destination())
        await stage.store(waiting, stage.new())
        lease = await stage.claim_one()
        stage.clock.advance_ms(RETENTION_MS + 1)
        for state in (None, DeliveryState.EXPIRED):
            if state is not None:
                await stage.finish(lease, state)
            await _tended(stage)
            assert await _kept(stage, waiting.event) == [state is None]

    @scenario
    async def test_an_event_that_waits_in_a_mailbox_stays(self, stage: Stage) -> None:
        organisation, channel = stage.organisation, ChannelId(stage.id())
        device = Device(key="d", organisation_id=organisation, platform=Platform.IOS, changed_ms=0)
        await stage.engine.mailbox_write([SaveDevice(device), Subscribe(organisation, "d", channel, 9)])
        expires_ms = stage.clock.now_ms() + 2 * RETENTION_MS
        new = stage.new(mailbox=(channel, expires_ms))
        await stage.store(new, stage.new())
        stage.clock.advance_ms(RETENTION_MS + 1)
        await _tended(stage)
        query = MailboxQuery(organisation_id=organisation, device_key="d", now_ms=stage.clock.now_ms())
        assert [item.event for item in await stage.all(query)] == [new.event]
        stage.clock.advance_ms(RETENTION_MS)
        await _tended(stage)
        assert await _kept(stage, new.event) == [False]

    @scenario
    async def test_an_incident_stays_until_its_close_is_past_its_time(self, stage: Stage) -> None:
        start_ms = stage.clock.now_ms()
        create = stage.new(incident=IncidentChange(action=IncidentAction.CREATE, channel="c", at_ms=start_ms))
        await stage.store(create)
        incident_id = create.event.id
        stage.clock.advance_ms(2 * RETENTION_MS)
        await _tended(stage)
        close = IncidentChange(
            action=IncidentAction.CLOSE, channel="c", at_ms=stage.clock.now_ms(), incident_id=incident_id
        )
        await stage.store(stage.new(incident=close))
        await _tended(stage)
        assert (await stage.engine.find(Incident, stage.organisation, [incident_id]))[0] is not None
        stage.clock.advance_ms(RETENTION_MS + 1)
        await _tended(stage)
        assert await stage.engine.find(Incident, stage.organisation, [incident_id]) == [None]

    @scenario
    async def test_keys_in_time_stay_and_those_past_it_are_swept(self, stage: Stage) -> None:
        short = [stage.new(keys=[stage.key(f"s{number}", kept_ms=1000)]) for number in range(500)]
        long = stage.new(keys=[stage.key("long")])
        await stage.store(*short, long)
        stage.clock.advance_ms(1000)
        await _tended(stage)
        assert await stage.judge(stage.new(keys=[stage.key("long")])) == [Repeated(long.event.id)]
        (again,) = await stage.judge(stage.new(keys=[stage.key("s7")]))
        assert isinstance(again, Accepted)

    @scenario
    async def test_a_consumer_goes_on_where_history_was_dropped(self, stage: Stage) -> None:
        old = [stage.new() for _ in range(60)]
        await stage.store(*old)
        query = StandingQuery(
            organisation_id=stage.organisation, tx_key="k", type="happened", environment=old[0].event.environment
        )
        await stage.engine.transact([begin_step(stage, each.event.id) for each in old[:40]])
        assert len(await stage.all(query)) == 20
        stage.clock.advance_ms(RETENTION_MS + 1)
        new = stage.new()
        await stage.store(new)
        await _tended(stage)
        assert [row.event for row in await stage.all(query)] == [new.event]

    @scenario
    async def test_without_time_nothing_is_done_and_more_is_told(self, stage: Stage) -> None:
        assert await stage.engine.tend(0)
        assert not await stage.engine.tend(BUDGET_MS)


class LifeContract:
    """``open``, ``close`` and ``probe``."""

    @scenario
    async def test_everything_is_there_after_a_restart(self, stage: Stage) -> None:
        new = stage.new(stage.destination(), quota=QuotaCharge("c", None))
        await stage.store(new)
        lease = await stage.claim_one()
        await stage.put_off(lease, stage.clock.now_ms() + 5)
        before = await stage.delivery(lease.delivery_id)
        attempts = await stage.attempts(lease.delivery_id)
        await stage.reopen()
        assert await _kept(stage, new.event) == [True]
        assert await stage.delivery(lease.delivery_id) == before
        assert await stage.attempts(lease.delivery_id) == attempts
        assert await stage.engine.usage(stage.organisation, "c") == 1
        stage.clock.advance_ms(5)
        again = await stage.claim_one()
        assert again.attempts_made == 1
        assert again.number > lease.number

    @scenario
    async def test_a_settle_from_before_the_restart_does_not_count_after_it(self, stage: Stage) -> None:
        await stage.store(stage.new(stage.destination()))
        stale = await stage.claim_one()
        await stage.reopen()
        stage.clock.advance_ms(10 * 60_000)
        current = await stage.claim_one()
        assert not await stage.finish(stale)
        assert await stage.finish(current)

    @scenario
    async def test_the_probe_tells_what_the_store_promises(self, stage: Stage) -> None:
        info = await stage.engine.probe()
        assert info.engine
        assert info.version
        assert info == await stage.engine.probe()

    @scenario
    async def test_what_was_asked_before_the_close_is_finished(self, stage: Stage) -> None:
        new = [stage.new() for _ in range(20)]
        asked = [asyncio.create_task(stage.judge(each)) for each in new]
        await stage.engine.wait(0)
        await stage.close()
        results = await asyncio.gather(*asked)
        assert all(isinstance(each, Accepted) for (each,) in results)
        await stage.open()
        assert all(await _kept(stage, *(each.event for each in new)))

    @scenario
    async def test_a_closed_store_is_unavailable(self, stage: Stage) -> None:
        engine = stage.engine
        await stage.close()
        await engine.close()
        calls = [
            lambda: engine.accept([stage.new()], lease_until_ms=0),
            lambda: engine.claim(limit=1, per_destination=1, lease_until_ms=0),
            lambda: engine.find(Event, stage.organisation, [stage.id()]),
            lambda: engine.search(EventQuery(organisation_id=stage.organisation), limit=1),
            engine.probe,
        ]
        for call in calls:
            try:
                await call()
            except Unavailable:
                continue
            raise AssertionError("a closed store answered")
