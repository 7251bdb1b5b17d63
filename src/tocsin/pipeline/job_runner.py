"""Doing what jobs ask for: in small batches, at a bounded rate, one job of an organisation at a time.

Organisations take turns, each a batch at a time, so that none waits for the end of another's job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
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
        running_max: batches under way at once, of as many organisations; more organisations take turns.
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
        self._left: dict[OrganisationId, float] = {}
        """Until when an organisation's jobs are left to another process, which did a batch before this one did."""
        self._last: OrganisationId | None = None

    def wake(self) -> None:
        """Look for jobs now."""
        self._wanted.set()

    async def keep(self) -> None:
        """Look for jobs and give them their turns, for ever; those that the last process left are among them."""
        while not self._stopping.is_set():
            self._wanted.clear()
            wait_s = self._limits.look_every_s
            try:
                await self._begin_turns()
            except Unavailable:
                wait_s = self._limits.pause_s
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
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

    async def _begin_turns(self) -> None:
        free = self._limits.running_max - len(self._running)
        if free <= 0:
            return
        # Whoever is at work now may be done before the store has answered, and is then found as it was before.
        now_s = self._clock.monotonic_s()
        self._left = {each: until_s for each, until_s in self._left.items() if until_s > now_s}
        busy = self._running.keys() | self._left.keys()
        found = await self._next_in_turn()
        for job in [each for each in found if each.organisation_id not in busy][:free]:
            if self._stopping.is_set():
                return
            task = asyncio.get_running_loop().create_task(self._run(job))
            self._running[job.organisation_id] = task
            self._last = job.organisation_id

    async def _next_in_turn(self) -> list[Job]:
        """Return a job of each organisation, from the one behind the last that had a turn on, and around."""
        # As many as may be under way: what is left without those that are is enough for the free places.
        most = self._limits.running_max + len(self._left)
        found = await self._engine.open_jobs(most, after=self._last)
        if self._last is not None and len(found) < most:
            seen = {each.organisation_id for each in found}
            found += [each for each in await self._engine.open_jobs(most) if each.organisation_id not in seen]
        return found

    async def _run(self, job: Job) -> None:
        turn = _Turn(job, self._works[job.kind], self._engine, self._clock, self._limits, self._stopping)
        try:
            await turn.take()
            if turn.lost:
                self._left[job.organisation_id] = self._clock.monotonic_s() + 2 * self._limits.look_every_s
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


class _Turn:
    """One batch of a job, with which the next one is written down."""

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
        self._tried = Tried(0, 0)
        """What the batch came to so far; the store is told of it with the step behind the batch."""
        self._refused = False
        self.lost = False
        """Whether another process had done the batch before; what it came to is counted once."""

    async def take(self) -> None:
        """Do the batch that is written down; return once its time by the rate is over too.

        Raises:
            _Stopped: the gateway is going down.
        """
        try:
            await self._batch()
        except _Stopped:
            raise
        except TocsinError as error:
            await self._fail(error.detail)
        except Exception as fault:  # noqa: BLE001  whatever broke, the job must not be tried for ever
            _log.exception("job_broke", job=self._job.id.hex(), exc_info=fault)
            await self._fail(_BROKE)
        await self._wait_for_room(0)

    async def _batch(self) -> None:
        if self._job.state is not JobState.CANCELLED:
            self._job = _must(rules.begin(self._job, now_ms=self._clock.now_ms()))
        await self._carry_out(self._job)
        is_last = self._job.exhausted or self._job.state is JobState.CANCELLED
        portion = None if is_last else await self._next(self._job)
        await self._settle(lambda job: self._behind_batch(job, portion))

    def _behind_batch(self, job: Job, portion: Portion | None) -> Job:
        now_ms = self._clock.now_ms()
        if job.batch:
            job = _must(rules.count(job, done=self._tried.done, failed=self._tried.failed, now_ms=now_ms))
        if job.state is JobState.CANCELLED:
            return job
        if portion is None:
            return _must(rules.finish(job, now_ms=now_ms))
        return _must(rules.take(job, b"".join(portion.ids), portion.cursor))

    async def _fail(self, error: str) -> None:
        now_ms, tried = self._clock.now_ms(), self._tried
        await self._settle(
            lambda job: _must(rules.fail(job, error, done=tried.done, failed=tried.failed, now_ms=now_ms))
        )

    async def _carry_out(self, job: Job) -> None:
        step = max(1, self._limits.at_once_max) * _ID_BYTES
        for start in range(0, len(job.batch), step):
            part = job.batch[start : start + step]
            ids = [part[at : at + _ID_BYTES] for at in range(0, len(part), _ID_BYTES)]
            await self._wait_for_room(len(ids))
            tried = await self._carry_out_part(job, ids)
            before = self._tried
            self._tried = Tried(before.done + tried.done, before.failed + tried.failed)

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

    async def _settle(self, step: Callable[[Job], Job]) -> None:
        """Write a step down; where the job was cancelled meanwhile, its batch is settled by the same step."""
        stands = await self._write_down(step(self._job))
        # Whoever comes first writes down another batch; only a cancellation leaves this one where it is.
        self.lost = stands is not None and self._refused and stands.batch != self._job.batch
        if stands is not None and stands.ended_ms is None and stands.batch and stands.batch == self._job.batch:
            await self._write_down(step(stands))

    async def _write_down(self, after: Job) -> Job | None:
        """Save the job unless somebody else did so before; return it as it stands then."""
        in_doubt = False
        while True:
            try:
                (result,) = await self._engine.job_write([SaveJob(after)])
                # One that was not answered may have been saved: then it is this process that came before.
                self._refused = result is JobResult.CHANGED_MEANWHILE and not in_doubt
                (stands,) = await self._engine.find(Job, after.organisation_id, [after.id])
            except Unavailable:
                in_doubt = True
                await self._pause(self._limits.pause_s)
                continue
            if stands is not None and stands.ended_ms is not None:
                self._tell(stands)
            return stands

    def _tell(self, job: Job) -> None:
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
