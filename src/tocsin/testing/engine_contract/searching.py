"""``search``: every filter, every order, and pages that neither repeat nor leave out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import msgspec

from tocsin.core.delivery import Delivery, DeliveryPhase, DeliveryState, EventStatus, event_status, phase_of
from tocsin.core.event import Dialect, Environment, Event, Severity
from tocsin.core.identifiers import DeliveryId, EventId, created_ms
from tocsin.core.incident import IncidentAction, IncidentChange, IncidentState
from tocsin.core.transaction import Transaction, TransactionState
from tocsin.engine.rows import (
    AttemptQuery,
    DeliveryQuery,
    DeliveryRow,
    EventQuery,
    EventRow,
    IncidentQuery,
    NewEvent,
    TransactionQuery,
    TransactionStep,
)
from tocsin.testing.engine_contract.consuming import begin_step, end_step
from tocsin.testing.engine_contract.stage import Stage, scenario


async def _matched(stage: Stage, query: EventQuery, events: list[Event], fits: Callable[[Event], bool]) -> None:
    """Hold a search against a plain walk through the events, newest first unless the query says otherwise."""
    expected = [each.id for each in sorted(events, key=lambda each: each.id) if fits(each)]
    if not query.ascending:
        expected.reverse()
    assert await stage.ids_of(query, limit=7) == expected
    assert (await stage.search(query, limit=1)).total == len(expected)


class EventSearchContract:
    """Events, newest first."""

    @scenario
    async def test_every_filter_of_events_finds_what_a_walk_through_all_would(self, stage: Stage) -> None:
        pick = stage.random.choice
        events = []
        for _ in range(120):
            stage.clock.advance_ms(10)
            event = stage.event(
                dialect=pick(list(Dialect)),
                source=pick(["s/1", "s/2"]),
                type=pick(["t1", "t2"]),
                subject=pick([None, "u1", "u2"]),
                severity=pick([None, *Severity]),
                environment=pick(list(Environment)),
            )
            await stage.store(stage.new(event=event))
            events.append(event)
        for _ in range(80):
            chosen: dict[str, Any] = {
                "dialect": pick([None, *Dialect]),
                "source": pick([None, "s/1"]),
                "type": pick([None, "t2"]),
                "subject": pick([None, None, "u1"]),
                "severity": pick([None, None, *Severity]),
                "environment": pick([None, *Environment]),
            }
            given = {
                name: value for name, value in chosen.items() if value is not None and stage.random.random() < 0.5
            }
            window: dict[str, Any] = {
                "since_ms": pick([None, created_ms(pick(events).id)]),
                "until_ms": created_ms(pick(events).id),
            }
            query = EventQuery(organisation_id=stage.organisation, ascending=pick([False, True]), **given, **window)
            await _matched(stage, query, events, _fits(given, window))

    @scenario
    async def test_events_are_found_by_their_destination(self, stage: Stage) -> None:
        first, second = stage.destinations(2)
        new = [stage.new(*stage.random.choice([(), (first,), (second,), (first, second)])) for _ in range(30)]
        await stage.store(*new)
        for lease in (await stage.claim())[::2]:
            await stage.finish(lease)
        query = EventQuery(organisation_id=stage.organisation, destination_id=first)
        expected = [each.event.id for each in new if first in {to.destination_id for to in each.deliveries}]
        assert await stage.ids_of(query, limit=4) == expected[::-1]

    @scenario
    async def test_statuses_are_those_of_the_core_for_any_deliveries(self, stage: Stage) -> None:
        new = await _any_deliveries(stage)
        replayed = {stage.random.choice(new).event.id for _ in range(6)}
        await stage.store(*(stage.new(replay_of=each) for each in replayed))
        expected: dict[EventId, EventStatus] = {}
        for each in new:
            found = await stage.engine.find(Delivery, stage.organisation, [to.id for to in each.deliveries])
            phases = [phase_of(to.state, to.attempts_made) for to in found if to is not None]
            expected[each.event.id] = event_status(phases, replayed=each.event.id in replayed)
        assert set(expected.values()) == set(EventStatus)

        rows = await stage.all(EventQuery(organisation_id=stage.organisation, type="delivered"))
        assert {row.event.id: row.status for row in rows} == expected
        by_id = await stage.engine.find(EventRow, stage.organisation, list(expected))
        assert [row and row.status for row in by_id] == list(expected.values())
        for status in EventStatus:
            query = EventQuery(organisation_id=stage.organisation, type="delivered", status=status)
            assert set(await stage.ids_of(query, limit=9)) == {
                each for each, its in expected.items() if its is status
            }


def _fits(given: dict[str, Any], window: dict[str, Any]) -> Callable[[Event], bool]:
    since, until = window["since_ms"] or 0, window["until_ms"]

    def fits(event: Event) -> bool:
        same = all(getattr(event, name) == value for name, value in given.items())
        return same and since <= created_ms(event.id) <= until

    return fits


async def _any_deliveries(stage: Stage, events: int = 120) -> list[NewEvent]:
    """Store events with up to three deliveries each, and bring these into any states."""
    new = [
        stage.new(*stage.destinations(stage.random.choice([0, 1, 1, 1, 1, 2, 3])), type="delivered")
        for _ in range(events)
    ]
    await stage.store(*new)
    for _ in range(2):
        for lease in await stage.claim(limit=events // 2):
            fate = stage.random.randrange(7)
            if fate == 0:
                await stage.finish(lease)
            elif fate == 1:
                await stage.finish(lease, DeliveryState.EXPIRED)
            elif fate == 2:
                await stage.finish(lease, DeliveryState.CANCELLED)
            elif fate < 5:
                await stage.put_off(lease, stage.clock.now_ms() + stage.random.choice([0, 10_000]))
    return new


class DeliverySearchContract:
    """Deliveries, live and final together, newest first."""

    @scenario
    async def test_every_filter_of_deliveries_finds_what_a_walk_through_all_would(self, stage: Stage) -> None:
        new = await _any_deliveries(stage)
        destinations = [to.destination_id for each in new for to in each.deliveries]
        deliveries = [await stage.delivery(to.id) for each in new for to in each.deliveries]
        events = {each.event.id: each.event for each in new}
        everything = await stage.all(DeliveryQuery(organisation_id=stage.organisation), limit=11)
        assert everything == [DeliveryRow(each, events[each.event_id]) for each in reversed(deliveries)]

        pick = stage.random.choice
        for _ in range(60):
            some = frozenset(stage.random.sample(list(DeliveryPhase), stage.random.randrange(3)))
            chosen: dict[str, Any] = {
                "destination_id": pick([None, None, pick(destinations)]),
                "event_id": pick([None, None, pick(new).event.id]),
                "status_code": pick([None, None, 200, 503]),
                "attempts_min": pick([None, 1, 2]),
            }
            query = DeliveryQuery(organisation_id=stage.organisation, phases=some, **chosen)
            expected = [each for each in reversed(deliveries) if self._fits(query, each)]
            assert [row.delivery for row in await stage.all(query, limit=6)] == expected
            assert (await stage.search(query, limit=1)).total == len(expected)

    @staticmethod
    def _fits(query: DeliveryQuery, each: Delivery) -> bool:
        return (
            (not query.phases or phase_of(each.state, each.attempts_made) in query.phases)
            and query.destination_id in (None, each.destination_id)
            and query.event_id in (None, each.event_id)
            and query.status_code in (None, each.status_code)
            and each.attempts_made >= (query.attempts_min or 0)
        )

    @scenario
    async def test_deliveries_are_found_by_type_and_time(self, stage: Stage) -> None:
        destination, new = stage.destination(), []
        for number in range(20):
            new.append(stage.new(destination, type=f"t{number % 2}"))
            await stage.store(new[-1])
            stage.clock.advance_ms(10)
        for lease in (await stage.claim())[:10]:
            await stage.finish(lease)
        since, until = created_ms(new[4].event.id), created_ms(new[15].event.id)
        query = DeliveryQuery(
            organisation_id=stage.organisation,
            destination_id=destination,
            event_type="t1",
            since_ms=since,
            until_ms=until,
        )
        expected = [each.event for each in new[4:16] if each.event.type == "t1"]
        assert [row.event for row in await stage.all(query, limit=2)] == expected[::-1]

    @scenario
    async def test_pages_are_whole_while_deliveries_end(self, stage: Stage) -> None:
        destination = stage.destination()
        new = [stage.new(destination) for _ in range(60)]
        await stage.store(*new)
        leases = await stage.claim()
        query = DeliveryQuery(organisation_id=stage.organisation, destination_id=destination)
        seen, cursor = [], None
        while True:
            page = await stage.search(query, limit=7, cursor=cursor)
            seen += [row.delivery.id for row in page.rows]
            cursor = page.next_cursor
            if cursor is None:
                break
            for _ in range(5):
                if leases:
                    await stage.finish(leases.pop(stage.random.randrange(len(leases))))
        assert seen == [each.deliveries[0].id for each in reversed(new)]


class OtherSearchContract:
    """Attempts, transactions and incidents."""

    @scenario
    async def test_attempts_are_found_by_delivery_and_by_event(self, stage: Stage) -> None:
        new = stage.new(*stage.destinations(3))
        await stage.store(new, stage.new(stage.destination()))
        made: list[tuple[DeliveryId, int]] = []
        for number in range(1, 4):
            for lease in await stage.claim():
                made.append((lease.delivery_id, number))
                await stage.put_off(lease, stage.clock.now_ms())
        ids = [to.id for to in new.deliveries]
        ours = [each for each in made if each[0] in ids]
        query = AttemptQuery(organisation_id=stage.organisation, event_id=new.event.id)
        for limit in (1, 2, 100):
            assert [(each.delivery_id, each.number) for each in await stage.all(query, limit=limit)] == ours
        query = AttemptQuery(organisation_id=stage.organisation, delivery_id=ids[1])
        assert [each.number for each in await stage.all(query, limit=2)] == [1, 2, 3]
        accepted_ms = created_ms(new.event.id)
        for since_ms, until_ms, found in [(0, 0, 0), (accepted_ms, accepted_ms, 9), (accepted_ms + 1, None, 0)]:
            query = AttemptQuery(
                organisation_id=stage.organisation, event_id=new.event.id, since_ms=since_ms, until_ms=until_ms
            )
            assert (await stage.search(query)).total == found

    @scenario
    async def test_transactions_are_found_by_every_filter_oldest_event_first(self, stage: Stage) -> None:
        pick = stage.random.choice
        new = [stage.new(type=pick(["t1", "t2"])) for _ in range(30)]
        await stage.store(*new)
        known: list[tuple[EventId, str, Transaction]] = []
        for event in [each.event for each in new]:
            for tx_key in stage.random.sample(["a", "b", "ä", "b\x01"], stage.random.randrange(4)):
                steps: list[TransactionStep] = [
                    begin_step(stage, event.id, tx_key),
                    end_step(stage, event.id, tx_key),
                ]
                result = (await stage.engine.transact(steps[: pick([1, 2])]))[-1]
                assert isinstance(result, Transaction)
                known.append((event.id, tx_key, result))
        known.sort(key=lambda each: (each[0], each[1].encode()))
        for _ in range(60):
            chosen: dict[str, Any] = {
                "tx_key": pick([None, "a", "b"]),
                "type": pick([None, "t1"]),
                "state": pick([None, TransactionState.PROCESSING, TransactionState.FINISHED]),
                "event_id": pick([None, None, pick(new).event.id]),
            }
            query = TransactionQuery(
                organisation_id=stage.organisation, environment=pick([None, Environment.LIVE]), **chosen
            )
            named = {"tx_key": chosen["tx_key"], "event_type": chosen["type"]}
            named |= {"state": chosen["state"], "event_id": chosen["event_id"]}
            expected = [
                each
                for _, _, each in known
                if all(value in (None, getattr(each, name)) for name, value in named.items())
            ]
            assert [row.transaction for row in await stage.all(query, limit=3)] == expected
            assert (await stage.search(query, limit=1)).total == len(expected)
        query = TransactionQuery(organisation_id=stage.organisation, environment=Environment.TEST)
        assert await stage.all(query) == []

    @scenario
    async def test_incidents_are_found_by_environment_state_and_channel_newest_first(self, stage: Stage) -> None:
        opened: list[tuple[EventId, Environment, str, IncidentState]] = []
        for number in range(24):
            environment = Environment.TEST if number % 4 == 0 else Environment.LIVE
            change = IncidentChange(
                action=IncidentAction.CREATE, channel=f"c{number % 2}", at_ms=1, environment=environment
            )
            new = stage.new(incident=change, environment=environment)
            await stage.store(new)
            state = IncidentState.ONGOING
            if number % 3 == 0:
                closing = msgspec.structs.replace(
                    change, action=IncidentAction.CLOSE, at_ms=2, incident_id=new.event.id
                )
                await stage.store(stage.new(incident=closing, environment=environment))
                state = IncidentState.CLOSED
            opened.append((new.event.id, environment, change.channel, state))
        wanted = product(Environment, (None, *IncidentState), (None, "c0", "c1", "none"))
        for environment_wanted, state_wanted, channel_wanted in wanted:
            query = IncidentQuery(
                organisation_id=stage.organisation,
                environment=environment_wanted,
                state=state_wanted,
                channel=channel_wanted,
            )
            expected = [
                incident_id
                for incident_id, environment, channel, state in reversed(opened)
                if environment is environment_wanted
                if state_wanted in (None, state) and channel_wanted in (None, channel)
            ]
            assert await stage.ids_of(query, limit=5) == expected
