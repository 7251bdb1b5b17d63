"""Doing what jobs ask for: in small batches, at a bounded rate, one job of an organisation at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import msgspec
import structlog

from tocsin.core import job as rules
from tocsin.core.clock import Clock
from tocsin.core.errors import TocsinError, Unavailable
from tocsin.core.identifiers import OrganisationId
from tocsin.core.job import Job, JobKind, JobRefusal, JobState
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import JobResult, SaveJob
from tocsin.pipeline.job_work import Portion, Tried, Work

_log = structlog.get_logger("tocsin.jobs")

_ID_BYTES = 16
_BROKE = "a fault of Tocsin's; the log tells more"


class JobLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much jobs may ask of the gateway, so that live traffic goes first.

    Attributes:
        events_per_s: events or deliveries of one job in a second.
        batch_max: of them in one batch, which is what a crash repeats; never more than a second's worth.
        at_once_max: of them read and stored at once; an event may hold a mebibyte.
        running_max: jobs under way at once, of as many organisations.
        queued_max: jobs of one organisation that may wait.
        look_every_s: how often jobs are looked for that nobody told of.
        pause_s: before a store that did not answer is asked again.
    """

    events_per_s: float = 200.0
    batch_max: int = 100
    at_once_max: int = 16
    running_max: int = 4
    queued_max: int = 100
    look_every_s: float = 5.0
    pause_s: float = 0.5


class _Stopped(Exception):
    """The gateway is going down; the job goes on after the next start."""


class JobRunner:
    """Does jobs.

    Args:
        works: how each kind is done.
    """

    def __init__(self, *, engine: Engine, works: Mapping[JobKind, Work], clock: Clock, limits: JobLimits) -> None:
        self._engine = engine
        self._works = works
        self._clock = clock
        self._limits = limits
        self._wanted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._running: dict[OrganisationId, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Look for jobs now."""
        self._wanted.set()

    async def keep(self) -> None:
        """Look for jobs and begin them, for ever; those that were under way when the last process ended go first."""
        while not self._stopping.is_set():
            self._wanted.clear()
            with suppress(Unavailable):
                await self._begin_jobs()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.look_every_s):
                    await self._wanted.wait()

    async def stop(self, patience_s: float) -> None:
        """Let what is being stored right now end; the jobs stay as they are written down."""
        self._stopping.set()
        tasks = list(self._running.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _begin_jobs(self) -> None:
        free = self._limits.running_max - len(self._running)
        if free <= 0:
            return
        found = await self._engine.open_jobs(self._limits.running_max + len(self._running))
        for job in [each for each in found if each.organisation_id not in self._running][:free]:
            if self._stopping.is_set():
                return
            task = asyncio.get_running_loop().create_task(self._run(job))
            self._running[job.organisation_id] = task

    async def _run(self, job: Job) -> None:
        course = _Course(job, self._works[job.kind], self._engine, self._clock, self._limits, self._stopping)
        try:
            await course.run()
        except _Stopped:
            pass
        except Exception as fault:  # noqa: BLE001  not even its failure could be written down: it is begun again
            _log.exception("job_broke", job=job.id.hex(), exc_info=fault)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.pause_s):
                    await self._stopping.wait()
        finally:
            del self._running[job.organisation_id]
            self.wake()


class _Course:
    """One job on its way."""

    def __init__(
        self, job: Job, work: Work, engine: Engine, clock: Clock, limits: JobLimits, stopping: asyncio.Event
    ) -> None:
        self._job = job
        self._work = work
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._stopping = stopping
        self._free_from_s = clock.monotonic_s()
        self._uncounted = Tried(0, 0)
        """What the batch came to that the store has not been told of."""

    async def run(self) -> None:
        """Go on from where the job is written down to its end.

        Raises:
            _Stopped: the gateway is going down.
        """
        try:
            goes_on = await self._step(rules.begin(self._job, now_ms=self._clock.now_ms()))
            while goes_on:
                goes_on = await self._batch()
        except _Stopped:
            raise
        except TocsinError as error:
            await self._fail(error.detail)
        except Exception as fault:  # noqa: BLE001  whatever broke, the job must not be tried for ever
            _log.exception("job_broke", job=self._job.id.hex(), exc_info=fault)
            await self._fail(_BROKE)

    async def _batch(self) -> bool:
        """Do the batch that is written down, and write down the next; return whether the job goes on."""
        job = self._job
        if job.batch:
            await self._carry_out(job)
            job = _must(rules.count(job, done=self._uncounted.done, failed=self._uncounted.failed))
        if job.exhausted:
            return await self._step(rules.finish(job, now_ms=self._clock.now_ms()))
        portion = await self._next(job)
        return await self._step(rules.take(job, b"".join(portion.ids), portion.cursor))

    async def _carry_out(self, job: Job) -> None:
        self._uncounted = Tried(0, 0)
        step = max(1, self._limits.at_once_max) * _ID_BYTES
        for start in range(0, len(job.batch), step):
            part = job.batch[start : start + step]
            ids = [part[at : at + _ID_BYTES] for at in range(0, len(part), _ID_BYTES)]
            await self._wait_for_room(len(ids))
            tried = await self._carry_out_part(job, ids)
            before = self._uncounted
            self._uncounted = Tried(before.done + tried.done, before.failed + tried.failed)

    async def _carry_out_part(self, job: Job, ids: list[bytes]) -> Tried:
        while True:
            try:
                return await self._work.carry_out(job, ids)
            except Unavailable:
                await self._pause(self._limits.pause_s)

    async def _next(self, job: Job) -> Portion:
        size = max(1, min(self._limits.batch_max, int(self._limits.events_per_s)))
        while True:
            begun_s = self._clock.monotonic_s()
            try:
                portion = await self._work.next(job, size)
                # A search rests as long as it took: what matches little is looked for without hurry.
                await self._pause(self._clock.monotonic_s() - begun_s)
                return portion
            except Unavailable as error:
                if error.code == "search_too_long":
                    raise
                await self._pause(self._limits.pause_s)

    async def _wait_for_room(self, count: int) -> None:
        """Return when so many more may be done by the rate."""
        now_s = self._clock.monotonic_s()
        wait_s = self._free_from_s - now_s
        self._free_from_s = max(now_s, self._free_from_s) + count / self._limits.events_per_s
        await self._pause(max(0.0, wait_s))

    async def _pause(self, wait_s: float) -> None:
        if wait_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stopping.wait()
        if self._stopping.is_set():
            raise _Stopped

    async def _step(self, after: Job | JobRefusal) -> bool:
        """Write down where the job stands; return whether it goes on."""
        if isinstance(after, JobRefusal):
            return False
        saved = await self._saved_at_last(after)
        self._uncounted = Tried(0, 0)
        if saved is None or saved.state is not JobState.RUNNING:
            self._tell(saved)
            return False
        self._job = saved
        return True

    async def _saved_at_last(self, after: Job) -> Job | None:
        while True:
            try:
                return await self._saved(after)
            except Unavailable:
                await self._pause(self._limits.pause_s)

    async def _saved(self, after: Job) -> Job | None:
        """Return the job as it stands now, saved or as somebody else left it; its batch is counted if cancelled."""
        (result,) = await self._engine.job_write([SaveJob(after)])
        stands = await self._find()
        if result is JobResult.DONE or stands is None or stands.state is not JobState.CANCELLED or not stands.batch:
            return stands
        counted = rules.count(stands, done=self._uncounted.done, failed=self._uncounted.failed)
        await self._engine.job_write([SaveJob(_must(counted))])
        return await self._find()

    async def _find(self) -> Job | None:
        (found,) = await self._engine.find(Job, self._job.organisation_id, [self._job.id])
        return found

    async def _fail(self, error: str) -> None:
        now_ms = self._clock.now_ms()
        job = _must(rules.begin(self._job, now_ms=now_ms))
        if self._uncounted != Tried(0, 0):
            job = _must(rules.count(job, done=self._uncounted.done, failed=self._uncounted.failed))
        await self._step(rules.fail(job, error, now_ms=now_ms))

    def _tell(self, job: Job | None) -> None:
        if job is not None:
            _log.info(
                "job_ended",
                job=job.id.hex(),
                kind=job.kind.value,
                state=job.state.value,
                done=job.done,
                failed=job.failed,
                error=job.error,
            )


def _must(step: Job | JobRefusal) -> Job:
    assert isinstance(step, Job)
    return step
