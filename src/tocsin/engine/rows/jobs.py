"""Jobs as they are written and listed."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.core.audit import AuditRecord
from tocsin.core.environment import Environment
from tocsin.core.job import Job, JobState
from tocsin.engine.rows.queries import Query


class SaveJob(msgspec.Struct, frozen=True):
    """Insert (revision 0) or replace the job that still has this revision.

    Attributes:
        record: kept with it.
    """

    job: Job
    record: AuditRecord | None = None


class JobResult(StrEnum):
    """What the saving of a job came to."""

    DONE = "done"
    CHANGED_MEANWHILE = "changed_meanwhile"


class JobQuery(Query[Job], frozen=True, kw_only=True):
    """Jobs, newest first; times are of their making."""

    environment: Environment | None = None
    state: JobState | None = None
