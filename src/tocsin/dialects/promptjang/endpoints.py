"""The routes of endpoints: PromptJang's destinations."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.destination import SECRET_ADDRESS_FIELDS, Destination, Filter, Transport
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DestinationId, prefixed
from tocsin.core.organisation import Scope
from tocsin.core.retry import PROMPTJANG
from tocsin.dialects.promptjang import parsing
from tocsin.dialects.promptjang.events import find_endpoint, refuse_disabled
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.rendering import accepted, endpoint_shown
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.destinations import Destinations, DestinationSpec
from tocsin.pipeline.recovery import Recovery
from tocsin.web.guard import Guard
from tocsin.web.http import Request, Response, json_response

_CREATE = frozenset({"url", "description", "event_types"})
_CHANGE = _CREATE | {"enabled"}
_RECOVER = frozenset({"since", "until"})


def parse_endpoint(body: bytes, *, creating: bool, limits: PromptJangLimits) -> dict[str, Any]:
    """Return the members of an endpoint's body, checked: those that were given, and no others.

    Raises:
        InvalidRequest: a member is missing, unknown or out of bounds.
    """
    given = parsing.members(body, _CREATE if creating else _CHANGE)
    if creating and "url" not in given:
        raise parsing.invalid("url", "is required")
    parsed: dict[str, Any] = {}
    if "url" in given:
        parsed["url"] = parsing.text_of(given["url"], "url", least=1, most=limits.url_max_characters)
    if "description" in given:
        description = given["description"] if given["description"] is not None else ""
        parsed["description"] = parsing.text_of(
            description, "description", least=0, most=limits.description_max_characters
        )
    if "event_types" in given:
        parsed["event_types"] = _event_types(given["event_types"], limits)
    if "enabled" in given:
        parsed["enabled"] = parsing.flag_of(given["enabled"], "enabled")
    return parsed


def _event_types(value: Any, limits: PromptJangLimits) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > limits.event_types_max:
        raise parsing.invalid("event_types", f"must be a list of at most {limits.event_types_max} event types")
    if not all(isinstance(each, str) and parsing.is_label(each) for each in value):
        raise parsing.invalid("event_types", "must hold 1-128 chars each, alphanumeric/dash/dot/underscore")
    return tuple(dict.fromkeys(value))


def endpoint_spec(endpoint_id: DestinationId, fields: dict[str, Any], limits: PromptJangLimits) -> DestinationSpec:
    """Return the destination that an endpoint is: a webhook for what is sent to the endpoint, and nothing else.

    The dialect stands in the filter too, since a CloudEvent may call its source as it likes.
    """
    description: str = fields.get("description", "")
    return DestinationSpec(
        name=_name(endpoint_id, description, limits),
        transport=Transport.WEBHOOK,
        address={"url": fields["url"], "method": "POST"},
        origin=Dialect.PROMPTJANG,
        description=description,
        filter=Filter(
            dialects=(Dialect.PROMPTJANG,),
            sources=(parsing.endpoint_source(endpoint_id),),
            types=fields.get("event_types", ()),
        ),
        retry=PROMPTJANG,
    )


def endpoint_changes(endpoint: Destination, fields: dict[str, Any], limits: PromptJangLimits) -> dict[str, Any]:
    """Return the fields of the destination that a partial change of its endpoint replaces."""
    changes: dict[str, Any] = {}
    if "url" in fields:
        # Secret fields are left out, which keeps them; here they are masked.
        secret = SECRET_ADDRESS_FIELDS[endpoint.transport]
        kept = {name: value for name, value in endpoint.address.items() if name not in secret}
        changes["address"] = kept | {"url": fields["url"]}
    if "description" in fields:
        changes["description"] = fields["description"]
        changes["name"] = _name(endpoint.id, fields["description"], limits)
    if "event_types" in fields:
        changes["filter"] = msgspec.structs.replace(endpoint.filter, types=fields["event_types"])
    if "enabled" in fields:
        changes["enabled"] = fields["enabled"]
    return changes


def _name(endpoint_id: DestinationId, description: str, limits: PromptJangLimits) -> str:
    """Return what lists of all destinations call an endpoint, which has no name of its own."""
    return description[: limits.name_max_characters] or prefixed(parsing.ENDPOINT, endpoint_id)


class EndpointRoutes:
    """Handlers of ``/api/v1/endpoints``."""

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        destinations: Destinations,
        recovery: Recovery,
        limits: PromptJangLimits,
    ) -> None:
        self._guard = guard
        self._catalog = catalog
        self._destinations = destinations
        self._recovery = recovery
        self._limits = limits

    async def create(self, request: Request) -> Response:
        """Make an endpoint; its secret is shown in this answer alone."""
        principal = self._guard.guard(request, Scope.MANAGE)
        fields = parse_endpoint(request.body, creating=True, limits=self._limits)
        endpoint_id = self._destinations.new_id()
        endpoint, secret = await self._destinations.create(
            principal.organisation_id, endpoint_spec(endpoint_id, fields, self._limits), id=endpoint_id
        )
        return json_response(201, endpoint_shown(endpoint, secret=secret))

    async def list(self, request: Request) -> Response:
        """Return all endpoints, oldest first."""
        principal = self._guard.guard(request, Scope.READ)
        mine = self._catalog.destinations(principal.organisation_id, Dialect.PROMPTJANG)
        return json_response(200, {"endpoints": [endpoint_shown(each) for each in mine]})

    async def get(self, request: Request) -> Response:
        """Return one endpoint."""
        return json_response(200, endpoint_shown(self._endpoint(request, Scope.READ)))

    async def change(self, request: Request) -> Response:
        """Replace the fields that are given."""
        endpoint = self._endpoint(request, Scope.MANAGE)
        fields = parse_endpoint(request.body, creating=False, limits=self._limits)
        changes = endpoint_changes(endpoint, fields, self._limits)
        if changes:
            endpoint = await self._destinations.change(endpoint.organisation_id, endpoint.id, changes)
        return json_response(200, endpoint_shown(endpoint, changed=True))

    async def delete(self, request: Request) -> Response:
        """Remove an endpoint; its past events stay."""
        endpoint = self._endpoint(request, Scope.MANAGE)
        await self._destinations.delete(endpoint.organisation_id, endpoint.id)
        return json_response(200, {"message": "Endpoint deleted"})

    async def rotate_secret(self, request: Request) -> Response:
        """Make a new secret, shown in this answer alone; the old one counts for a while longer."""
        endpoint = self._endpoint(request, Scope.MANAGE)
        changed, secret = await self._destinations.rotate_secret(endpoint.organisation_id, endpoint.id)
        return json_response(200, endpoint_shown(changed, secret=secret, changed=True))

    async def test(self, request: Request) -> Response:
        """Send a real event of type ``tocsin.test`` to the endpoint, whatever types it wants."""
        principal = self._guard.guard(request, Scope.MANAGE)
        endpoint = find_endpoint(self._catalog, principal.organisation_id, request.path["endpoint_id"])
        refuse_disabled(endpoint)
        receipt = await self._destinations.test(endpoint.organisation_id, endpoint.id, principal.environment)
        return json_response(202, accepted(receipt.event_id, "Test event queued for delivery"))

    async def recover(self, request: Request) -> Response:
        """Send again what the endpoint missed since a time, in the key's environment; answer how many that is."""
        principal = self._guard.guard(request, Scope.MANAGE)
        endpoint = find_endpoint(self._catalog, principal.organisation_id, request.path["endpoint_id"])
        given = parsing.members(request.body, _RECOVER)
        if "since" not in given:
            raise parsing.invalid("since", "is required")
        count = await self._recovery.recover(
            endpoint.organisation_id,
            endpoint.id,
            environment=principal.environment,
            since_ms=parsing.time_of(given["since"], "since"),
            until_ms=parsing.time_of(given["until"], "until") if "until" in given else None,
        )
        return json_response(202, {"count": count})

    def _endpoint(self, request: Request, scope: Scope) -> Destination:
        principal = self._guard.guard(request, scope)
        return find_endpoint(self._catalog, principal.organisation_id, request.path["endpoint_id"])
