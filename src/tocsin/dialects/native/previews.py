"""The route that shows a category's event as people would see it."""

from __future__ import annotations

from tocsin.core.destination import Transport
from tocsin.core.errors import InvalidRequest
from tocsin.core.organisation import Scope
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import read_query
from tocsin.dialects.native.reading import text, word
from tocsin.pipeline.previews import CHANNELS, Previews
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response

CHANNEL_NAMES = tuple(each.value for each in CHANNELS)


class PreviewRoutes:
    """Handler of ``/categories/:name/preview``."""

    def __init__(self, *, guard: Guard, previews: Previews, limits: NativeLimits) -> None:
        self._guard = guard
        self._previews = previews
        self._terms = {
            "channel": word(CHANNEL_NAMES),
            "description": text(1, limits.description_characters_max),
        }

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (("GET", "/categories/{name}/preview", self.show),)

    async def show(self, request: Request) -> Response:
        """Return a sample event as one channel would show it."""
        principal = self._guard.guard(request, Scope.READ)
        given = read_query(request, self._terms)
        if "channel" not in given:
            raise InvalidRequest("channel is required", fields=(("channel", "is required"),))
        channel = Transport(given["channel"])
        shown = self._previews.of_category(
            principal.organisation_id, request.path["name"], channel, given.get("description")
        )
        return json_response(200, {"channel": channel.value, **shown})
