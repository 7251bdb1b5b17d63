"""Jobs that are cancelled: at once, and yet with the whole of the batch that is written down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from pipeline.job_house import FAST, House, counts, stored
from pipeline.stage import Stage, run
from tocsin.core.errors import Conflict, NotFound, TocsinError, Unavailable
from tocsin.core.identifiers import DEFAULT_ORGANISATION, OrganisationId
from tocsin.core.job import Job, JobState
from tocsin.engine.rows import SaveJob

OTHERS = OrganisationId(b"z" * 16)


def test_a_cancelled_job_stops_and_counts_the_batch_that_was_under_way(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 20)
        house = House(stage)
        house.replays.hold()
        job = await house.replay()
        await house.replays.begun.wait()
        cancelled = await house.jobs.cancel(DEFAULT_ORGANISATION, job.id)
        assert (cancelled.state, cancelled.done) == (JobState.CANCELLED, 0)
        house.replays.let_go()
        stage.clock.advance_ms(1)
        await house.ended(await house.replay(None))
        left = await house.jobs.get(DEFAULT_ORGANISATION, job.id)
        assert (left.state, left.done) == (JobState.CANCELLED, FAST.batch_max)
        assert len(await house.copied()) == FAST.batch_max
        with pytest.raises(Conflict) as refused:
            await house.jobs.cancel(DEFAULT_ORGANISATION, job.id)
        assert refused.value.code == "job_over"
        with pytest.raises(NotFound):
            await house.jobs.cancel(OTHERS, job.id)
        await house.stop()

    run(tmp_path, scenario, sending=False)


async def cancelled_in_a_batch(stage: Stage, house: House, *, after: bool) -> Job:
    """Return a job that was cancelled in the middle of its second batch by a process that then died."""
    house.replays.hold(call=4, after=after)
    job = await house.replay()
    await house.replays.begun.wait()
    await house.jobs.cancel(DEFAULT_ORGANISATION, job.id)
    await house.stop(patience_s=0)
    house.replays.let_go()
    left = await house.jobs.get(DEFAULT_ORGANISATION, job.id)
    assert (left.state, left.done, left.ended_ms) == (JobState.CANCELLED, 4, None)
    assert len(await house.copied()) == (8 if after else 7)
    stage.clock.advance_ms(1)
    return left


@pytest.mark.parametrize("after", [False, True])
def test_a_cancelled_job_does_the_batch_that_a_dead_process_left_and_then_rests(tmp_path: Path, after: bool) -> None:
    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 12)
        house = House(stage)
        job = await cancelled_in_a_batch(stage, house, after=after)
        house.start()
        ended = await house.ended(job)
        assert counts(ended) == (JobState.CANCELLED, 8, 0, 12, True)
        assert await house.copied() == events[4:]
        # The next one of the organisation has its turn, and finds what the cancelled one left alone.
        assert (await house.ended(await house.replay())).done == 12
        assert await house.jobs.get(DEFAULT_ORGANISATION, job.id) == ended
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_a_job_that_ended_with_its_cancel_would_be_seen_to_forget_its_batch(tmp_path: Path) -> None:
    """The control of the test above."""

    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 12)
        house = House(stage)
        left = await cancelled_in_a_batch(stage, house, after=False)
        await stage.engine.job_write([SaveJob(msgspec.structs.replace(left, ended_ms=stage.clock.now_ms()))])
        house.start()
        await house.ended(await house.replay(None))
        assert await house.copied() == events[5:]
        assert (await house.ended(left)).done == 4
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_a_cancelled_job_whose_batch_breaks_ends_with_what_was_done_and_says_why(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 12)
        house = House(stage)
        job = await cancelled_in_a_batch(stage, house, after=False)
        house.replays.faults = [None, TocsinError("no such thing")]
        house.start()
        ended = await house.ended(job)
        assert counts(ended) == (JobState.CANCELLED, 7, 0, 12, True)
        assert (ended.error, ended.batch) == ("no such thing", b"")
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_a_job_that_is_cancelled_while_its_batch_breaks_ends_too(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 12)
        house = House(stage)
        house.replays.hold(call=2)
        job = await house.replay()
        await house.replays.begun.wait()
        await house.jobs.cancel(DEFAULT_ORGANISATION, job.id)
        house.replays.faults.append(TocsinError("no such thing"))
        house.replays.let_go()
        ended = await house.ended(job)
        assert counts(ended) == (JobState.CANCELLED, 3, 0, 12, True)
        assert ended.error == "no such thing"
        await house.stop()

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_step_that_was_written_down_though_nobody_was_told_is_not_taken_twice(
    tmp_path: Path, cancelled: bool
) -> None:
    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 60)
        house = House(stage, msgspec.structs.replace(FAST, pause_s=0.0))
        house.replays.hold(call=2, after=True)
        job = await house.replay()
        await house.replays.begun.wait()
        stage.engine.faults["job_written"] = [Unavailable("away")]
        house.replays.let_go()
        await stage.signal.until(lambda: stage.engine.faults["job_written"] == [])
        if cancelled:
            await house.jobs.cancel(DEFAULT_ORGANISATION, job.id)
        ended = await house.ended(job)
        assert ended.state is (JobState.CANCELLED if cancelled else JobState.FINISHED)
        assert 4 <= ended.done <= 60
        assert await house.copied() == events[-ended.done :]
        await house.stop()

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize("breaks", [False, True])
def test_a_batch_is_counted_once_that_was_saved_unseen_before_the_cancel(tmp_path: Path, breaks: bool) -> None:
    """The save went well, the look behind it failed, and the cancel came before the save was tried again."""

    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 12)
        house = House(stage)
        house.replays.hold(call=4, after=not breaks)
        job = await house.replay()
        await house.replays.begun.wait()
        if breaks:
            house.replays.faults = [TocsinError("no such thing")]
        looked = stage.engine.held["find_job"] = asyncio.Event()
        house.replays.let_go()
        await stage.signal.until(lambda: "find_job" in stage.engine.arrived)
        del stage.engine.held["find_job"]
        if breaks:
            with pytest.raises(Conflict):
                await house.jobs.cancel(DEFAULT_ORGANISATION, job.id)
        else:
            cancelled = await house.jobs.cancel(DEFAULT_ORGANISATION, job.id)
            assert (cancelled.done, cancelled.ended_ms) == (8, None)
        stage.engine.faults["find_job"] = [Unavailable("away")]
        looked.set()
        await stage.signal.until(lambda: stage.engine.faults["find_job"] == [])
        ended = await house.ended(job)
        if breaks:
            assert counts(ended) == (JobState.FAILED, 7, 0, 12, True)
        else:
            assert counts(ended) == (JobState.CANCELLED, 12, 0, 12, True)
            assert await house.copied() == events
        await house.stop()

    run(tmp_path, scenario, sending=False)
