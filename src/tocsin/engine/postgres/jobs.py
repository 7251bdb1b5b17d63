"""Jobs: compared and set, and the ones that something is left to do of."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.core.identifiers import OrganisationId
from tocsin.core.job import Job
from tocsin.engine.codec import job_body, job_of
from tocsin.engine.postgres.audit import keep
from tocsin.engine.postgres.sql import Connection, fetch, first
from tocsin.engine.rows import JobResult, SaveJob


async def write(connection: Connection, ops: Sequence[SaveJob]) -> list[JobResult]:
    """Save each job whose revision stands, with its record."""
    results = [await _save(connection, op.job) for op in ops]
    done = zip(ops, results, strict=True)
    await keep(connection, (op.record for op, result in done if result is JobResult.DONE))
    return results


async def open_jobs(connection: Connection, limit: int, after: OrganisationId | None) -> list[Job]:
    """Return the oldest open job of each organisation, in the order of the organisations' ids."""
    return [job_of(*row) for row in await fetch(connection, "open_jobs", after or b"", limit)]


async def _save(connection: Connection, job: Job) -> JobResult:
    values = (job.id, job.organisation_id, job.environment.value, job.state.value, job.ended_ms, job_body(job))
    if job.revision == 0:
        saved = await first(connection, "insert_job", *values)
    else:
        saved = await first(connection, "save_job", *values, job.revision)
    return JobResult.CHANGED_MEANWHILE if saved is None else JobResult.DONE
