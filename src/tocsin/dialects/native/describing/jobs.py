"""The routes of jobs, and of the audit trail."""

from __future__ import annotations

from tocsin.core.audit import ActorKind
from tocsin.core.environment import Environment
from tocsin.core.job import JobKind, JobState
from tocsin.core.organisation import Scope
from tocsin.dialects.native.describing.lists import page, paging, window
from tocsin.dialects.native.limits import NativeLimits
from tocsin.web.openapi import Answer, Body, Operation, Parameter
from tocsin.web.openapi.schemas import (
    Schema,
    flag,
    identifier,
    mapping,
    nullable,
    one_of,
    record,
    ref,
    text,
    time,
    whole,
)

JOB_ACCEPTED = Answer(
    description="A job, which does it; `Location` is where to look at it.",
    headers={"Location": text()},
    schema=ref("Job"),
)
JOB_FAULTS = ("job_limit_reached",)


def operations(limits: NativeLimits) -> dict[str, Operation]:
    """Return the operations."""
    wanted = record(
        {
            "filter": {
                **mapping(
                    text(least=1, most=limits.filter_characters_max), "By the names of the event list's query."
                ),
                "minProperties": 1,
                "examples": [{"type": "invoice.paid", "since": "2026-03-06T10:30:00Z"}],
            },
            "dry_run": flag("Only count."),
        },
        optional=("dry_run",),
        closed=True,
    )
    count = record({"count": whole(least=0, example=3), "exact": flag("False: it may be more.")})
    job = Answer(description="The job as it is now.", schema=ref("Job"))
    return {
        "POST /api/v1/replays": Operation(
            summary="Replay all events of a filter",
            scope=Scope.MANAGE,
            body=Body(schema=wanted, bytes_max=limits.body_bytes_max),
            answers={
                200: Answer(description="So many would be replayed.", schema=count),
                202: JOB_ACCEPTED,
            },
            errors={409: JOB_FAULTS, 503: ("search_too_long",)},
        ),
        "GET /api/v1/jobs": Operation(
            summary="List the jobs",
            description="Those of the half that the key is made for, newest first.",
            scope=Scope.READ,
            parameters=(Parameter(name="state", schema=one_of(JobState)), *window(), *paging(limits)),
            answers={200: page("jobs", ref("Job"), "A page of jobs.")},
            errors={503: ("search_too_long",)},
        ),
        "GET /api/v1/jobs/{job_id}": Operation(
            summary="Show a job", scope=Scope.READ, answers={200: job}, errors={404: ("not_found",)}
        ),
        "POST /api/v1/jobs/{job_id}/cancel": Operation(
            summary="Cancel a job",
            description="What it did stays done, its batch is still done: `finished_at` is null until then.",
            scope=Scope.MANAGE,
            answers={200: job},
            errors={404: ("not_found",), 409: ("job_over", "changed_meanwhile")},
        ),
        "GET /api/v1/audit": _audit(limits),
    }


def _audit(limits: NativeLimits) -> Operation:
    term = text(least=1, most=limits.term_characters_max)
    record_shown = record(
        {
            "id": identifier("aud"),
            "time": time(),
            "actor": record(
                {"kind": one_of(ActorKind), "key_id": nullable(identifier("key")), "name": nullable(text())}
            ),
            "action": text(example="destination.updated"),
            "subject": nullable(text("The id of what it was done to.", example=identifier("dst")["examples"][0])),
            "summary": mapping(description="What changed, without secrets."),
            "client": text("The peer's address.", example="192.0.2.7"),
        }
    )
    return Operation(
        summary="List what was done by hand",
        description="Newest first.",
        scope=Scope.READ,
        parameters=(
            Parameter(name="actor", schema=text(), description=f"A key's id, or one of {', '.join(ActorKind)}."),
            Parameter(name="action", schema=term),
            Parameter(name="subject", schema=term),
            *window(),
            *paging(limits),
        ),
        answers={200: page("records", record_shown, "A page of the audit trail.")},
        errors={503: ("search_too_long",)},
    )


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    return {
        "Job": record(
            {
                "id": identifier("job"),
                "kind": one_of(JobKind),
                "state": one_of(JobState),
                "environment": one_of(Environment),
                "filter": mapping(
                    description="What it is about, in its caller's words.", example={"type": "invoice.paid"}
                ),
                "done": whole(least=0),
                "failed": whole(least=0),
                "total": whole(least=0),
                "total_is_exact": flag(),
                "error": nullable(text("Why it failed.")),
                "created_at": time(),
                "started_at": nullable(time()),
                "finished_at": nullable(time()),
            }
        )
    }
