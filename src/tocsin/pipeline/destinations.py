"""Making and changing destinations: one way for PromptJang's endpoints, Native Frame's webhooks and all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.condition import read_condition
from tocsin.core.destination import (
    SECRET_ADDRESS_FIELDS,
    TELL_PEOPLE,
    USUAL_CONCURRENCY,
    Destination,
    Filter,
    Format,
    IncidentStyle,
    SealedSecret,
    Transport,
    edits_in_vain,
)
from tocsin.core.errors import InvalidRequest, NotFound, Unprocessable
from tocsin.core.event import TEST_TYPE, Dialect, Draft, Environment
from tocsin.core.headers import header_fault
from tocsin.core.identifiers import DestinationId, IdSequence, OrganisationId, prefixed
from tocsin.core.quiet_hours import QuietHours, quiet_hours_fault
from tocsin.core.retry import NATIVE, RetryPolicy
from tocsin.core.signature import SECRET_BYTES, make_secret
from tocsin.pipeline.allowance import Allowance
from tocsin.pipeline.audit import record_of
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.conditions import ConditionFailure
from tocsin.pipeline.hidden_values import leads_elsewhere, masked, refuse_hidden, unmasked
from tocsin.pipeline.ingest import Ingest, Receipt
from tocsin.pipeline.letting_go import let_go
from tocsin.pipeline.vault import Vault
from tocsin.transports.addresses import UrlChecks

SECRETS_MAX = 5
"""Signing secrets that count at once; every one of them adds a signature to each request, so their number is bounded
and a further rotation ends the oldest before its time."""


class DestinationBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination may ask for.

    Attributes:
        timeout_max_s: the longest attempt; a dispatcher's lease must be longer.
        concurrency_max: the most attempts at once.
        retries_max: the most retries of a schedule.
        retry_wait_max_s: the longest wait of a schedule.
        rotation_grace_ms: how long an old signing secret signs beside the new one.
        condition_characters_max, condition_depth_max: of a filter's condition, its text and its tree.
        per_organisation_max: destinations of one organisation, whichever routes made them.
        globs_max: patterns with wildcards in all filters of one organisation together.
        glob_characters_max: of all these patterns together.
    """

    timeout_max_s: float = 60.0
    concurrency_max: int = 256
    retries_max: int = 50
    retry_wait_max_s: float = 7 * 86_400.0
    rotation_grace_ms: int = 24 * 3_600_000
    condition_characters_max: int = 1024
    condition_depth_max: int = 64
    per_organisation_max: int = 1000
    globs_max: int = 2000
    glob_characters_max: int = 20_000


class DestinationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants of a new destination; the address still holds its secrets in clear.

    Attributes:
        concurrency, ordered: None is what is usual for the transport.
        incidents: None is to edit where that can be done, in order.
    """

    name: str
    transport: Transport
    address: dict[str, Any]
    origin: Dialect = Dialect.TOCSIN
    description: str = ""
    success_headers: dict[str, str] = {}
    filter: Filter = Filter()
    format: Format = Format.RAW
    retry: RetryPolicy = NATIVE
    timeout_s: float = 15.0
    rate_per_s: float | None = None
    concurrency: int | None = None
    ordered: bool | None = None
    incidents: IncidentStyle | None = None
    quiet_hours: QuietHours | None = None
    enabled: bool = True


class Destinations:
    """Creates, changes and tests destinations."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        ingest: Ingest,
        vault: Vault,
        urls: UrlChecks,
        clock: Clock,
        ids: IdSequence,
        entropy: Callable[[int], bytes],
        bounds: DestinationBounds,
    ) -> None:
        self._catalog = catalog
        self._ingest = ingest
        self._vault = vault
        self._urls = urls
        self._clock = clock
        self._ids = ids
        self._entropy = entropy
        self._bounds = bounds
        self._allowance = Allowance(
            catalog, bounds.per_organisation_max, bounds.globs_max, bounds.glob_characters_max
        )

    def new_id(self) -> DestinationId:
        """Return an id for a destination, for those whose filter names the id itself."""
        return DestinationId(self._ids.make(self._clock.now_ms()))

    async def create(
        self,
        organisation_id: OrganisationId,
        spec: DestinationSpec,
        *,
        id: DestinationId | None = None,  # noqa: A002
        secret: str | None = None,
    ) -> tuple[Destination, str]:
        """Store a destination; return it with its signing secret, which is shown only now.

        Members of the address that are None are left out.

        Raises:
            Unprocessable: ``url_not_allowed`` with PromptJang's words, when the address may not be reached;
                ``invalid_condition``, when the filter's condition cannot be used.
            InvalidRequest: a bound is broken; ``fields`` says which.
            Conflict: ``name_taken``, or a limit of the organisation; see ``Allowance``.
        """
        new_id = self.new_id() if id is None else id
        now_ms = self._clock.now_ms()
        place = organisation_id + new_id
        signing_secret = make_secret(self._entropy(SECRET_BYTES)) if secret is None else secret
        wanted = _destination_of(spec, new_id, organisation_id, now_ms)
        self._check_bounds(wanted)
        _check_incidents(wanted)
        self._check_condition(spec.filter)
        whole = unmasked(spec.address, {}, spec.transport)
        await self._check_address(spec.transport, whole)
        address, sealed = self._sealed(spec.transport, whole, place)
        destination = msgspec.structs.replace(
            wanted,
            address=address,
            sealed_address=sealed,
            secrets=(SealedSecret(self._vault.seal(signing_secret.encode(), place), now_ms),),
        )
        await self._allowance.save(destination)
        return self.get(organisation_id, new_id), signing_secret

    def get(self, organisation_id: OrganisationId, destination_id: DestinationId) -> Destination:
        """Return a destination.

        Raises:
            NotFound: the organisation has none of this id.
        """
        found = self._catalog.find_destination(organisation_id, destination_id)
        if found is None:
            raise NotFound("destination not found")
        return found

    async def change(
        self, organisation_id: OrganisationId, destination_id: DestinationId, changes: dict[str, Any]
    ) -> Destination:
        """Replace these fields of a destination, named as in ``DestinationSpec``; return it changed.

        In an address a secret field that is left out keeps its value, and so does every ``***`` within one; a member
        that is None goes, sealed or not. Enabling forgets why and since when it was disabled, and another address
        starts with a clean slate too: it is not the one that failed, nor the one of which a remote told something.
        Other quiet hours let go what the old ones hold back.

        Raises: as ``create``, NotFound, and Unprocessable: ``hidden_value_required``, where a webhook's new URL has
            another scheme, host or port, and headers are to be kept.
        """
        before = self.get(organisation_id, destination_id)
        after = msgspec.structs.replace(before, **changes, updated_ms=self._clock.now_ms())
        if "filter" in changes:
            self._check_condition(after.filter)
        if "address" in changes:
            place = organisation_id + destination_id
            kept = self._vault.target(before).secret_address
            if leads_elsewhere(before.address, changes["address"]):
                refuse_hidden(kept.get("headers", {}), changes["address"])
            whole = unmasked(changes["address"], kept, after.transport)
            await self._check_address(after.transport, whole)
            address, sealed = self._sealed(after.transport, whole, place)
            after = msgspec.structs.replace(after, address=address, sealed_address=sealed)
            if whole != before.address | kept:
                after = msgspec.structs.replace(after, failing_since_ms=None, learned={})
        self._check_bounds(after)
        if "ordered" in changes or "incidents" in changes:
            _check_incidents(after)
        if changes.get("enabled") is True:
            after = msgspec.structs.replace(after, disabled_reason=None, failing_since_ms=None)
        await self._allowance.save(after, *let_go(before, after.quiet_hours, after.updated_ms))
        return self.get(organisation_id, destination_id)

    async def delete(self, organisation_id: OrganisationId, destination_id: DestinationId) -> None:
        """Remove a destination; what waits for it is given up.

        Raises:
            NotFound: the organisation has none of this id.
        """
        self.get(organisation_id, destination_id)
        await self._catalog.remove(Destination, organisation_id, destination_id)

    async def rotate_secret(
        self, organisation_id: OrganisationId, destination_id: DestinationId
    ) -> tuple[Destination, str]:
        """Give a destination a new signing secret; the old one signs too until the grace is over.

        Raises:
            NotFound: the organisation has none of this id.
            Conflict: ``changed_meanwhile``.
        """
        before = self.get(organisation_id, destination_id)
        now_ms = self._clock.now_ms()
        secret = make_secret(self._entropy(SECRET_BYTES))
        place = organisation_id + destination_id
        expires_ms = now_ms + self._bounds.rotation_grace_ms
        older = tuple(
            msgspec.structs.replace(each, expires_ms=expires_ms if each.expires_ms is None else each.expires_ms)
            for each in before.secrets
            if each.expires_ms is None or each.expires_ms > now_ms
        )
        newest = SealedSecret(self._vault.seal(secret.encode(), place), now_ms)
        secrets = (newest, *older)[:SECRETS_MAX]
        after = msgspec.structs.replace(before, secrets=secrets, updated_ms=now_ms)
        await self._catalog.save(after)
        return self.get(organisation_id, destination_id), secret

    async def test(
        self,
        organisation_id: OrganisationId,
        destination_id: DestinationId,
        environment: Environment = Environment.LIVE,
    ) -> Receipt:
        """Send a real event of type ``tocsin.test`` to one destination, whatever its filter.

        Args:
            environment: of whoever asks for it.

        Raises:
            NotFound: the organisation has none of this id.
        """
        destination = self.get(organisation_id, destination_id)
        shown = prefixed("dst", destination_id)
        data = {"destination": shown, "message": "This is a test from Tocsin."}
        return await self._ingest.accept(
            Draft(
                organisation_id=organisation_id,
                dialect=Dialect.TOCSIN,
                source=f"tocsin/destination/{shown}",
                type=TEST_TYPE,
                time_ms=self._clock.now_ms(),
                data=msgspec.json.encode(data),
                environment=environment,
            ),
            only=destination,
            record=record_of("destination.tested", shown),
        )

    def condition_failure(self, destination: Destination) -> ConditionFailure | None:
        """Return how the destination's condition last failed, as far as this process knows; None if it did not."""
        return self._ingest.conditions.last_failure(destination)

    def secrets_of(self, destination: Destination) -> list[str]:
        """Return the signing secrets that count now, newest first."""
        now_ms = self._clock.now_ms()
        target = self._vault.target(destination)
        return [each.secret for each in target.secrets if each.expires_ms is None or each.expires_ms > now_ms]

    def _check_bounds(self, spec: Destination) -> None:
        bounds, least_s, most_s = self._bounds, spec.timeout_min_s, self._bounds.timeout_max_s
        faults = [
            (name, reason)
            for name, reason, wrong in (
                ("timeout_s", f"{least_s:g} to {most_s:g}", not least_s <= spec.timeout_s <= most_s),
                (
                    "concurrency",
                    f"1 to {bounds.concurrency_max}",
                    not 1 <= spec.concurrency <= bounds.concurrency_max,
                ),
                ("rate_per_s", "more than 0", spec.rate_per_s is not None and not spec.rate_per_s > 0),
                ("retry", f"at most {bounds.retries_max} waits", len(spec.retry.schedule_s) > bounds.retries_max),
                (
                    "retry",
                    f"each wait 0 to {bounds.retry_wait_max_s:g} s",
                    not all(0 <= wait_s <= bounds.retry_wait_max_s for wait_s in spec.retry.schedule_s),
                ),
                ("retry", "jittered by 0 to 1", not 0 <= spec.retry.jitter <= 1),
                (
                    "retry",
                    f"never over {bounds.retry_wait_max_s:g} s",
                    not 0 <= spec.retry.delay_max_s <= bounds.retry_wait_max_s,
                ),
            )
            if wrong
        ]
        if faults:
            raise InvalidRequest(f"{faults[0][0]} must be {faults[0][1]}", fields=tuple(faults))
        quiet_fault = None if spec.quiet_hours is None else quiet_hours_fault(spec.quiet_hours)
        if quiet_fault is not None:
            name, reason = f"quiet_hours.{quiet_fault[0]}", quiet_fault[1]
            raise InvalidRequest(f"{name} {reason}", fields=((name, reason),))

    def _check_condition(self, wanted: Filter) -> None:
        if wanted.where is None:
            return
        bounds = self._bounds
        if len(wanted.where) > bounds.condition_characters_max:
            fault: str | None = f"has more than {bounds.condition_characters_max} characters"
        else:
            condition = read_condition(wanted.where)
            fault = condition.fault
            if condition.depth > bounds.condition_depth_max:
                fault = f"is nested more than {bounds.condition_depth_max} levels deep"
        if fault is not None:
            raise Unprocessable(f"filter.where {fault}", code="invalid_condition", fields=(("filter.where", fault),))

    async def _check_address(self, transport: Transport, address: dict[str, Any]) -> None:
        if transport is not Transport.WEBHOOK:
            return
        fault = await self._urls.resolved_fault(str(address.get("url", "")))
        if fault is not None:
            raise Unprocessable(f"URL is not allowed: {fault}", code="url_not_allowed")
        headers = address.get("headers", {})
        faults = (
            [(f"headers.{name}", header_fault(name, value)) for name, value in headers.items()]
            if isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values())
            else [("headers", "must be an object of texts")]
        )
        for field, header_problem in faults:
            if header_problem is not None:
                raise InvalidRequest(header_problem, fields=((field, header_problem),))

    def _sealed(
        self, transport: Transport, address: dict[str, Any], place: bytes
    ) -> tuple[dict[str, Any], bytes | None]:
        """Return the address with its secrets masked, and the secrets sealed."""
        secret = {key: value for key, value in address.items() if key in SECRET_ADDRESS_FIELDS[transport] and value}
        shown = {key: masked(value) if key in secret else value for key, value in address.items()}
        return shown, self._vault.seal(msgspec.json.encode(secret), place) if secret else None


def _destination_of(
    spec: DestinationSpec, destination_id: DestinationId, organisation_id: OrganisationId, now_ms: int
) -> Destination:
    """Return the destination that a caller wants, without its address and its signing secret."""
    told = {name: getattr(spec, name) for name in ("concurrency", "ordered", "incidents")}
    ordered = spec.transport in TELL_PEOPLE if spec.ordered is None else spec.ordered
    is_vain = edits_in_vain(spec.transport, IncidentStyle.EDIT, ordered=ordered)
    usual = {
        "ordered": ordered,
        "incidents": IncidentStyle.POST if is_vain else IncidentStyle.EDIT,
        **({"concurrency": USUAL_CONCURRENCY[spec.transport]} if spec.transport in USUAL_CONCURRENCY else {}),
    }
    return Destination(
        id=destination_id,
        organisation_id=organisation_id,
        name=spec.name,
        transport=spec.transport,
        created_ms=now_ms,
        updated_ms=now_ms,
        origin=spec.origin,
        description=spec.description,
        success_headers=spec.success_headers,
        filter=spec.filter,
        format=spec.format,
        retry=spec.retry,
        timeout_s=spec.timeout_s,
        rate_per_s=spec.rate_per_s,
        quiet_hours=spec.quiet_hours,
        enabled=spec.enabled,
        **(usual | {name: value for name, value in told.items() if value is not None}),
    )


def _check_incidents(wanted: Destination) -> None:
    if edits_in_vain(wanted.transport, wanted.incidents, ordered=wanted.ordered):
        fault = "must be post where ordered is false: without an order nobody knows which message came last"
        raise InvalidRequest(f"incidents {fault}", fields=(("incidents", fault),))
