"""Buckets in parts: rows are told apart by them, and what one statement cannot see across is not lost."""

from __future__ import annotations

import asyncio
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.postgres_server import open_transaction, play_on, waits_for_a_lock
from tocsin.core.delivery import DeliveryState
from tocsin.core.event import Dialect, Draft, Event, bucket_for, idempotency_key
from tocsin.core.identifiers import BUCKETS, DestinationId, EventId
from tocsin.core.quiet_hours import lane_bucket, urgent_lane
from tocsin.engine.postgres import accept
from tocsin.engine.postgres.accept import Arrival
from tocsin.engine.postgres.parts import ONE_PART, Parts, even_parts
from tocsin.engine.postgres.sql import SQL, _text_of
from tocsin.engine.rows import Accepted, AmendmentResult, Cancel, NewEvent, Retry
from tocsin.testing.engine_contract import Stage

EIGHT = even_parts(8)
SUBJECT = "order 42"
LANE = SUBJECT.encode()

# -- splitting -----------------------------------------------------------------------------------------------


def test_every_bucket_is_in_one_part() -> None:
    for parts in (ONE_PART, *map(even_parts, (1, 3, 8, BUCKETS))):
        assert sorted(bucket for part in parts.all for bucket in part) == list(range(BUCKETS))
    for buckets in ([range(BUCKETS - 1)], [range(BUCKETS), [5]]):
        with pytest.raises(AssertionError):
            Parts(buckets)


@given(st.lists(st.integers(0, BUCKETS - 1)), st.integers(1, BUCKETS))
def test_rows_are_split_by_their_buckets_and_keep_their_order(buckets: list[int], parts_count: int) -> None:
    parts = even_parts(parts_count)
    rows = list(zip(buckets, count(), strict=False))
    split = parts.split(rows)
    assert sorted(row for _, some in split for row in some) == sorted(rows)
    assert [part for part, _ in split] == [part for part in parts.all if set(part) & set(buckets)]
    for part, some in split:
        assert list(some) == [row for row in rows if row[0] in part]


def test_one_part_has_the_rows_as_they_are() -> None:
    rows = [(bucket, "row") for bucket in range(BUCKETS)]
    ((buckets, found),) = ONE_PART.split(rows)
    assert found is rows
    assert buckets == tuple(range(BUCKETS))


def test_one_server_is_not_told_the_buckets() -> None:
    for name in SQL.names():
        text, _ = _text_of(name, is_told=False)
        assert "any($part)" not in text
    told, is_named = _text_of("stored_events", is_told=True)
    assert "event.bucket = any($3)" in told
    assert is_named
    assert _text_of("stored_events", is_told=False)[1] is False


# -- lanes ---------------------------------------------------------------------------------------------------


def _told_by(stage: Stage, source: str, destination: DestinationId, lane: bytes = LANE) -> NewEvent:
    """Return an event about the subject, with ids of the bucket that a draft of it has."""
    draft = Draft(
        organisation_id=stage.organisation,
        dialect=Dialect.TOCSIN,
        source=source,
        type="happened",
        time_ms=stage.clock.now_ms(),
        data=b"{}",
        subject=SUBJECT,
    )
    event = stage.event(id=stage.id(bucket_for(draft)), source=source, subject=SUBJECT)
    return stage.new(destination, event=event, lane=lane)


def test_a_subject_that_several_sources_tell_of_keeps_its_order(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        destination = stage.destination()
        told = [_told_by(stage, f"source {number}", destination) for number in range(6)]
        for each in told:
            await stage.store(each)
        for each in told:
            lease = await stage.claim_one()
            assert lease.event.id == each.event.id
            await stage.finish(lease)
        assert await stage.claim() == []

    play_on(dsn, play, parts=EIGHT)


def test_a_lane_and_its_urgent_one_lie_in_one_part_and_do_not_wait_for_each_other(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        destination = stage.destination()
        usual = _told_by(stage, "usual", destination)
        urgent = [_told_by(stage, "urgent", destination, urgent_lane(LANE)) for _ in range(2)]
        await stage.store(usual, *urgent)
        leased = {lease.event.id: lease for lease in await stage.claim()}
        assert leased.keys() == {usual.event.id, urgent[0].event.id}
        await stage.finish(leased[urgent[0].event.id])
        assert (await stage.claim_one()).event.id == urgent[1].event.id

    play_on(dsn, play, parts=EIGHT)


@pytest.mark.parametrize("parts", [ONE_PART, EIGHT], ids=["one", "eight"])
def test_a_delivery_from_before_lanes_had_buckets_goes_on_without_a_lane(dsn: str, parts: Parts) -> None:
    async def play(stage: Stage) -> None:
        destination, now_ms = stage.destination(), stage.clock.now_ms()
        elsewhere = EventId(stage.id((lane_bucket(LANE) + 1) % BUCKETS))
        old = stage.new(destination, event=stage.event(id=elsewhere, subject=SUBJECT), lane=LANE)
        await stage.store(old)
        old_id = old.deliveries[0].id
        assert await stage.engine.amend([Cancel(stage.organisation, old_id)]) == [AmendmentResult.DONE]
        await stage.store(_told_by(stage, "source", destination))
        assert await stage.engine.amend([Retry(stage.organisation, old_id, now_ms)]) == [AmendmentResult.DONE]
        leases = {lease.delivery_id: lease for lease in await stage.claim()}
        assert len(leases) == 2
        assert leases[old_id].lane is None
        assert await stage.finish(leases[old_id])
        assert (await stage.delivery(old_id)).state is DeliveryState.DELIVERED

    play_on(dsn, play, parts=parts)


# -- claims --------------------------------------------------------------------------------------------------


def test_what_another_holds_in_one_part_is_made_up_for_by_the_others(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        destination = stage.destination()
        events = []
        for bucket in range(16):
            events.append(stage.event(id=stage.id(bucket)))
            await stage.store(stage.new(destination, event=events[-1]))
            stage.clock.advance_ms(1)
        async with open_transaction(dsn) as other:
            # The longest due of all, and with it the only other one of its part.
            held = await other.fetch("select id from delivery where bucket in (0, 8) for update")
            assert len(held) == 2
            leases = await stage.claim(limit=5)
        claimed = [lease.event.id for lease in leases]
        assert claimed[:4] == [each.id for each in events[1:5]]
        assert len(claimed) == len(set(claimed)) == 5
        assert not {events[0].id, events[8].id} & set(claimed)
        assert len(await stage.claim()) == 11

    play_on(dsn, play, parts=EIGHT)


def test_no_more_is_locked_than_is_leased(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        destination = stage.destination()
        await stage.store(*(stage.new(destination) for _ in range(120)))
        claims = await asyncio.gather(*(stage.claim(limit=10) for _ in range(12)))
        assert [len(each) for each in claims] == [10] * 12

    play_on(dsn, play, parts=EIGHT)


# -- keys ----------------------------------------------------------------------------------------------------


def test_a_key_that_is_swept_between_two_looks_at_it_is_taken(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        swept, held = (
            idempotency_key(stage.organisation, "tests", str(bucket), bytes(16), expires_after_ms=1, bucket=bucket)
            for bucket in (0, 1)
        )
        await stage.store(stage.new(keys=[swept]))
        again = stage.new(keys=[msgspec.structs.replace(swept, fingerprint=b"f" * 16), held])
        delete = "delete from idempotency where digest = $1 and bucket = $2"
        async with open_transaction(dsn) as ours:
            ours.parts = EIGHT
            async with open_transaction(dsn) as other:
                await other.execute("insert into idempotency values (1, $1, $1, $1, 0)", held.digest)
                storing = accept.accept(ours, [Arrival(again, 0)], now_ms=stage.clock.now_ms(), in_doubt=False)
                task = asyncio.create_task(storing)
                # It has seen that the first key is known, and waits for the second.
                await waits_for_a_lock(dsn, task)
                async with open_transaction(dsn) as sweeping:
                    await sweeping.execute(delete, swept.digest, 0)
                await other.execute(delete, held.digest, 1)
            assert [type(each) for each in await task] == [Accepted]

    play_on(dsn, play, parts=EIGHT)


def test_an_event_keeps_its_fields_in_whatever_part_it_lies(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        events = [stage.event(id=stage.id(bucket), type=f"t{bucket}") for bucket in range(BUCKETS)]
        await stage.store(*(stage.new(event=each) for each in events))
        found = await stage.engine.find(Event, stage.organisation, [each.id for each in events])
        assert [msgspec.structs.asdict(each) for each in found if each] == list(map(msgspec.structs.asdict, events))

    play_on(dsn, play, parts=EIGHT)
