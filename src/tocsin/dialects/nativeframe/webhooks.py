"""The routes by which webhooks are configured."""

from __future__ import annotations

from tocsin.core.destination import Destination
from tocsin.core.errors import Conflict, NotFound, Unprocessable
from tocsin.core.event import Dialect
from tocsin.core.identifiers import OrganisationId
from tocsin.core.organisation import Scope
from tocsin.dialects.nativeframe.access import Access
from tocsin.dialects.nativeframe.config import (
    WebhookConfig,
    changes_of,
    parse_webhook,
    project_of,
    shown,
    spec_of,
)
from tocsin.dialects.nativeframe.faults import Fault, FaultCode, InvalidFields
from tocsin.dialects.nativeframe.limits import NativeFrameLimits
from tocsin.dialects.nativeframe.parsing import parse_names
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.destinations import Destinations
from tocsin.web.http import Request, Response, json_response

_NO_STORE = [(b"cache-control", b"no-store")]


class Webhooks:
    """Configures webhooks, each a destination whose name is unique among those of its organisation."""

    def __init__(
        self, *, access: Access, catalog: Catalog, destinations: Destinations, limits: NativeFrameLimits
    ) -> None:
        self._access = access
        self._catalog = catalog
        self._destinations = destinations
        self._limits = limits

    async def put(self, request: Request) -> Response:
        """Make a webhook (201, with its signing secret, shown only now) or replace its configuration (200)."""
        principal = await self._access.principal(request, Scope.MANAGE)
        config = parse_webhook(request.path, request.body, self._limits)
        organisation_id = principal.organisation_id
        try:
            before = self._find(organisation_id, config.name)
            if before is None:
                created = await self._create(organisation_id, config)
                if created is not None:
                    destination, secret = created
                    return json_response(201, {**shown(destination), "secret": secret}, _NO_STORE)
                # Somebody made it a moment ago.
                await self._catalog.refresh()
                before = self._find(organisation_id, config.name)
            if before is None or project_of(before) != config.project:
                raise Conflict("the name is taken by a webhook of another project", code="name_taken")
            after = await self._destinations.change(organisation_id, before.id, changes_of(config, before))
        except Unprocessable as error:
            # The field's name stands before the reason already.
            raise InvalidFields([Fault("url", error.detail.removeprefix("URL "), FaultCode.REFUSED)]) from error
        return json_response(200, shown(after))

    async def get(self, request: Request) -> Response:
        """Show a webhook."""
        principal = await self._access.principal(request, Scope.READ)
        return json_response(200, shown(self._get(principal.organisation_id, request)))

    async def delete(self, request: Request) -> Response:
        """Remove a webhook (204)."""
        principal = await self._access.principal(request, Scope.MANAGE)
        webhook = self._get(principal.organisation_id, request)
        await self._destinations.delete(principal.organisation_id, webhook.id)
        return Response(status=204)

    async def list(self, request: Request) -> Response:
        """Show the webhooks of a project, oldest first."""
        principal = await self._access.principal(request, Scope.READ)
        (project,) = parse_names(request.path, "project")
        webhooks = self._catalog.destinations(principal.organisation_id, Dialect.NATIVEFRAME)
        return json_response(200, [shown(each) for each in webhooks if project_of(each) == project])

    async def _create(self, organisation_id: OrganisationId, config: WebhookConfig) -> tuple[Destination, str] | None:
        """Return the new webhook and its secret, or None when its name was taken meanwhile."""
        try:
            return await self._destinations.create(organisation_id, spec_of(config))
        except Conflict as error:
            if error.code != "name_taken":
                raise
            return None

    def _find(self, organisation_id: OrganisationId, name: str) -> Destination | None:
        return self._catalog.find_named_destination(organisation_id, Dialect.NATIVEFRAME, name)

    def _get(self, organisation_id: OrganisationId, request: Request) -> Destination:
        project, name = parse_names(request.path, "project", "name")
        found = self._find(organisation_id, name)
        if found is None or project_of(found) != project:
            raise NotFound("there is no such webhook in this project", code="webhook_not_found")
        return found
