"""The routes by which a person connects a Telegram chat: for the account, and for any destination."""

from __future__ import annotations

from tocsin.core.destination import Destination
from tocsin.core.organisation import Scope
from tocsin.dialects.native.destinations import find_destination
from tocsin.dialects.native.rendering import time_shown
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.telegram_binding import TelegramLinks
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response


class TelegramLinkRoutes:
    """Handlers of ``/account/telegram/link`` and ``/destinations/:id/telegram-link``."""

    def __init__(self, *, guard: Guard, catalog: Catalog, links: TelegramLinks) -> None:
        self._guard = guard
        self._catalog = catalog
        self._links = links

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        account, one = "/account/telegram/link", "/destinations/{destination_id}/telegram-link"
        return (
            ("POST", account, self.open_for_account),
            ("GET", account, self.status_of_account),
            ("POST", one, self.open_for_destination),
            ("GET", one, self.status_of_destination),
        )

    async def open_for_account(self, request: Request) -> Response:
        """Make a link for the account's Telegram contact."""
        return await self._opened(self._contact(request, Scope.MANAGE))

    async def status_of_account(self, request: Request) -> Response:
        """Return where the link of the account stands."""
        return self._status(self._contact(request, Scope.READ))

    async def open_for_destination(self, request: Request) -> Response:
        """Make a link for a destination."""
        return await self._opened(self._destination(request, Scope.MANAGE))

    async def status_of_destination(self, request: Request) -> Response:
        """Return where the link of a destination stands."""
        return self._status(self._destination(request, Scope.READ))

    def _contact(self, request: Request, scope: Scope) -> Destination:
        return self._links.contact(self._guard.guard(request, scope).organisation_id)

    def _destination(self, request: Request, scope: Scope) -> Destination:
        principal = self._guard.guard(request, scope)
        return find_destination(self._catalog, principal.organisation_id, request.path["destination_id"])

    async def _opened(self, destination: Destination) -> Response:
        link = await self._links.open(destination)
        return json_response(201, {"url": link.url, "expires_at": time_shown(link.expires_ms)})

    def _status(self, destination: Destination) -> Response:
        status = self._links.status(destination)
        return json_response(200, {"state": status.state.value, "error": status.error})
