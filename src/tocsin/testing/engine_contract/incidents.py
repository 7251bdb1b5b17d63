"""Incidents: ``accept`` moves them by the core's rule, in the transaction that stores the event."""

from __future__ import annotations

import asyncio

import msgspec

from tocsin.core.event import Environment, Event
from tocsin.core.identifiers import EventId
from tocsin.core.incident import (
    Incident,
    IncidentAction,
    IncidentChange,
    IncidentRefusal,
    IncidentState,
    advance,
)
from tocsin.core.quota import QuotaCharge
from tocsin.engine.rows import Accepted, IncidentRefused, NewEvent, QuotaExceeded
from tocsin.testing.engine_contract.stage import Stage, scenario


def _change(
    action: IncidentAction, incident_id: EventId | None = None, *, at_ms: int = 0, channel: str = "c", n: int = 0
) -> IncidentChange:
    return IncidentChange(
        action=action,
        channel=channel,
        at_ms=at_ms,
        incident_id=incident_id,
        profile={"title": f"title {n}"},
        attrs={"n": n, "gone": None, "nested": {str(n): n}},
    )


async def _opened(stage: Stage, *, at_ms: int = 0) -> EventId:
    new = stage.new(incident=_change(IncidentAction.CREATE, at_ms=at_ms))
    await stage.store(new)
    return new.event.id


async def _found(stage: Stage, incident_id: EventId) -> Incident | None:
    (found,) = await stage.engine.find(Incident, stage.organisation, [incident_id])
    return found


class IncidentContract:
    """Create, update, close."""

    @scenario
    async def test_a_created_incident_has_its_events_id_and_is_ongoing(self, stage: Stage) -> None:
        new = stage.new(incident=_change(IncidentAction.CREATE, at_ms=5, n=1))
        (accepted,) = await stage.store(new)
        assert accepted.event.incident_state is IncidentState.ONGOING
        assert await stage.engine.find(Event, stage.organisation, [new.event.id]) == [accepted.event]
        incident = await _found(stage, new.event.id)
        assert incident == advance(
            None, _change(IncidentAction.CREATE, at_ms=5, n=1), new.event.id, stage.organisation
        )

    @scenario
    async def test_updates_and_the_close_move_it_by_the_cores_rule(self, stage: Stage) -> None:
        incident_id = await _opened(stage, at_ms=1)
        expected = await _found(stage, incident_id)
        for number, action in enumerate([IncidentAction.UPDATE, IncidentAction.UPDATE, IncidentAction.CLOSE]):
            change = _change(action, incident_id, at_ms=10 + number, n=number)
            new = stage.new(incident=change)
            moved = advance(expected, change, new.event.id, stage.organisation)
            assert isinstance(moved, Incident)
            expected = moved
            (accepted,) = await stage.store(new)
            assert accepted.event.incident_state is expected.state
            assert await _found(stage, incident_id) == expected
        assert expected is not None
        assert expected.state is IncidentState.CLOSED

    @scenario
    async def test_a_late_update_is_kept_and_changes_nothing(self, stage: Stage) -> None:
        incident_id = await _opened(stage, at_ms=1)
        await stage.store(stage.new(incident=_change(IncidentAction.CLOSE, incident_id, at_ms=10)))
        closed = await _found(stage, incident_id)
        late = stage.new(incident=_change(IncidentAction.UPDATE, incident_id, at_ms=9, n=9))
        (accepted,) = await stage.store(late)
        assert accepted.event.incident_state is IncidentState.CLOSED
        assert await _found(stage, incident_id) == closed

    @scenario
    async def test_what_the_rule_forbids_is_refused_and_leaves_nothing(self, stage: Stage) -> None:
        incident_id = await _opened(stage, at_ms=1)
        await stage.store(stage.new(incident=_change(IncidentAction.CLOSE, incident_id, at_ms=10)))
        closed = await _found(stage, incident_id)
        open_id = await _opened(stage)
        refused = [
            (_change(IncidentAction.UPDATE, incident_id, at_ms=10), IncidentRefusal.CLOSED),
            (_change(IncidentAction.CLOSE, incident_id, at_ms=5), IncidentRefusal.CLOSED),
            (_change(IncidentAction.UPDATE, EventId(stage.id())), IncidentRefusal.NOT_FOUND),
            (_change(IncidentAction.UPDATE, open_id, channel="another"), IncidentRefusal.NOT_FOUND),
        ]
        for change, reason in refused:
            charge = QuotaCharge("c", 1)
            new = stage.new(stage.destination(), incident=change, keys=[stage.key("k")], quota=charge)
            assert await stage.judge(new) == [IncidentRefused(reason)]
            assert await stage.engine.find(Event, stage.organisation, [new.event.id]) == [None]
        assert await stage.claim() == []
        assert await stage.engine.usage(stage.organisation, "c") == 0
        assert await _found(stage, incident_id) == closed

    @scenario
    async def test_another_organisation_finds_none(self, stage: Stage) -> None:
        incident_id = await _opened(stage)
        change = _change(IncidentAction.UPDATE, incident_id)
        new = stage.new(organisation=stage.foreign, incident=change)
        assert await stage.judge(new) == [IncidentRefused(IncidentRefusal.NOT_FOUND)]
        assert await stage.engine.find(Incident, stage.foreign, [incident_id]) == [None]

    @scenario
    async def test_the_other_environment_finds_none(self, stage: Stage) -> None:
        incident_id = await _opened(stage)
        before = await _found(stage, incident_id)
        change = _change(IncidentAction.CLOSE, incident_id)
        test = msgspec.structs.replace(change, environment=Environment.TEST)
        assert await stage.judge(stage.new(incident=test)) == [IncidentRefused(IncidentRefusal.NOT_FOUND)]
        assert await _found(stage, incident_id) == before

    @scenario
    async def test_attrs_that_grow_too_large_are_refused(self, stage: Stage) -> None:
        incident_id = await _opened(stage)
        before = await _found(stage, incident_id)
        update = _change(IncidentAction.UPDATE, incident_id, n=1)
        bounded = msgspec.structs.replace(update, attrs_bytes_max=len(b'{"n":1,"nested":{"0":0,"1":1}}') - 1)
        assert await stage.judge(stage.new(incident=bounded)) == [IncidentRefused(IncidentRefusal.ATTRS_TOO_LARGE)]
        assert await _found(stage, incident_id) == before

    @scenario
    async def test_a_batch_is_judged_in_order(self, stage: Stage) -> None:
        create = stage.new(incident=_change(IncidentAction.CREATE, at_ms=1))
        incident_id = create.event.id
        update = stage.new(incident=_change(IncidentAction.UPDATE, incident_id, at_ms=2))
        close = stage.new(incident=_change(IncidentAction.CLOSE, incident_id, at_ms=3))
        too_late = stage.new(incident=_change(IncidentAction.UPDATE, incident_id, at_ms=4))
        results = await stage.judge(update, create, update, close, too_late)
        assert [type(each) for each in results] == [
            IncidentRefused,
            Accepted,
            Accepted,
            Accepted,
            IncidentRefused,
        ]
        found = await _found(stage, incident_id)
        assert found is not None
        assert (found.state, found.closed_ms) == (IncidentState.CLOSED, 3)

    @scenario
    async def test_what_the_quota_refuses_moves_no_incident(self, stage: Stage) -> None:
        incident_id = await _opened(stage)
        before = await _found(stage, incident_id)
        change = _change(IncidentAction.CLOSE, incident_id, at_ms=9)
        new = stage.new(incident=change, quota=QuotaCharge("c", 0))
        assert await stage.judge(new, new) == [QuotaExceeded(0)] * 2
        assert await _found(stage, incident_id) == before

    @scenario
    async def test_of_concurrent_closes_one_succeeds(self, stage: Stage) -> None:
        incident_id = await _opened(stage)

        def close(number: int) -> NewEvent:
            return stage.new(incident=_change(IncidentAction.CLOSE, incident_id, at_ms=number))

        results = await asyncio.gather(*(stage.judge(close(number)) for number in range(30)))
        assert sum(isinstance(each, Accepted) for (each,) in results) == 1
