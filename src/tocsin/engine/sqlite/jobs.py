"""Jobs: compared and set, and the ones that something is left to do of."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from tocsin.core.identifiers import OrganisationId
from tocsin.core.job import Job
from tocsin.engine.codec import job_body, job_of
from tocsin.engine.rows import JobResult, SaveJob
from tocsin.engine.sqlite.audit import keep
from tocsin.engine.sqlite.sql import SQL, first


def write(connection: apsw.Connection, ops: Sequence[SaveJob]) -> list[JobResult]:
    """Save each job whose revision stands, with its record."""
    results = [_save(connection, op.job) for op in ops]
    done = (op.record for op, result in zip(ops, results, strict=True) if result is JobResult.DONE)
    keep(connection, [record for record in done if record is not None])
    return results


def open_jobs(connection: apsw.Connection, limit: int, after: OrganisationId | None) -> list[Job]:
    """Return the oldest open job of each organisation, in the order of the organisations' ids."""
    return [job_of(*row) for row in connection.execute(SQL["open_jobs"], (after or b"", limit))]


def _save(connection: apsw.Connection, job: Job) -> JobResult:
    found = first(connection, "job_revision", job.id)
    stands = 0 if found is None else int(found[0])
    if stands != job.revision or (found is not None and found[1] != job.organisation_id):
        return JobResult.CHANGED_MEANWHILE
    connection.execute(
        SQL["save_job"],
        (
            job.id,
            job.organisation_id,
            job.environment.value,
            job.state.value,
            stands + 1,
            job.ended_ms,
            job_body(job),
        ),
    )
    return JobResult.DONE
