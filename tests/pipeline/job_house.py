"""Jobs and their runner on a stage, and work that a test can hold and break."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pipeline.remote import Signal
from pipeline.stage import Stage
from tocsin.core.destination import Destination
from tocsin.core.environment import Environment
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId, OrganisationId
from tocsin.core.job import Job, JobKind, JobState
from tocsin.engine.rows import EventQuery
from tocsin.pipeline.job_runner import JobLimits, JobRunner
from tocsin.pipeline.job_work import Portion, RecoveryWork, ReplayWork, Tried, Work
from tocsin.pipeline.jobs import Jobs
from tocsin.pipeline.replay import Replay

FAST = JobLimits(events_per_s=100_000.0, batch_max=4, at_once_max=3, look_every_s=0.02, pause_s=0.01)
ALL = EventQuery(organisation_id=DEFAULT_ORGANISATION, type="happened")


class Watched:
    """Work that notes what it is given, and fails when it is told to.

    Attributes:
        tried: the ids of each call.
        turns: the organisation of each call.
        faults: what the next calls raise before the work is done, one each; None is nothing.
        late_faults: so, after it is done.
        held: what calls wait for, before their work is done or ``after`` it, from the ``hold_from``th on.
        begun: somebody waits there.
    """

    def __init__(self, work: Work, signal: Signal) -> None:
        self._work = work
        self._signal = signal
        self.tried: list[list[bytes]] = []
        self.turns: list[OrganisationId] = []
        self.faults: list[Exception | None] = []
        self.late_faults: list[Exception | None] = []
        self.search_faults: list[Exception] = []
        self.held: asyncio.Event | None = None
        self.hold_from = 1
        self.after = False
        self.begun = asyncio.Event()
        self.at_work: set[OrganisationId] = set()
        self.most_at_work = 0

    async def next(self, job: Job, limit: int) -> Portion:
        if self.search_faults:
            raise self.search_faults.pop(0)
        return await self._work.next(job, limit)

    async def carry_out(self, job: Job, ids: Sequence[bytes]) -> Tried:
        self.tried.append(list(ids))
        self.turns.append(job.organisation_id)
        assert job.organisation_id not in self.at_work, "two jobs of one organisation at once"
        self.at_work.add(job.organisation_id)
        self.most_at_work = max(self.most_at_work, len(self.at_work))
        self._signal.give()
        try:
            if not self.after:
                await self._hold()
            _raise_next(self.faults)
            tried = await self._work.carry_out(job, ids)
            _raise_next(self.late_faults)
            if self.after:
                await self._hold()
            return tried
        finally:
            self.at_work.discard(job.organisation_id)

    def hold(self, *, call: int = 1, after: bool = False) -> None:
        """Let the call with this number, and all behind it, wait."""
        self.held, self.hold_from, self.after = asyncio.Event(), call, after

    def let_go(self) -> None:
        assert self.held is not None
        self.held.set()
        self.held = None

    async def _hold(self) -> None:
        if self.held is not None and len(self.tried) >= self.hold_from:
            self.begun.set()
            await self.held.wait()


def _raise_next(faults: list[Exception | None]) -> None:
    fault = faults.pop(0) if faults else None
    if fault is not None:
        raise fault


class House:
    """Jobs and their runner on a stage."""

    def __init__(self, stage: Stage, limits: JobLimits = FAST) -> None:
        self.stage = stage
        self.limits = limits
        replay = Replay(engine=stage.engine, ingest=stage.ingest, clock=stage.clock)
        self.replays = Watched(ReplayWork(engine=stage.engine, replay=replay), stage.signal)
        self.recoveries = Watched(
            RecoveryWork(engine=stage.engine, catalog=stage.catalog, clock=stage.clock), stage.signal
        )
        self.start()

    def start(self) -> None:
        """Start a runner, as a new process does."""
        works: dict[JobKind, Work] = {JobKind.REPLAY: self.replays, JobKind.RECOVERY: self.recoveries}
        self.runner = JobRunner(engine=self.stage.engine, works=works, clock=self.stage.clock, limits=self.limits)
        self.jobs = Jobs(
            engine=self.stage.engine,
            clock=self.stage.clock,
            ids=self.stage.ids,
            wake=self.runner.wake,
            queued_max=self.limits.queued_max,
        )
        self._keeping = asyncio.get_running_loop().create_task(self.runner.keep())

    async def stop(self, patience_s: float = 5.0) -> None:
        """Stop the runner, as SIGTERM does."""
        await self.runner.stop(patience_s)
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)

    async def replay(self, query: EventQuery | None = ALL, organisation_id: OrganisationId | None = None) -> Job:
        return await self.jobs.replay(
            organisation_id or DEFAULT_ORGANISATION, query, environment=Environment.LIVE, wanted={"type": "happened"}
        )

    async def recovery(self, destination: Destination, *, since_ms: int = 0) -> Job:
        return await self.jobs.recovery(
            destination.organisation_id,
            destination.id,
            environment=Environment.LIVE,
            wanted={},
            since_ms=since_ms,
        )

    async def until(self, job: Job, *states: JobState) -> Job:
        """Return the job once it is in one of these states."""

        async def is_there() -> bool:
            return (await self.jobs.get(job.organisation_id, job.id)).state in states

        await self.stage.signal.until_found(is_there)
        return await self.jobs.get(job.organisation_id, job.id)

    async def ended(self, job: Job) -> Job:
        """Return the job once nothing of it is left to do."""

        async def is_over() -> bool:
            return (await self.jobs.get(job.organisation_id, job.id)).ended_ms is not None

        await self.stage.signal.until_found(is_over)
        return await self.jobs.get(job.organisation_id, job.id)

    async def copied(self) -> list[EventId]:
        """Return what was replayed, each as often as it was."""
        return sorted(each.replay_of for each in await self.stage.events() if each.replay_of is not None)


async def stored(stage: Stage, count: int, **fields: object) -> list[EventId]:
    """Store events; return their ids, oldest first."""
    made = []
    for _ in range(count):
        stage.clock.advance_ms(1)
        made.append((await stage.ingest.accept(stage.draft(**fields))).event_id)
    stage.clock.advance_ms(1)
    return made


def counts(job: Job) -> tuple[JobState, int, int, int, bool]:
    return job.state, job.done, job.failed, job.total, job.total_is_exact
