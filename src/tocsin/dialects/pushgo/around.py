"""``/``, /healthz, /readyz and /gateway/profile."""

from __future__ import annotations

from tocsin import __version__
from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.entrance import Entrance
from tocsin.dialects.pushgo.envelope import success
from tocsin.engine.protocol import Engine
from tocsin.web.front import FrontPage
from tocsin.web.http import Request, Response

_VARY = (b"vary", b"accept")


class AroundRoutes:
    """What says that the gateway is there, and what it can do."""

    def __init__(self, *, engine: Engine, entrance: Entrance) -> None:
        self._engine = engine
        self._entrance = entrance
        self._front = FrontPage(version=__version__)

    async def root(self, request: Request) -> Response:
        """Say who answers here, to a browser by a page."""
        if "text/html" in (request.header(b"accept") or "").lower():
            response = self._front.response()
        else:
            response = success({"name": "Tocsin", "version": __version__})
        response.headers = [*response.headers, _VARY]
        return response

    async def healthz(self, _request: Request) -> Response:
        """Say that the process lives."""
        return success({"status": "ok", "private_channel_enabled": False, "private_runtime_ready": False})

    async def readyz(self, _request: Request) -> Response:
        """Say that events can be stored.

        Raises:
            Unavailable: they cannot.
        """
        await self._engine.probe()
        return success({"status": "ok"})

    async def profile(self, request: Request) -> Response:
        """Say that there is no private socket: every device pulls."""
        self._entrance.principal(request, Scope.READ)
        return success({"private_channel_enabled": False, "private_enabled": False})
