"""The job: something large that is done in batches, and where it stands.

A batch is written down before it is done: the ids it is about, and the cursor behind them. Whoever goes on after a
crash does that batch again, by the same ids, and counts it once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

import msgspec

from tocsin.core.environment import Environment
from tocsin.core.identifiers import OrganisationId

JobId = NewType("JobId", bytes)


class JobKind(StrEnum):
    """What a job does."""

    REPLAY = "replay"
    RECOVERY = "recovery"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    """Waits for its turn: an organisation has one job at a time under way."""
    RUNNING = "running"
    """Under way, or to be gone on with after a restart."""
    FINISHED = "finished"
    """Everything it is about was tried; `failed` of it could not be done."""
    FAILED = "failed"
    """Given up; `error` says why."""
    CANCELLED = "cancelled"
    """Stopped by hand; what was done stays done, and the batch that was written down is still done."""


_GOING_ON = frozenset({JobState.QUEUED, JobState.RUNNING})
"""There are further batches."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is stored.

    Attributes:
        environment: of the key that asked for it.
        wanted: what it is about in its caller's words, to be shown.
        plan: the same as the pipeline wrote it down, to be done.
        cursor: behind what was taken into a batch so far; None is the beginning.
        batch: the ids of the batch under way, 16 bytes each, one behind the other.
        exhausted: nothing is left to take into a further batch.
        done, failed: of the things that it is about, in batches that are over.
        total: how many those are, as counted at the beginning; a job that finished has counted them all.
        total_is_exact: False where the count stopped at its bound.
        ended_ms: None while something is left to do, and be it the last batch of one that was cancelled.
        error: why it failed.
    """

    id: JobId
    organisation_id: OrganisationId
    kind: JobKind
    created_ms: int
    environment: Environment = Environment.LIVE
    wanted: dict[str, str | list[str]] = {}
    plan: bytes = b""
    state: JobState = JobState.QUEUED
    cursor: bytes | None = None
    batch: bytes = b""
    exhausted: bool = False
    done: int = 0
    failed: int = 0
    total: int = 0
    total_is_exact: bool = True
    started_ms: int | None = None
    ended_ms: int | None = None
    error: str | None = None
    revision: int = 0


class JobRefusal(StrEnum):
    """Why a step is not taken."""

    OVER = "job_over"
    """The job has ended."""


def begin(job: Job, *, now_ms: int) -> Job | JobRefusal:
    """Return the job as under way; one that was under way before goes on."""
    if job.state not in _GOING_ON:
        return JobRefusal.OVER
    if job.state is JobState.RUNNING:
        return job
    return msgspec.structs.replace(job, state=JobState.RUNNING, started_ms=now_ms)


def take(job: Job, batch: bytes, cursor: bytes | None) -> Job | JobRefusal:
    """Return the job with its next batch written down; the one before must be counted.

    Args:
        cursor: where the batch after this one begins; None when this is the last.
    """
    if job.state is not JobState.RUNNING:
        return JobRefusal.OVER
    assert not job.batch
    return msgspec.structs.replace(
        job, batch=batch, cursor=job.cursor if cursor is None else cursor, exhausted=cursor is None
    )


def count(job: Job, *, done: int, failed: int, now_ms: int) -> Job | JobRefusal:
    """Return the job with its batch counted; one that was cancelled has ended with that."""
    if job.ended_ms is not None or job.state is JobState.QUEUED:
        return JobRefusal.OVER
    ended_ms = now_ms if job.state is JobState.CANCELLED else None
    return msgspec.structs.replace(
        job, batch=b"", done=job.done + done, failed=job.failed + failed, ended_ms=ended_ms
    )


def finish(job: Job, *, now_ms: int) -> Job | JobRefusal:
    """Return the job as finished; what it counted is its total now."""
    if job.state is not JobState.RUNNING:
        return JobRefusal.OVER
    assert job.exhausted
    assert not job.batch
    total = job.done + job.failed
    return msgspec.structs.replace(
        job, state=JobState.FINISHED, ended_ms=now_ms, total=total, total_is_exact=True, plan=b""
    )


def fail(job: Job, error: str, *, done: int, failed: int, now_ms: int) -> Job | JobRefusal:
    """Return the job as given up, with what its batch came to; one that was cancelled stays so, and says why."""
    if job.ended_ms is not None or job.state is JobState.QUEUED:
        return JobRefusal.OVER
    state = JobState.CANCELLED if job.state is JobState.CANCELLED else JobState.FAILED
    return msgspec.structs.replace(
        job,
        state=state,
        batch=b"",
        done=job.done + done,
        failed=job.failed + failed,
        ended_ms=now_ms,
        error=error,
    )


def cancel(job: Job, *, now_ms: int) -> Job | JobRefusal:
    """Return the job as stopped; it has ended unless a batch is written down, which is still done and counted."""
    if job.state not in _GOING_ON:
        return JobRefusal.OVER
    return msgspec.structs.replace(job, state=JobState.CANCELLED, ended_ms=None if job.batch else now_ms)
