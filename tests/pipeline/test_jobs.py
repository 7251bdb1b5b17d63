"""Jobs: everything that matched once, whatever breaks meanwhile, and no faster than is allowed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from pipeline.job_house import ALL, FAST, House, counts, stored
from pipeline.stage import Stage, run
from tocsin.core.delivery import EventStatus
from tocsin.core.errors import Conflict, TocsinError, Unavailable
from tocsin.core.identifiers import DEFAULT_ORGANISATION, OrganisationId
from tocsin.core.job import Job, JobState, begin, take
from tocsin.engine.rows import JobQuery, JobResult, SaveJob
from tocsin.pipeline.job_runner import JobLimits
from tocsin.pipeline.job_work import KEY_KEPT_MS
from tocsin.pipeline.jobs import Count

OTHERS = OrganisationId(b"z" * 16)


def test_a_replay_takes_each_event_that_matched_once_newest_first_and_none_of_its_own(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 10)
        await stored(stage, 2, type="another")
        house = House(stage)
        assert await house.jobs.count_events(ALL) == Count(10, exact=True)
        job = await house.replay()
        assert (job.state, job.total) == (JobState.QUEUED, 10)
        assert counts(await house.ended(job)) == (JobState.FINISHED, 10, 0, 10, True)
        assert await house.copied() == events
        assert [each for part in house.replays.tried for each in part] == events[::-1]
        assert max(map(len, house.replays.tried)) == FAST.at_once_max
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_an_event_of_the_same_millisecond_as_the_job_is_taken_if_it_came_before(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        before = (await stage.ingest.accept(stage.draft())).event_id
        house = House(stage)
        await house.stop()
        job = await house.replay()
        await stage.ingest.accept(stage.draft())
        house.start()
        assert counts(await house.ended(job)) == (JobState.FINISHED, 1, 0, 1, True)
        assert await house.copied() == [before]
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_a_second_replay_takes_the_copies_and_not_the_originals_too(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        originals = await stored(stage, 3)
        house = House(stage)
        await house.ended(await house.replay())
        stage.clock.advance_ms(1)
        job = await house.ended(await house.replay())
        assert counts(job) == (JobState.FINISHED, 3, 0, 3, True)
        assert len(set(await house.copied()) - set(originals)) == 3
        stage.clock.advance_ms(1)
        replayed = msgspec.structs.replace(ALL, status=EventStatus.REPLAYED)
        assert await house.jobs.count_events(replayed) == Count(6, exact=True)
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_what_cannot_match_is_a_job_that_finishes_at_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 2)
        house = House(stage)
        assert await house.jobs.count_events(None) == Count(0, exact=True)
        assert counts(await house.ended(await house.replay(None))) == (JobState.FINISHED, 0, 0, 0, True)
        assert await house.copied() == []
        await house.stop()

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize("after", [False, True])
def test_a_job_goes_on_where_a_dead_process_left_it_and_repeats_a_batch_but_no_replay(
    tmp_path: Path, after: bool
) -> None:
    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 10)
        house = House(stage)
        house.replays.hold(call=4, after=after)
        job = await house.replay()
        await house.replays.begun.wait()
        await house.stop(patience_s=0)
        dead = await house.jobs.get(DEFAULT_ORGANISATION, job.id)
        # Batches of four in parts of three: the second one is under way, its first part done.
        assert (dead.state, dead.done) == (JobState.RUNNING, 4)
        assert len(await house.copied()) == (8 if after else 7)
        house.replays.let_go()
        house.start()
        assert counts(await house.ended(job)) == (JobState.FINISHED, 10, 0, 10, True)
        assert await house.copied() == events
        assert house.replays.tried[4] == house.replays.tried[2], "the batch under way was begun anew"
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_without_its_keys_a_repeated_batch_would_replay_twice(tmp_path: Path) -> None:
    """The control of the test above: it can see what it says does not happen."""

    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 3)
        house = House(stage)
        house.replays.hold(after=True)
        job = await house.replay()
        await house.replays.begun.wait()
        await house.stop(patience_s=0)
        stage.clock.advance_ms(KEY_KEPT_MS + 1)
        house.replays.let_go()
        house.start()
        await house.ended(job)
        assert await house.copied() == sorted(events * 2)
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_a_stop_leaves_the_job_to_the_next_start(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 30)
        house = House(stage)
        house.replays.hold()
        job = await house.replay()
        await house.replays.begun.wait()
        stopping = asyncio.get_running_loop().create_task(house.stop())
        await asyncio.sleep(0)
        house.replays.let_go()
        await stopping
        left = await house.jobs.get(DEFAULT_ORGANISATION, job.id)
        assert (left.state, left.done) == (JobState.RUNNING, 0)
        assert len(await house.copied()) == FAST.at_once_max, "what was being stored was let end, and no more"
        house.start()
        assert counts(await house.ended(job)) == (JobState.FINISHED, 30, 0, 30, True)
        assert await house.copied() == events
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_a_stop_does_not_wait_longer_than_its_patience(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 3)
        house = House(stage)
        house.replays.hold()
        await house.replay()
        await house.replays.begun.wait()
        await house.stop(patience_s=0.01)
        assert house.replays.at_work == set()

    run(tmp_path, scenario, sending=False)


def test_a_store_that_does_not_answer_is_waited_for(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 5)
        house = House(stage)
        house.replays.search_faults.append(Unavailable("away"))
        house.replays.faults.append(Unavailable("away"))
        house.replays.late_faults.append(Unavailable("away"))
        stage.engine.faults["accept"] = [Unavailable("away")]
        job = await house.ended(await house.replay())
        assert counts(job) == (JobState.FINISHED, 5, 0, 5, True)
        assert await house.copied() == events
        await house.stop()

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Unavailable("the search took too long; narrow it down", code="search_too_long"), "took too long"),
        (ValueError("a secret"), "a fault of Tocsin's"),
        (TocsinError("no such thing"), "no such thing"),
    ],
)
def test_a_job_that_cannot_go_on_says_why_and_the_next_one_does(tmp_path: Path, fault: Exception, told: str) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 6)
        house = House(stage)
        house.replays.hold()
        job = await house.replay()
        await house.replays.begun.wait()
        house.replays.search_faults.append(fault)
        house.replays.let_go()
        failed = await house.ended(job)
        assert counts(failed)[:3] == (JobState.FAILED, 4, 0)
        assert failed.error is not None
        assert told in failed.error
        assert "secret" not in failed.error
        stage.clock.advance_ms(1)
        assert (await house.ended(await house.replay())).state is JobState.FINISHED
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_what_is_gone_is_counted_as_failed(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 2)
        house = House(stage)
        await house.stop()
        running = begin(await house.replay(), now_ms=stage.clock.now_ms())
        assert isinstance(running, Job)
        batch = take(running, events[0] + bytes(16), b"\0")
        assert isinstance(batch, Job)
        assert await stage.engine.job_write([SaveJob(batch)]) == [JobResult.DONE]
        house.start()
        job = await house.ended(running)
        assert counts(job) == (JobState.FINISHED, 1, 1, 2, True)
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_an_organisation_has_its_turn_though_all_places_are_taken_by_long_jobs_of_others(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        house = House(stage)
        busy = [OrganisationId(bytes([number]) * 16) for number in range(1, FAST.running_max + 1)]
        for each in busy:
            await stored(stage, 40, organisation_id=each)
        await stored(stage, 8, organisation_id=OTHERS)
        house.replays.hold()
        long = [await house.replay(msgspec.structs.replace(ALL, organisation_id=each), each) for each in busy]
        await stage.signal.until(lambda: house.replays.at_work == set(busy))
        late = await house.replay(msgspec.structs.replace(ALL, organisation_id=OTHERS), OTHERS)
        house.replays.let_go()
        for job in (*long, late):
            assert (await house.ended(job)).state is JobState.FINISHED
        turns = house.replays.turns
        last = {each: len(turns) - turns[::-1].index(each) for each in (*busy, OTHERS)}
        assert all(last[OTHERS] < last[each] for each in busy), turns
        assert house.replays.most_at_work == FAST.running_max
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_a_job_is_looked_for_again_soon_where_the_store_did_not_answer(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 6)
        house = House(stage, msgspec.structs.replace(FAST, look_every_s=600.0))
        house.replays.hold()
        job = await house.replay()
        await house.replays.begun.wait()
        stage.engine.faults["open_jobs"] = [Unavailable("away"), Unavailable("away")]
        house.replays.let_go()
        assert (await house.ended(job)).done == 6
        assert stage.engine.faults["open_jobs"] == []
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_an_organisation_has_one_job_under_way_and_others_do_not_wait_for_it(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 3)
        await stored(stage, 3, organisation_id=OTHERS)
        house = House(stage)
        house.replays.hold()
        first, second = await house.replay(), await house.replay()
        theirs = await house.replay(msgspec.structs.replace(ALL, organisation_id=OTHERS), OTHERS)
        await house.until(theirs, JobState.RUNNING)
        assert (await house.jobs.get(DEFAULT_ORGANISATION, second.id)).state is JobState.QUEUED
        await stage.signal.until(lambda: len(house.replays.at_work) == 2)
        house.replays.let_go()
        for job in (first, second, theirs):
            assert (await house.ended(job)).state is JobState.FINISHED
        assert house.replays.most_at_work == 2
        await house.stop()

    run(tmp_path, scenario, sending=False)


def test_so_many_jobs_may_wait_and_no_more(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        house = House(stage, msgspec.structs.replace(FAST, queued_max=2))
        await house.stop()
        asked = await asyncio.gather(*(house.replay(None) for _ in range(6)), return_exceptions=True)
        refused = [each for each in asked if isinstance(each, Conflict)]
        assert [each.code for each in refused] == ["job_limit_reached"] * 4
        assert (await stage.engine.search(JobQuery(organisation_id=DEFAULT_ORGANISATION), limit=9)).total == 2

    run(tmp_path, scenario, sending=False)


def test_a_job_keeps_its_rate_and_never_takes_more_than_a_seconds_worth_at_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stored(stage, 6)
        await stored(stage, 2, organisation_id=OTHERS)
        house = House(stage, JobLimits(events_per_s=2.0, batch_max=100, look_every_s=0.02))
        slow = await house.replay()

        async def is_counted() -> bool:
            return (await house.jobs.get(DEFAULT_ORGANISATION, slow.id)).done == 2

        await stage.signal.until_found(is_counted)
        # The clock stands still, so that no further batch may come. Another job shows that the runner goes on.
        theirs = await house.replay(msgspec.structs.replace(ALL, organisation_id=OTHERS), OTHERS)
        assert (await house.ended(theirs)).done == 2
        assert [len(each) for each in house.replays.tried] == [2, 2]
        await house.stop()

    run(tmp_path, scenario, sending=False)
