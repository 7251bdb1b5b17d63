"""The routes of destinations, whichever dialect's routes they were made by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tocsin.core.destination import Destination, Transport, is_addressed
from tocsin.core.errors import Conflict, NotFound, Unprocessable
from tocsin.core.identifiers import DestinationId, OrganisationId, prefixed
from tocsin.core.organisation import Scope
from tocsin.dialects.native.destination_body import (
    DestinationBodies,
    Recovering,
    filter_shown,
    quiet_hours_shown,
    retry_shown,
)
from tocsin.dialects.native.errors import PRECONDITION_FAILED
from tocsin.dialects.native.jobs import job_accepted, recovery_count_shown
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import page_of, page_response, read_listing, read_query
from tocsin.dialects.native.phases import WORDS
from tocsin.dialects.native.reading import flag_word
from tocsin.dialects.native.rendering import (
    DELIVERY,
    DESTINATION,
    EVENT,
    parse_destination_id,
    time_or_null,
    time_shown,
)
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.conditions import ConditionFailure
from tocsin.pipeline.destinations import DestinationBounds, Destinations
from tocsin.pipeline.jobs import Jobs
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response


def destination_shown(destination: Destination, failure: ConditionFailure | None = None) -> dict[str, Any]:
    """Return a destination; the secrets of its address are masked, its signing secrets left out.

    Args:
        failure: how its condition last failed; only then there is a member that tells it.
    """
    shown = {
        "id": prefixed(DESTINATION, destination.id),
        "name": destination.name,
        "description": destination.description,
        "origin": destination.origin.value,
        "transport": destination.transport.value,
        # A secret that was taken away leaves its name behind.
        "address": {name: value for name, value in destination.address.items() if value is not None},
        "learned": destination.learned,
        "filter": filter_shown(destination.filter),
        "format": destination.format.value,
        "retry": retry_shown(destination.retry),
        "timeout_s": destination.timeout_s,
        "rate_per_s": destination.rate_per_s,
        "concurrency": destination.concurrency,
        "ordered": destination.ordered,
        "incidents": destination.incidents.value,
        "quiet_hours": quiet_hours_shown(destination.quiet_hours),
        "enabled": destination.enabled,
        "paused": destination.paused,
        "state": state_of(destination),
        "disabled_reason": destination.disabled_reason,
        "failing_since": time_or_null(destination.failing_since_ms),
        "revision": destination.revision,
        "created_at": time_shown(destination.created_ms),
        "updated_at": time_shown(destination.updated_ms),
    }
    if failure is not None:
        shown["condition_failure"] = {
            "count": failure.count,
            "reason": failure.reason,
            "event_id": prefixed(EVENT, failure.event_id),
            "at": time_shown(failure.at_ms),
        }
    return shown


def state_of(destination: Destination) -> str:
    """Return the one word for a destination's state."""
    if not destination.enabled:
        return "disabled"
    return "paused" if destination.paused else "active"


def etag(destination: Destination) -> str:
    """Return the entity tag of a destination as it stands."""
    return f'"{destination.revision}"'


def check_if_match(header: str | None, destination: Destination) -> None:
    """Return if an ``If-Match`` lets the change go on; a weak tag never does.

    Raises:
        Conflict: ``precondition_failed``.

    Source: RFC 9110, section 13.1.1.
    """
    if header is None or header.strip() == "*":
        return
    if etag(destination) not in [each.strip() for each in header.split(",")]:
        raise Conflict("the destination has another revision by now", code=PRECONDITION_FAILED)


class DestinationRoutes:
    """Handlers of ``/destinations``.

    Args:
        transports: those that are there.
        services: tells which of Apprise's an organisation may send to.
        bounds: the same that ``destinations`` has.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        destinations: Destinations,
        jobs: Jobs,
        transports: frozenset[Transport],
        services: Callable[[OrganisationId], frozenset[str]],
        bounds: DestinationBounds,
        limits: NativeLimits,
    ) -> None:
        self._guard = guard
        self._catalog = catalog
        self._destinations = destinations
        self._jobs = jobs
        self._transports = transports
        self._services = services
        self._limits = limits
        self._bodies = DestinationBodies(limits=limits, bounds=bounds)

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        one = "/destinations/{destination_id}"
        return (
            ("GET", "/destinations", self.list),
            ("POST", "/destinations", self.create),
            ("GET", one, self.get),
            ("PATCH", one, self.change),
            ("DELETE", one, self.delete),
            ("POST", f"{one}/test", self.test),
            ("POST", f"{one}/pause", self.pause),
            ("POST", f"{one}/resume", self.resume),
            ("POST", f"{one}/rotate-secret", self.rotate_secret),
            ("POST", f"{one}/recover", self.recover),
        )

    async def list(self, request: Request) -> Response:
        """Return a page of destinations, oldest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, {}, self._limits)
        page = page_of(self._catalog.destinations(principal.organisation_id), listing)
        return page_response(
            "destinations", page, lambda each: destination_shown(each, self._destinations.condition_failure(each))
        )

    async def create(self, request: Request) -> Response:
        """Make a destination; its signing secret is shown in this answer alone."""
        principal = self._guard.guard(request, Scope.MANAGE)
        spec = self._bodies.creation(request.body)
        self._check_transport(spec.transport)
        self._check_service(principal.organisation_id, spec.transport, spec.address)
        destination, secret = await self._destinations.create(principal.organisation_id, spec)
        return _answer(201, destination, secret=secret)

    async def get(self, request: Request) -> Response:
        """Return one destination."""
        found = self._found(request, Scope.READ)
        return _answer(200, found, failure=self._destinations.condition_failure(found))

    async def change(self, request: Request) -> Response:
        """Replace the fields that are given."""
        before = self._found(request, Scope.MANAGE)
        check_if_match(request.header(b"if-match"), before)
        changes = self._bodies.change(request.body, before)
        self._check_service(before.organisation_id, before.transport, changes.get("address", before.address))
        return _answer(200, await self._changed(request, before, changes) if changes else before)

    async def delete(self, request: Request) -> Response:
        """Remove a destination, giving up what waits for it."""
        before = self._found(request, Scope.MANAGE)
        check_if_match(request.header(b"if-match"), before)
        await self._destinations.delete(before.organisation_id, before.id)
        return json_response(200, {"id": prefixed(DESTINATION, before.id), "deleted": True})

    async def test(self, request: Request) -> Response:
        """Send a real event of type ``tocsin.test`` there, whatever the filter says."""
        principal = self._guard.guard(request, Scope.MANAGE)
        destination = find_destination(self._catalog, principal.organisation_id, request.path["destination_id"])
        self._check_transport(destination.transport)
        if not destination.enabled:
            raise Conflict("the destination is disabled", code="destination_disabled")
        if not is_addressed(destination):
            raise Conflict("the destination has no address yet", code="destination_incomplete")
        receipt = await self._destinations.test(destination.organisation_id, destination.id, principal.environment)
        return json_response(
            202,
            {
                "event_id": prefixed(EVENT, receipt.event_id),
                "delivery_ids": [prefixed(DELIVERY, each) for each in receipt.deliveries],
            },
        )

    async def pause(self, request: Request) -> Response:
        """Hold back what is to be sent there, until it is resumed."""
        return await self._set_paused(request, paused=True)

    async def resume(self, request: Request) -> Response:
        """Let go what was held back."""
        return await self._set_paused(request, paused=False)

    async def rotate_secret(self, request: Request) -> Response:
        """Make a new signing secret, shown in this answer alone; the old one signs too for a while."""
        before = self._found(request, Scope.MANAGE)
        check_if_match(request.header(b"if-match"), before)
        try:
            destination, secret = await self._destinations.rotate_secret(before.organisation_id, before.id)
        except Conflict as error:
            raise _lost_race(request, error) from error
        return _answer(200, destination, secret=secret)

    async def recover(self, request: Request) -> Response:
        """Send again what the destination missed; with ``dry_run`` only say how much that is."""
        principal = self._guard.guard(request, Scope.MANAGE)
        destination = find_destination(self._catalog, principal.organisation_id, request.path["destination_id"])
        dry_run: bool = read_query(request, {"dry_run": flag_word}).get("dry_run", False)
        wanted = self._bodies.recovering(request.body)
        if dry_run:
            count = await self._jobs.count_missed(
                destination.organisation_id,
                destination.id,
                environment=principal.environment,
                since_ms=wanted.since_ms,
                until_ms=wanted.until_ms,
                phases=wanted.phases,
            )
            return json_response(200, recovery_count_shown(count))
        job = await self._jobs.recovery(
            destination.organisation_id,
            destination.id,
            environment=principal.environment,
            wanted=_recovery_shown(destination, wanted),
            since_ms=wanted.since_ms,
            until_ms=wanted.until_ms,
            phases=wanted.phases,
        )
        return job_accepted(job)

    def _found(self, request: Request, scope: Scope) -> Destination:
        """Return the destination of the path; another organisation's is not there."""
        principal = self._guard.guard(request, scope)
        return find_destination(self._catalog, principal.organisation_id, request.path["destination_id"])

    async def _set_paused(self, request: Request, *, paused: bool) -> Response:
        before = self._found(request, Scope.MANAGE)
        check_if_match(request.header(b"if-match"), before)
        same = before.paused is paused
        return _answer(200, before if same else await self._changed(request, before, {"paused": paused}))

    async def _changed(self, request: Request, before: Destination, changes: dict[str, Any]) -> Destination:
        try:
            # It begins by looking the destination up, before it waits for anything: at what was compared above.
            return await self._destinations.change(before.organisation_id, before.id, changes)
        except Conflict as error:
            raise _lost_race(request, error) from error

    def _check_transport(self, transport: Transport) -> None:
        if transport not in self._transports:
            raise Unprocessable(
                f"the transport {transport.value} is not available on this gateway",
                code="transport_unavailable",
                fields=(("transport", f"must be one of {', '.join(sorted(self._transports))}"),),
            )

    def _check_service(self, organisation_id: OrganisationId, transport: Transport, address: dict[str, Any]) -> None:
        names = self._services(organisation_id)
        if transport is Transport.APPRISE and address["service"] not in names:
            reason = f"must be one of {', '.join(sorted(names))}" if names else "cannot be any: none is open to you"
            raise Unprocessable(
                f"address.service {reason}",
                code="apprise_service_unavailable",
                fields=(("address.service", reason),),
            )


def find_destination(catalog: Catalog, organisation_id: OrganisationId, text: str) -> Destination:
    """Return the organisation's destination of this id.

    Raises:
        NotFound: there is none.
    """
    destination_id: DestinationId | None = parse_destination_id(text)
    found = None if destination_id is None else catalog.find_destination(organisation_id, destination_id)
    if found is None:
        raise NotFound("destination not found")
    return found


def _answer(
    status: int, destination: Destination, *, secret: str | None = None, failure: ConditionFailure | None = None
) -> Response:
    shown = destination_shown(destination, failure)
    if secret is not None:
        shown["secret"] = secret
    return json_response(status, shown, [(b"etag", etag(destination).encode())])


def _lost_race(request: Request, error: Conflict) -> Conflict:
    """Return the error of a change that came second, as the client put its condition."""
    if error.code != "changed_meanwhile" or request.header(b"if-match") is None:
        return error
    return Conflict("the destination has another revision by now", code=PRECONDITION_FAILED)


def _recovery_shown(destination: Destination, wanted: Recovering) -> dict[str, str | list[str]]:
    """Return what a recovery is about, in the words in which it is asked for."""
    shown: dict[str, str | list[str]] = {
        "destination": prefixed(DESTINATION, destination.id),
        "since": time_shown(wanted.since_ms),
        "status": sorted(WORDS[phase] for phase in wanted.phases),
    }
    return shown if wanted.until_ms is None else {**shown, "until": time_shown(wanted.until_ms)}
