"""The routes of jobs: a bulk replay is asked for, and every job looked at and cancelled."""

from __future__ import annotations

from typing import Any

from tocsin.core.environment import Environment
from tocsin.core.errors import InvalidRequest, NotFound
from tocsin.core.identifiers import OrganisationId, parse_prefixed, prefixed
from tocsin.core.job import Job, JobId, JobState
from tocsin.core.organisation import Scope
from tocsin.dialects.native.event_filter import EventFilter
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import WINDOW, page_response, read_listing
from tocsin.dialects.native.reading import Field, Reader, choice, flag, members, read_body, wrong
from tocsin.dialects.native.rendering import time_or_null, time_shown
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import EventQuery, JobQuery
from tocsin.pipeline.jobs import PREFIX, Count, Jobs
from tocsin.web.auth import Principal
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response


def job_shown(job: Job) -> dict[str, Any]:
    """Return a job and how far it is."""
    return {
        "id": prefixed(PREFIX, job.id),
        "kind": job.kind.value,
        "state": job.state.value,
        "environment": job.environment.value,
        "filter": job.wanted,
        "done": job.done,
        "failed": job.failed,
        "total": job.total,
        "total_is_exact": job.total_is_exact,
        "error": job.error,
        "created_at": time_shown(job.created_ms),
        "started_at": time_or_null(job.started_ms),
        "finished_at": time_or_null(job.ended_ms),
    }


def recovery_count_shown(count: Count) -> dict[str, Any]:
    """Return how much a recovery would be about; ``exact`` stands only where it may be more."""
    return {"count": count.count} if count.exact else {"count": count.count, "exact": False}


def job_accepted(job: Job) -> Response:
    """Return the answer to whoever asked for a job: it, and where to look at it."""
    place = f"/api/v1/jobs/{prefixed(PREFIX, job.id)}"
    return json_response(202, job_shown(job), [(b"location", place.encode())])


class JobRoutes:
    """Handlers of ``/jobs`` and ``/replays``."""

    def __init__(
        self, *, guard: Guard, engine: Engine, jobs: Jobs, events: EventFilter, limits: NativeLimits
    ) -> None:
        self._guard = guard
        self._engine = engine
        self._jobs = jobs
        self._events = events
        self._limits = limits
        self._terms: dict[str, Reader] = {"state": choice(JobState), **WINDOW}
        self._replay = {
            "filter": Field(_filter(events.names, limits.filter_characters_max), required=True),
            "dry_run": Field(flag),
        }

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (
            ("POST", "/replays", self.replay),
            ("GET", "/jobs", self.list),
            ("GET", "/jobs/{job_id}", self.get),
            ("POST", "/jobs/{job_id}/cancel", self.cancel),
        )

    async def replay(self, request: Request) -> Response:
        """Replay all events that match now; with ``dry_run`` only say how many those are."""
        principal = self._guard.guard(request, Scope.MANAGE)
        given = read_body(request.body, self._replay)
        query = self._query(given["filter"], principal.organisation_id, principal.environment)
        if given.get("dry_run", False):
            count = await self._jobs.count_events(query)
            return json_response(200, {"count": count.count, "exact": count.exact})
        job = await self._jobs.replay(
            principal.organisation_id,
            query,
            environment=principal.environment,
            wanted=_wanted(given["filter"], query),
        )
        return job_accepted(job)

    async def list(self, request: Request) -> Response:
        """Return a page of jobs of the key's environment, newest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, self._terms, self._limits)
        page = await self._engine.search(
            JobQuery(
                organisation_id=principal.organisation_id,
                environment=principal.environment,
                since_ms=listing.terms.get("since"),
                until_ms=listing.terms.get("until"),
                state=listing.terms.get("state"),
            ),
            limit=listing.limit,
            cursor=listing.cursor,
        )
        return page_response("jobs", page, job_shown)

    async def get(self, request: Request) -> Response:
        """Return one job."""
        principal = self._guard.guard(request, Scope.READ)
        return json_response(200, job_shown(await self._found(principal, request)))

    async def cancel(self, request: Request) -> Response:
        """Stop a job; what it did stays done."""
        principal = self._guard.guard(request, Scope.MANAGE)
        job = await self._found(principal, request)
        return json_response(200, job_shown(await self._jobs.cancel(principal.organisation_id, job.id)))

    async def _found(self, principal: Principal, request: Request) -> Job:
        """Return the job of the path; one that is not the key's to see is not there."""
        job = await self._jobs.get(principal.organisation_id, _job_id(request))
        if job.environment is not principal.environment:
            raise NotFound("job not found")
        return job

    def _query(
        self, given: dict[str, str], organisation_id: OrganisationId, environment: Environment
    ) -> EventQuery | None:
        try:
            return self._events.read(given, organisation_id, environment)
        except InvalidRequest as error:
            fields = tuple((f"filter.{name}", reason) for name, reason in error.fields)
            raise InvalidRequest(f"filter: {error.detail}", code=error.code, fields=fields) from error


def _wanted(given: dict[str, str], query: EventQuery | None) -> dict[str, str]:
    """Return a filter with the time that a search for a text is bounded to, where it does not say so itself."""
    if query is None or query.since_ms is None or "since" in given:
        return given
    return {**given, "since": time_shown(query.since_ms)}


def _filter(names: tuple[str, ...], characters_max: int) -> Reader:
    """Return a reader of a filter: texts under these names, at least one.

    One that is empty would mean every event there is; who means that says so with a time.
    """
    read_members = members(dict.fromkeys(names, Field(_word(characters_max))))

    def read(value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or not value:
            raise wrong("must be an object with at least one member")
        found: dict[str, str] = read_members(value)
        return found

    return read


def _word(characters_max: int) -> Reader:
    reason = f"must be a text of 1 to {characters_max} characters"

    def read(value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= characters_max:
            raise wrong(reason)
        return value

    return read


def _job_id(request: Request) -> JobId:
    found = parse_prefixed(PREFIX, request.path["job_id"])
    if found is None:
        raise NotFound("job not found")
    return JobId(found)
