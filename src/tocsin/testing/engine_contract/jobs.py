"""Jobs and the audit trail: compared and set, found by whoever goes on, and kept with what they tell of."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tocsin.core.audit import Actor, ActorKind, AuditId, AuditRecord
from tocsin.core.environment import Environment
from tocsin.core.event import Event
from tocsin.core.identifiers import KeyId, OrganisationId
from tocsin.core.job import Job, JobId, JobKind, JobState
from tocsin.core.organisation import Category
from tocsin.engine.rows import (
    AmendmentResult,
    AuditQuery,
    Cancel,
    CatalogResult,
    DeliveryQuery,
    EventQuery,
    JobQuery,
    JobResult,
    Note,
    Retry,
    Save,
    SaveJob,
)
from tocsin.testing.engine_contract.stage import RETENTION_MS, Stage, scenario

DONE, CHANGED = JobResult.DONE, JobResult.CHANGED_MEANWHILE
_BUDGET_MS = 1000


def _job(stage: Stage, *, organisation: OrganisationId | None = None, **more: Any) -> Job:
    return Job(
        id=JobId(stage.id()),
        organisation_id=organisation or stage.organisation,
        kind=JobKind.REPLAY,
        created_ms=stage.clock.now_ms(),
        **more,
    )


def _record(
    stage: Stage, action: str = "thing.done", *, organisation: OrganisationId | None = None, **more: Any
) -> AuditRecord:
    given: dict[str, Any] = {"actor": Actor(kind=ActorKind.KEY, key_id=KeyId(b"k" * 16), name="ci")}
    return AuditRecord(
        id=AuditId(stage.id()),
        organisation_id=organisation or stage.organisation,
        at_ms=stage.clock.now_ms(),
        action=action,
        **(given | more),
    )


async def _save(stage: Stage, *jobs: Job) -> list[JobResult]:
    return await stage.engine.job_write([SaveJob(each) for each in jobs])


async def _stored(stage: Stage, job: Job) -> Job:
    (found,) = await stage.engine.find(Job, job.organisation_id, [job.id])
    assert found is not None
    return found


async def _open(stage: Stage, limit: int, *, after: OrganisationId | None = None) -> dict[OrganisationId, JobId]:
    """Return the open jobs by their organisations, in the order in which they were found."""
    found = await stage.engine.open_jobs(limit, after=after)
    by_organisation = {each.organisation_id: each.id for each in found}
    assert len(by_organisation) == len(found)
    return by_organisation


async def _trail(stage: Stage, organisation: OrganisationId | None = None, **terms: Any) -> list[AuditRecord]:
    return await stage.all(AuditQuery(organisation_id=organisation or stage.organisation, **terms), limit=2)


class JobContract:
    """``job_write``, ``open_jobs``, and finding and listing jobs."""

    @scenario
    async def test_a_job_comes_back_as_it_was_saved(self, stage: Stage) -> None:
        job = _job(
            stage,
            environment=Environment.TEST,
            wanted={"type": "a.*", "status": ["x", "y"]},
            plan=b"\x00\xff",
            state=JobState.FAILED,
            cursor=b"\xff" * 16,
            batch=b"i" * 32,
            exhausted=True,
            done=3,
            failed=2,
            total=10_000,
            total_is_exact=False,
            started_ms=1,
            ended_ms=2,
            error="Ä",
        )
        assert await _save(stage, job) == [DONE]
        await stage.reopen()
        found = await _stored(stage, job)
        assert found.revision > 0
        assert msgspec.structs.replace(found, revision=0) == job

    @scenario
    async def test_a_job_is_saved_over_the_revision_that_stands_alone(self, stage: Stage) -> None:
        job = _job(stage)
        assert await _save(stage, job) == [DONE]
        assert await _save(stage, job) == [CHANGED]
        first = await _stored(stage, job)
        racing = [msgspec.structs.replace(first, done=number) for number in range(1, 20)]
        results = await asyncio.gather(*(_save(stage, each) for each in racing))
        assert sorted(result for (result,) in results) == [CHANGED] * 18 + [DONE]
        (won,) = [each.done for each, result in zip(racing, results, strict=True) if result == [DONE]]
        assert (await _stored(stage, job)).done == won

    @scenario
    async def test_each_job_of_a_batch_is_judged_by_itself(self, stage: Stage) -> None:
        job, other = _job(stage), _job(stage)
        await _save(stage, job)
        assert await _save(stage, job, other) == [CHANGED, DONE]
        assert (await _stored(stage, other)).id == other.id

    @scenario
    async def test_a_job_is_changed_within_its_organisation(self, stage: Stage) -> None:
        job = _job(stage)
        await _save(stage, job)
        stands = await _stored(stage, job)
        stolen = msgspec.structs.replace(stands, organisation_id=stage.foreign, done=9)
        assert await _save(stage, stolen) == [CHANGED]
        assert await _stored(stage, job) == stands

    @scenario
    async def test_jobs_are_found_and_listed_within_their_organisation(self, stage: Stage) -> None:
        ours = [_job(stage) for _ in range(5)]
        foreign = _job(stage, organisation=stage.foreign)
        await _save(stage, *ours, foreign)
        assert await stage.engine.find(Job, stage.foreign, [ours[0].id, foreign.id]) == [
            None,
            await _stored(stage, foreign),
        ]
        listed = await stage.all(JobQuery(organisation_id=stage.organisation), limit=2)
        assert [each.id for each in listed] == [each.id for each in reversed(ours)]

    @scenario
    async def test_jobs_are_listed_by_state_and_time(self, stage: Stage) -> None:
        by_state = {}
        for state in JobState:
            stage.clock.advance_ms(1000)
            by_state[state] = _job(stage, state=state)
        await _save(stage, *by_state.values())
        for state, job in by_state.items():
            (found,) = await stage.all(JobQuery(organisation_id=stage.organisation, state=state))
            assert found.id == job.id
            window = JobQuery(organisation_id=stage.organisation, since_ms=job.created_ms, until_ms=job.created_ms)
            assert [each.id for each in await stage.all(window)] == [job.id]

    @scenario
    async def test_jobs_are_listed_by_environment(self, stage: Stage) -> None:
        live, test = _job(stage), _job(stage, environment=Environment.TEST)
        await _save(stage, live, test)
        for job in (live, test):
            (found,) = await stage.all(JobQuery(organisation_id=stage.organisation, environment=job.environment))
            assert found.id == job.id

    @scenario
    async def test_the_oldest_open_job_of_each_organisation_is_found(self, stage: Stage) -> None:
        assert await stage.engine.open_jobs(9) == []
        over = [
            _job(stage, state=state, ended_ms=1) for state in (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
        ]
        first = _job(stage, state=JobState.RUNNING)
        foreign = _job(stage, organisation=stage.foreign)
        later = _job(stage)
        await _save(stage, *over, later, foreign, first)
        assert await _open(stage, 9) == {stage.organisation: first.id, stage.foreign: foreign.id}
        await _save(stage, msgspec.structs.replace(await _stored(stage, first), state=JobState.FINISHED, ended_ms=1))
        assert await _open(stage, 9) == {stage.organisation: later.id, stage.foreign: foreign.id}
        assert await _stored(stage, later) in await stage.engine.open_jobs(9)

    @scenario
    async def test_a_cancelled_job_is_open_until_it_has_ended(self, stage: Stage) -> None:
        left = _job(stage, state=JobState.CANCELLED, batch=b"i" * 16)
        later = _job(stage)
        await _save(stage, later, left)
        await stage.reopen()
        assert await _open(stage, 9) == {stage.organisation: left.id}
        assert await stage.engine.open_jobs(9) == [await _stored(stage, left)]
        stage.clock.advance_ms(RETENTION_MS + 1)
        while await stage.engine.tend(_BUDGET_MS):
            pass
        settled = msgspec.structs.replace(await _stored(stage, left), batch=b"", ended_ms=stage.clock.now_ms())
        assert await _save(stage, settled) == [DONE]
        assert await _open(stage, 9) == {stage.organisation: later.id}

    @scenario
    async def test_open_jobs_are_found_from_one_organisation_to_the_next(self, stage: Stage) -> None:
        organisations = [OrganisationId(stage.id()) for _ in range(5)]
        jobs = {each: _job(stage, organisation=each) for each in reversed(organisations)}
        over = _job(stage, organisation=OrganisationId(stage.id()), state=JobState.FINISHED, ended_ms=1)
        await _save(stage, *jobs.values(), *(_job(stage, organisation=each) for each in organisations), over)
        for limit in (1, 2, 5, 9):
            for place, after in enumerate([None, *organisations]):
                expected = {each: jobs[each].id for each in organisations[place:][:limit]}
                found = await _open(stage, limit, after=after)
                assert list(found.items()) == list(expected.items())

    @scenario
    async def test_a_job_is_dropped_when_it_has_been_over_for_long(self, stage: Stage) -> None:
        now_ms = stage.clock.now_ms()
        over = _job(stage, state=JobState.FINISHED, ended_ms=now_ms)
        late = _job(stage, state=JobState.CANCELLED, ended_ms=now_ms + 1)
        still_open = _job(stage, state=JobState.RUNNING)
        await _save(stage, over, late, still_open)
        stage.clock.advance_ms(RETENTION_MS + 1)
        while await stage.engine.tend(_BUDGET_MS):
            pass
        left = await stage.all(JobQuery(organisation_id=stage.organisation))
        assert [each.id for each in left] == [still_open.id, late.id]


class AuditContract:
    """Records are kept with what they tell of, or not at all."""

    @scenario
    async def test_a_record_comes_back_as_it_was_kept(self, stage: Stage) -> None:
        full = _record(
            stage, subject="dst_1", summary={"changed": {"name": {"from": "a", "to": "b"}}, "n": [1]}, client="::1"
        )
        bare = _record(stage, actor=Actor(kind=ActorKind.OTHER))
        assert await stage.engine.catalog_write([Note(full), Note(bare)]) == [CatalogResult.DONE] * 2
        await stage.reopen()
        assert await _trail(stage) == [bare, full]

    @scenario
    async def test_a_refused_change_of_the_catalog_leaves_no_record(self, stage: Stage) -> None:
        category = Category(id=KeyId(stage.id()), organisation_id=stage.organisation, name="c", color=1, created_ms=0)
        told, untold = _record(stage), _record(stage)
        assert await stage.engine.catalog_write([Save(category), Note(told)]) == [CatalogResult.DONE] * 2
        refused = [CatalogResult.SKIPPED, CatalogResult.CHANGED_MEANWHILE]
        assert await stage.engine.catalog_write([Note(untold), Save(category)]) == refused
        assert await stage.engine.catalog_write([Save(category), Note(untold)]) == refused[::-1]
        assert await _trail(stage) == [told]

    @scenario
    async def test_a_refused_amendment_leaves_no_record(self, stage: Stage) -> None:
        new = stage.new(stage.destination())
        await stage.store(new)
        delivery_id = new.deliveries[0].id
        sent = _record(stage, "delivery.retried")
        lease = await stage.claim_one()
        retry = Retry(stage.organisation, delivery_id, stage.clock.now_ms(), record=sent)
        assert await stage.engine.amend([retry]) == [AmendmentResult.REFUSED]
        assert await _trail(stage) == []
        await stage.finish(lease)
        gone = Cancel(stage.organisation, delivery_id, record=_record(stage, "delivery.cancelled"))
        assert await stage.engine.amend([gone, retry]) == [AmendmentResult.REFUSED, AmendmentResult.DONE]
        assert await _trail(stage) == [sent]
        assert await stage.engine.amend([gone]) == [AmendmentResult.DONE]
        assert [each.action for each in await _trail(stage)] == ["delivery.cancelled", "delivery.retried"]

    @scenario
    async def test_an_event_that_is_not_stored_leaves_no_record(self, stage: Stage) -> None:
        key = stage.key("one")
        first, second = _record(stage), _record(stage)
        new = msgspec.structs.replace(stage.new(keys=[key]), record=first)
        repeat = msgspec.structs.replace(stage.new(keys=[key]), record=second)
        await stage.judge(new, repeat)
        assert await _trail(stage) == [first]

    @scenario
    async def test_a_job_that_is_not_saved_leaves_no_record(self, stage: Stage) -> None:
        job = _job(stage)
        asked, again = _record(stage), _record(stage)
        await stage.engine.job_write([SaveJob(job, asked), SaveJob(job, again)])
        assert await _trail(stage) == [asked]

    @scenario
    async def test_the_trail_is_listed_by_each_term_within_its_organisation(self, stage: Stage) -> None:
        key = Actor(kind=ActorKind.KEY, key_id=KeyId(b"a" * 16), name="a")
        operator = Actor(kind=ActorKind.OPERATOR, key_id=KeyId(b"o" * 16), name="o")
        one = _record(stage, "a.made", actor=key, subject="x")
        stage.clock.advance_ms(1000)
        two = _record(stage, "a.changed", actor=operator, subject="x")
        three = _record(stage, "a.made", actor=key, subject="y")
        foreign = _record(stage, "a.made", actor=key, subject="x", organisation=stage.foreign)
        await stage.engine.catalog_write([Note(each) for each in (one, two, three, foreign)])
        assert await _trail(stage) == [three, two, one]
        assert await _trail(stage, actor=ActorKind.OPERATOR) == [two]
        assert await _trail(stage, key_id=key.key_id) == [three, one]
        assert await _trail(stage, action="a.made") == [three, one]
        assert await _trail(stage, subject="x") == [two, one]
        assert await _trail(stage, since_ms=two.at_ms) == [three, two]
        assert await _trail(stage, until_ms=one.at_ms) == [one]
        assert await _trail(stage, stage.foreign) == [foreign]

    @scenario
    async def test_old_records_are_dropped(self, stage: Stage) -> None:
        old = _record(stage)
        stage.clock.advance_ms(RETENTION_MS)
        young = _record(stage)
        await stage.engine.catalog_write([Note(old), Note(young)])
        stage.clock.advance_ms(1)
        while await stage.engine.tend(_BUDGET_MS):
            pass
        assert await _trail(stage) == [young]


class UncountedContract:
    """Searches as a job makes them."""

    @scenario
    async def test_a_search_that_is_not_counted_finds_the_same(self, stage: Stage) -> None:
        await stage.store(*(stage.new(stage.destination()) for _ in range(7)))
        for counted in (True, False):
            events = EventQuery(organisation_id=stage.organisation, counted=counted)
            assert len(await stage.all(events, limit=2)) == 7
            deliveries = DeliveryQuery(organisation_id=stage.organisation, counted=counted)
            assert len(await stage.all(deliveries, limit=2)) == 7

    @scenario
    async def test_deliveries_are_listed_in_either_order(self, stage: Stage) -> None:
        destination = stage.destination()
        await stage.store(*(stage.new(destination) for _ in range(5)))
        for lease in (await stage.claim())[:2]:
            await stage.finish(lease)
        query = DeliveryQuery(organisation_id=stage.organisation, destination_id=destination)
        newest_first = [row.delivery.id for row in await stage.all(query, limit=2)]
        rising = msgspec.structs.replace(query, ascending=True)
        assert [row.delivery.id for row in await stage.all(rising, limit=2)] == newest_first[::-1]
        assert newest_first == sorted(newest_first, reverse=True)

    @scenario
    async def test_what_another_event_took_the_place_of_can_be_left_out(self, stage: Stage) -> None:
        original, other = stage.new(), stage.new()
        await stage.store(original, other)
        copy = stage.new(event=stage.event(replay_of=original.event.id))
        await stage.store(copy)
        query = EventQuery(organisation_id=stage.organisation, unreplayed=True)
        assert await stage.ids_of(query) == [copy.event.id, other.event.id]
        assert (await stage.search(query)).total == 2
        (found,) = await stage.engine.find(Event, stage.organisation, [original.event.id])
        assert found is not None
