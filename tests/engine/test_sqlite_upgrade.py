"""What an older store holds is found by the statements of today."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from tocsin.core.environment import Environment
from tocsin.core.identifiers import EventId, OrganisationId
from tocsin.core.incident import Incident, IncidentState
from tocsin.core.job import Job, JobId, JobKind
from tocsin.engine import migrations
from tocsin.engine.codec import incident_body, job_body
from tocsin.engine.rows import IncidentQuery, JobQuery, Query
from tocsin.engine.sqlite.search import search

OURS = OrganisationId(b"o" * 16)
BEFORE_ENVIRONMENTS = 4
MISLEADING = {"environment": "test"}


def _store_of(version: int) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for migration in migrations.load("sqlite")[:version]:
        connection.execute(migration.text)
    return connection


def _incident(number: int, environment: Environment) -> Incident:
    return Incident(
        id=EventId(bytes([number]) * 16),
        organisation_id=OURS,
        channel="c",
        state=IncidentState.ONGOING,
        opened_ms=1,
        updated_ms=1,
        environment=environment,
        # An application may say so of something of its own.
        profile=MISLEADING,
        attrs=MISLEADING,
    )


def _job(number: int, environment: Environment) -> Job:
    return Job(
        id=JobId(bytes([number]) * 16),
        organisation_id=OURS,
        kind=JobKind.REPLAY,
        created_ms=1,
        environment=environment,
        wanted={"type": "test", **MISLEADING},
    )


@pytest.mark.parametrize("environment", list(Environment))
def test_incidents_and_jobs_of_before_are_of_the_environment_that_they_were_made_in(environment: Environment) -> None:
    connection = _store_of(BEFORE_ENVIRONMENTS)
    for number, each in enumerate(Environment, 1):
        incident, job = _incident(number, each), _job(number, each)
        connection.execute(
            "insert into incident (id, bucket, organisation_id, channel, state, opened_ms, updated_ms, body) "
            "values (?, 0, ?, 'c', 'ongoing', 1, 1, ?)",
            (incident.id, OURS, incident_body(incident)),
        )
        connection.execute(
            "insert into job (id, organisation_id, state, revision, body) values (?, ?, 'queued', 1, ?)",
            (job.id, OURS, job_body(job)),
        )
    for migration in migrations.load("sqlite")[BEFORE_ENVIRONMENTS:]:
        connection.execute(migration.text)
    queries: list[Query[Any]] = [
        IncidentQuery(organisation_id=OURS, environment=environment),
        JobQuery(organisation_id=OURS, environment=environment),
    ]
    for query in queries:
        found = search(connection, query, limit=9, cursor=None, offset=0, now_ms=1).page
        assert [each.environment for each in found.rows] == [environment]
    connection.close()
