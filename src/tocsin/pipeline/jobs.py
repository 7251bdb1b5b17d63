"""Jobs as their callers see them: asked for, counted before, looked at, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tocsin.core import job as rules
from tocsin.core.clock import Clock
from tocsin.core.delivery import DeliveryPhase, EventStatus
from tocsin.core.environment import Environment
from tocsin.core.errors import Conflict, NotFound
from tocsin.core.identifiers import DestinationId, IdSequence, OrganisationId, prefixed
from tocsin.core.job import Job, JobId, JobKind, JobRefusal, JobState
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import DeliveryQuery, EventQuery, JobQuery, JobResult, Query, SaveJob
from tocsin.pipeline.audit import record_of
from tocsin.pipeline.job_work import written
from tocsin.pipeline.recovery import GIVEN_UP

PREFIX = "job"
"""How a job's id begins where it is shown."""

_CANCEL_TRIES_MAX = 20
"""A job that is under way is saved several times a second, each time under a new revision."""


class Count(msgspec.Struct, frozen=True):
    """How much a job would be about; at least so much where ``exact`` is False: the time to count was up."""

    count: int
    exact: bool


class Jobs:
    """Asks for jobs, and shows and cancels them.

    Args:
        ids: the sequence that new events are named by: what a job makes is younger than the job.
        wake: called when there is something new to do.
        queued_max: jobs of one organisation that may wait.
    """

    def __init__(
        self, *, engine: Engine, clock: Clock, ids: IdSequence, wake: Callable[[], None], queued_max: int
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._ids = ids
        self._wake = wake
        self._queued_max = queued_max
        self._asking = asyncio.Lock()

    async def count_events(self, query: EventQuery | None) -> Count:
        """Return how many events a replay would take; a query of None matches nothing.

        Those that another event took the place of are left out, unless the query asks for them by their status.

        Raises:
            Unavailable: ``search_too_long``.
        """
        if query is None:
            return Count(0, exact=True)
        return await self._count(_replayable(query))

    async def count_missed(
        self,
        organisation_id: OrganisationId,
        destination_id: DestinationId,
        *,
        environment: Environment,
        since_ms: int,
        until_ms: int | None = None,
        phases: frozenset[DeliveryPhase] = GIVEN_UP,
    ) -> Count:
        """Return how many deliveries a recovery would take; the arguments are those of ``recovery``.

        Raises:
            Unavailable: ``search_too_long``.
        """
        return await self._count(
            DeliveryQuery(
                organisation_id=organisation_id,
                destination_id=destination_id,
                since_ms=since_ms,
                until_ms=until_ms,
                environment=environment,
                phases=phases,
                unreplayed=True,
                with_data=False,
            )
        )

    async def replay(
        self,
        organisation_id: OrganisationId,
        query: EventQuery | None,
        *,
        environment: Environment,
        wanted: Mapping[str, str],
    ) -> Job:
        """Ask for a replay of all events that match now, newest first; return the job, stored.

        Args:
            wanted: the filter as its caller wrote it.

        Raises:
            Conflict: ``job_limit_reached``.
            Unavailable: ``search_too_long``.
        """
        count = await self.count_events(query)
        now_ms = self._clock.now_ms()
        plan = None
        if query is not None:
            until_ms = now_ms if query.until_ms is None else min(query.until_ms, now_ms)
            plan = msgspec.structs.replace(_replayable(query), until_ms=until_ms)
        return await self._ask(
            Job(
                id=JobId(self._ids.make(now_ms)),
                organisation_id=organisation_id,
                kind=JobKind.REPLAY,
                created_ms=now_ms,
                environment=environment,
                wanted=dict(wanted),
                plan=b"" if plan is None else written(plan),
                exhausted=plan is None,
                total=count.count,
                total_is_exact=count.exact,
            )
        )

    async def recovery(
        self,
        organisation_id: OrganisationId,
        destination_id: DestinationId,
        *,
        environment: Environment,
        wanted: Mapping[str, str | list[str]],
        since_ms: int,
        until_ms: int | None = None,
        phases: frozenset[DeliveryPhase] = GIVEN_UP,
    ) -> Job:
        """Ask for a recovery of what a destination missed, oldest first; return the job, stored.

        Args:
            wanted: its body as its caller wrote it.
            since_ms, until_ms: both inclusive, of the event's acceptance.
            phases: which deliveries, by how they stand now.

        Raises:
            Conflict: ``job_limit_reached``.
            Unavailable: ``search_too_long``.
        """
        now_ms = self._clock.now_ms()
        query = DeliveryQuery(
            organisation_id=organisation_id,
            destination_id=destination_id,
            since_ms=since_ms,
            until_ms=now_ms if until_ms is None else min(until_ms, now_ms),
            environment=environment,
            phases=phases,
            unreplayed=True,
            with_data=False,
            ascending=True,
        )
        count = await self._count(query)
        return await self._ask(
            Job(
                id=JobId(self._ids.make(now_ms)),
                organisation_id=organisation_id,
                kind=JobKind.RECOVERY,
                created_ms=now_ms,
                environment=environment,
                wanted=dict(wanted),
                plan=written(query),
                total=count.count,
                total_is_exact=count.exact,
            )
        )

    async def get(self, organisation_id: OrganisationId, job_id: JobId) -> Job:
        """Return a job.

        Raises:
            NotFound: the organisation has none of this id.
        """
        (found,) = await self._engine.find(Job, organisation_id, [job_id])
        if found is None:
            raise NotFound("job not found")
        return found

    async def cancel(self, organisation_id: OrganisationId, job_id: JobId) -> Job:
        """Stop a job; its batch under way is still done, after a crash too, and nothing is taken back.

        Raises:
            NotFound: the organisation has none of this id.
            Conflict: ``job_over``, or ``changed_meanwhile`` again and again.
        """
        for _ in range(_CANCEL_TRIES_MAX):
            before = await self.get(organisation_id, job_id)
            after = rules.cancel(before, now_ms=self._clock.now_ms())
            if isinstance(after, JobRefusal):
                raise Conflict("the job is over", code="job_over")
            record = record_of("job.cancelled", prefixed(PREFIX, job_id), {"kind": before.kind, "done": before.done})
            (result,) = await self._engine.job_write([SaveJob(after, record)])
            if result is JobResult.DONE:
                return await self.get(organisation_id, job_id)
        raise Conflict("it was changed meanwhile; read it again", code="changed_meanwhile")

    async def _count(self, query: Query[Any]) -> Count:
        page = await self._engine.search(msgspec.structs.replace(query, thorough=True), limit=1)
        return Count(page.total, page.total_is_exact)

    async def _ask(self, job: Job) -> Job:
        queued = JobQuery(organisation_id=job.organisation_id, state=JobState.QUEUED)
        summary = {"kind": job.kind, "wanted": job.wanted, "total": job.total}
        record = record_of("job.created", prefixed(PREFIX, job.id), summary)
        # One at a time, or many that ask at once would all find room.
        async with self._asking:
            if (await self._engine.search(queued, limit=1)).total >= self._queued_max:
                raise Conflict(
                    f"{self._queued_max} jobs wait already; cancel some, or come later", code="job_limit_reached"
                )
            await self._engine.job_write([SaveJob(job, record)])
        self._wake()
        return await self.get(job.organisation_id, job.id)


def _replayable(query: EventQuery) -> EventQuery:
    """Return the query without the events that another took the place of: that one matches too."""
    unreplayed = query.status is not EventStatus.REPLAYED
    return msgspec.structs.replace(query, with_data=False, unreplayed=unreplayed)
