"""Replay: a copy by today's routes, and nothing of the original is sent any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.stage import Stage, run
from tocsin.core.delivery import DeliveryState, EventStatus
from tocsin.core.destination import Filter
from tocsin.core.errors import NotFound
from tocsin.core.event import Dialect, Environment, Severity
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId, OrganisationId
from tocsin.core.incident import IncidentAction, IncidentChange
from tocsin.core.quota import QuotaCharge
from tocsin.engine.rows import EventRow
from tocsin.pipeline.replay import Replay


def replay_of(stage: Stage) -> Replay:
    return Replay(engine=stage.engine, ingest=stage.ingest, clock=stage.clock)


async def status(stage: Stage, event_id: EventId) -> EventStatus:
    (found,) = await stage.engine.find(EventRow, DEFAULT_ORGANISATION, [event_id])
    assert found is not None
    return found.status


def test_a_replay_copies_what_happened_and_says_what_it_replays(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        original = await stage.ingest.accept(
            stage.draft(
                dialect=Dialect.BUILDABLE,
                source="buildable",
                type="t",
                subject="s",
                severity=Severity.HIGH,
                environment=Environment.TEST,
                extension={"a": [1]},
                quota=QuotaCharge("tests/1", 1),
            )
        )
        stage.clock.advance_ms(60_000)
        copy = await replay_of(stage).replay(DEFAULT_ORGANISATION, original.event_id)
        assert copy.event_id != original.event_id
        before, after = await stage.events()
        assert (after.id, after.replay_of) == (copy.event_id, before.id)
        new = {"id", "replay_of"}
        for name in set(before.__struct_fields__) - new:
            assert getattr(after, name) == getattr(before, name), name
        assert await stage.engine.usage(DEFAULT_ORGANISATION, "tests/1") == 1

    run(tmp_path, scenario, sending=False)


def test_what_the_original_had_waiting_is_cancelled_and_the_copy_goes_by_today_s_destinations(
    tmp_path: Path,
) -> None:
    async def scenario(stage: Stage) -> None:
        old = await stage.destination("old")
        await stage.change(old, paused=True)
        original = await stage.ingest.accept(stage.draft())
        await stage.change(old, filter=Filter(types=("nothing",)))
        await stage.destination("new")
        copy = await replay_of(stage).replay(DEFAULT_ORGANISATION, original.event_id)
        await stage.until_all(copy.deliveries, DeliveryState.DELIVERED)
        assert [each.target.destination.name for each in stage.remote.started] == ["new"]
        assert await stage.states(original.deliveries) == [DeliveryState.CANCELLED]
        assert await status(stage, original.event_id) is EventStatus.REPLAYED
        await stage.change(old, paused=False)
        assert await stage.accept(type="nothing")
        await stage.signal.until(lambda: len(stage.remote.started) == 3)
        assert original.event_id not in [each.lease.event.id for each in stage.remote.started]

    run(tmp_path, scenario)


def test_a_replayed_event_moves_no_incident(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        opened = await stage.ingest.accept(
            stage.draft(incident=IncidentChange(action=IncidentAction.CREATE, channel="c", at_ms=1))
        )
        copy = await replay_of(stage).replay(DEFAULT_ORGANISATION, opened.event_id)
        assert copy.event is not None
        assert copy.event.incident_state is None
        assert copy.event.subject == opened.event_id.hex()

    run(tmp_path, scenario, sending=False)


def test_what_the_organisation_does_not_have_is_not_found(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        original = await stage.ingest.accept(stage.draft())
        for organisation_id, event_id in (
            (OrganisationId(b"f" * 16), original.event_id),
            (DEFAULT_ORGANISATION, EventId(bytes(16))),
        ):
            with pytest.raises(NotFound):
                await replay_of(stage).replay(organisation_id, event_id)
        assert len(await stage.events()) == 1

    run(tmp_path, scenario, sending=False)
