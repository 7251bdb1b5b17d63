"""The intake: batches, bounds, and what each condition of storing comes to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.stage import Stage, refusal, run
from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Transport
from tocsin.core.errors import Conflict, NotFound, QuotaExhausted, TocsinError, Unavailable
from tocsin.core.event import Draft, IdempotencyKey, idempotency_key
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId, bucket_of, digest
from tocsin.core.incident import IncidentAction, IncidentChange, IncidentState
from tocsin.core.quota import QuotaCharge
from tocsin.pipeline.dispatcher import DispatchLimits
from tocsin.pipeline.ingest import IngestLimits, Receipt
from tocsin.pipeline.lane import LaneLimits


def key(name: str = "k", asks: bytes = b"this") -> IdempotencyKey:
    return idempotency_key(DEFAULT_ORGANISATION, "tests", name, digest(asks), expires_after_ms=1000)


def change(action: IncidentAction, incident_id: EventId | None = None, at_ms: int = 1) -> IncidentChange:
    return IncidentChange(action=action, channel="c", at_ms=at_ms, incident_id=incident_id)


async def refused(stage: Stage, draft: Draft) -> tuple[type[TocsinError], str]:
    with pytest.raises(TocsinError) as caught:
        await stage.ingest.accept(draft)
    return refusal(caught.value)


# -- what is stored ----------------------------------------------------------------------------------------


def test_an_event_is_stored_as_drafted_with_an_id_of_its_time_and_a_delivery_to_each_destination(
    tmp_path: Path,
) -> None:
    async def scenario(stage: Stage) -> None:
        for name in "ab":
            await stage.destination(name)
        draft = stage.draft(subject="s", extension={"x": 1})
        receipt = await stage.ingest.accept(draft)
        (event,) = await stage.events()
        assert receipt.event == event
        assert receipt.event_id == event.id
        for field in ("source", "type", "subject", "data", "extension", "time_ms", "environment"):
            assert getattr(event, field) == getattr(draft, field)
        assert int.from_bytes(event.id[:6], "big") == stage.clock.now_ms()
        assert len(receipt.deliveries) == 2
        assert {bucket_of(each) for each in receipt.deliveries} == {bucket_of(event.id)}

    run(tmp_path, scenario, sending=False)


def test_what_belongs_together_shares_a_bucket(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        accept = stage.ingest.accept
        subjects = {bucket_of((await accept(stage.draft(subject="s"))).event_id) for _ in range(8)}
        assert len(subjects) == 1
        opened = await accept(stage.draft(incident=change(IncidentAction.CREATE)))
        for _ in range(8):
            receipt = await accept(stage.draft(incident=change(IncidentAction.UPDATE, opened.event_id)))
            assert bucket_of(receipt.event_id) == bucket_of(opened.event_id)
        keyed = await accept(stage.draft(idempotency=(key(),)))
        assert bucket_of(keyed.event_id) == key().bucket

    run(tmp_path, scenario, sending=False)


def test_the_event_that_opens_an_incident_has_it_as_its_subject(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        receipt = await stage.ingest.accept(stage.draft(incident=change(IncidentAction.CREATE)))
        assert receipt.event is not None
        assert receipt.event.subject == receipt.event_id.hex()
        assert receipt.event.incident_state is IncidentState.ONGOING

    run(tmp_path, scenario, sending=False)


def test_a_destination_whose_transport_is_not_there_gets_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("here")
        await stage.destination("not here", transport=Transport.EMAIL, address={"to": ["a@example.com"]})
        assert len(await stage.accept()) == 1

    run(tmp_path, scenario, sending=False)


# -- conditions --------------------------------------------------------------------------------------------


def test_each_condition_that_is_not_met_has_an_error_of_its_own(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        accept = stage.ingest.accept
        first = await accept(stage.draft(idempotency=(key(),)))
        repeated = await accept(stage.draft(idempotency=(key(),)))
        assert repeated == Receipt(event_id=first.event_id, event=None, repeated=True)
        other = stage.draft(idempotency=(key(asks=b"that"),))
        assert await refused(stage, other) == (Conflict, "idempotency_conflict")
        charged = stage.draft(quota=QuotaCharge("tests/1", 1))
        await accept(charged)
        assert await refused(stage, charged) == (QuotaExhausted, "quota_exhausted")
        unknown = stage.draft(incident=change(IncidentAction.UPDATE, EventId(bytes(16))))
        assert await refused(stage, unknown) == (NotFound, "event_not_found")
        opened = await accept(stage.draft(incident=change(IncidentAction.CREATE)))
        await accept(stage.draft(incident=change(IncidentAction.CLOSE, opened.event_id, 5)))
        late = stage.draft(incident=change(IncidentAction.UPDATE, opened.event_id, 5))
        assert await refused(stage, late) == (Conflict, "event_closed")

    run(tmp_path, scenario, sending=False)


def test_one_event_that_cannot_be_stored_fails_alone_and_as_a_fault_of_ours(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        drafts = [stage.draft(type="\ud800" if number == 3 else "sound") for number in range(7)]
        results = await asyncio.gather(*map(stage.ingest.accept, drafts), return_exceptions=True)
        assert [isinstance(each, Receipt) for each in results] == [True] * 3 + [False] + [True] * 3
        assert isinstance(results[3], TocsinError)
        assert type(results[3]) is TocsinError
        assert len(await stage.events()) == 6

    run(tmp_path, scenario, sending=False)


# -- batches -----------------------------------------------------------------------------------------------


def test_what_comes_in_while_batches_are_stored_makes_up_the_next(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.held["accept"] = asyncio.Event()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(stage.accept())]
        await stage.until_batches(1)
        tasks += [loop.create_task(stage.accept()) for _ in range(2)]
        await stage.until_batches(2)
        tasks += [loop.create_task(stage.accept()) for _ in range(25)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert stage.engine.batches["accept"] == [1, 2], "no more than two are under way"
        stage.engine.held.pop("accept").set()
        await asyncio.gather(*tasks)
        assert sum(stage.engine.batches["accept"]) == 28
        assert max(stage.engine.batches["accept"]) == 10
        assert len(await stage.events()) == 28

    run(tmp_path, scenario, sending=False, intake=IngestLimits(batch_max=10, batches_at_once=2))


def test_above_its_bound_the_intake_asks_clients_to_come_back(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.held["accept"] = asyncio.Event()
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(stage.accept())]
        await stage.until_batches(1)
        tasks += [loop.create_task(stage.accept()) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as caught:
            await stage.ingest.accept(stage.draft())
        assert caught.value.retry_after_s == 1
        stage.engine.held.pop("accept").set()
        await asyncio.gather(*tasks)
        await stage.accept()
        assert len(await stage.events()) == 7

    run(tmp_path, scenario, sending=False, intake=IngestLimits(waiting_max=5, batches_at_once=1))


@pytest.mark.parametrize("fault", [Unavailable("the disk is full", retry_after_s=2), RuntimeError("a bug")])
def test_when_a_batch_fails_every_client_of_it_is_told_and_the_next_is_stored(
    tmp_path: Path, fault: Exception
) -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.faults["accept"] = [fault]
        results = await asyncio.gather(*(stage.accept() for _ in range(5)), return_exceptions=True)
        assert stage.engine.batches["accept"] == [5]
        assert all(isinstance(each, TocsinError) for each in results)
        expected = type(fault) if isinstance(fault, TocsinError) else TocsinError
        assert {type(each) for each in results} == {expected}
        assert await stage.events() == []
        await stage.accept()
        assert len(await stage.events()) == 1

    run(tmp_path, scenario, sending=False)


def test_who_follows_the_store_is_told_of_batches_that_left_something_in_it(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        told: list[int] = []
        ingest = stage.new_ingest(on_stored=lambda: told.append(1))
        await ingest.accept(stage.draft(idempotency=(key(),)))
        assert len(told) == 1
        assert (await ingest.accept(stage.draft(idempotency=(key(),)))).repeated
        stage.engine.faults["accept"] = [Unavailable("away")]
        with pytest.raises(Unavailable):
            await ingest.accept(stage.draft())
        assert len(told) == 1

    run(tmp_path, scenario, sending=False)


def test_a_client_that_goes_away_loses_neither_its_event_nor_another_s(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.engine.held["accept"] = asyncio.Event()
        loop = asyncio.get_running_loop()
        gone, stays = loop.create_task(stage.accept()), loop.create_task(stage.accept())
        await stage.until_batches(1)
        gone.cancel()
        stage.engine.held.pop("accept").set()
        ids = await stays
        assert gone.cancelled() or (await asyncio.gather(gone, return_exceptions=True))
        await stage.until_all(ids, DeliveryState.DELIVERED)
        await stage.until_started(2)
        assert len(await stage.events()) == 2

    run(tmp_path, scenario)


def test_a_client_that_goes_away_before_its_batch_began_is_no_obstacle_either(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.engine.held["accept"] = asyncio.Event()
        loop = asyncio.get_running_loop()
        first = loop.create_task(stage.accept())
        await stage.until_batches(1)
        gone, stays = loop.create_task(stage.accept()), loop.create_task(stage.accept())
        await asyncio.sleep(0)
        gone.cancel()
        stage.engine.held.pop("accept").set()
        await asyncio.gather(first, stays)
        assert len(await stage.events()) in (2, 3)

    run(tmp_path, scenario, sending=False, intake=IngestLimits(batches_at_once=1))


# -- places kept with the sender ---------------------------------------------------------------------------


def test_what_is_refused_gives_back_the_place_that_was_kept_for_it(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        accept = stage.ingest.accept
        opened = await accept(stage.draft(incident=change(IncidentAction.CREATE), idempotency=(key(),)))
        await accept(stage.draft(incident=change(IncidentAction.CLOSE, opened.event_id, 5)))
        charge = QuotaCharge("tests/1", 0)
        for _ in range(10):
            await accept(stage.draft(idempotency=(key(),)))
            for draft in (
                stage.draft(idempotency=(key(asks=b"that"),)),
                stage.draft(quota=charge),
                stage.draft(incident=change(IncidentAction.UPDATE, opened.event_id, 5)),
                stage.draft(incident=change(IncidentAction.UPDATE, EventId(bytes(16)))),
                stage.draft(type="\ud800"),
            ):
                await refused(stage, draft)
            stage.engine.faults["accept"] = [Unavailable("away"), RuntimeError("a bug")]
            await refused(stage, stage.draft())
            await refused(stage, stage.draft())
        # Two of four places are taken by what hangs; the other two are free again, and so all is sent at once.
        await stage.accept(2)
        assert len(stage.remote.started) == 4
        assert sum(stage.engine.batches["claim"]) == 0

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=0.01, lane=LaneLimits(held_max=4)))


def test_a_place_is_kept_for_what_is_on_its_way_so_that_no_more_is_leased_than_fits(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination()
        stage.remote.answer = stage.remote.hang
        ids = await stage.accept_at_once(9)
        states = await stage.states(ids)
        assert states.count(DeliveryState.LEASED) == 4
        assert states.count(DeliveryState.READY) == 5

    run(tmp_path, scenario, dispatch=DispatchLimits(poll_s=0.01, lane=LaneLimits(held_max=4)))
