"""Every route of the gateway, written down once more by hand: a new one that is missing here fails a test."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import Answer
from tocsin.bootstrap import SystemClock, gateway, load_settings
from tocsin.web.http import Route

OPEN = "open"
"""Anybody may ask."""

STREAM = "/api/v1/stream"
"""The path whose answer has no end."""

_TABLE = """
pushgo open GET /
pushgo open GET /healthz
pushgo open GET /readyz
pushgo read GET /gateway/profile
pushgo read GET /channel/exists
pushgo ingest POST /event/create
pushgo ingest POST /event/update
pushgo ingest POST /event/close
pushgo ingest POST /message
pushgo ingest GET /message
pushgo manage POST /device/register
pushgo manage POST /channel/device
pushgo manage POST /channel/device/delete
pushgo manage POST /channel/device/provider-token/retire
pushgo manage POST /channel/subscribe
pushgo manage POST /channel/unsubscribe
pushgo manage POST /channel/rename
pushgo manage POST /channel/sync
pushgo manage POST /messages/pull
pushgo manage POST /messages/ack
pingpilot ingest POST /api/v1/event
pingpilot ingest POST /api/v1/events
buildable ingest POST /emit
buildable ingest POST /update
buildable ingest POST /init
buildable ingest POST /transact
buildable read POST /query
buildable read POST /get-full-event-name
nativeframe read GET /events/v2/history/webhooks/{name}
nativeframe manage POST /events/v2/history/webhooks/{name}/{id}/cancel
nativeframe ingest POST /events/v2/projects/{project}/events/{event}
nativeframe read GET /events/v2/projects/{project}/webhooks
nativeframe manage PUT /events/v2/projects/{project}/webhooks/{name}
nativeframe read GET /events/v2/projects/{project}/webhooks/{name}
nativeframe manage DELETE /events/v2/projects/{project}/webhooks/{name}
nativeframe open GET /auth/v1/jwks
nativeframe manage POST /auth/v1/service-jwt
promptjang open GET /health
promptjang ingest POST /e/{endpoint_id}
promptjang ingest POST /api/v1/e/{endpoint_id}
promptjang read GET /api/v1/events
promptjang read GET /api/v1/events/{event_id}
promptjang ingest POST /api/v1/events/{event_id}/replay
promptjang manage POST /api/v1/endpoints
promptjang read GET /api/v1/endpoints
promptjang read GET /api/v1/endpoints/{endpoint_id}
promptjang manage PATCH /api/v1/endpoints/{endpoint_id}
promptjang manage DELETE /api/v1/endpoints/{endpoint_id}
promptjang manage POST /api/v1/endpoints/{endpoint_id}/rotate-secret
promptjang manage POST /api/v1/endpoints/{endpoint_id}/test
promptjang manage POST /api/v1/endpoints/{endpoint_id}/recover
promptjang manage POST /api/v1/keys
promptjang read GET /api/v1/keys
promptjang manage DELETE /api/v1/keys/{key_id}
promptjang read GET /api/v1/orgs
promptjang manage PATCH /api/v1/orgs
promptjang read GET /api/v1/stats
native ingest POST /api/v1/cloudevents
native read GET /api/v1/account
native manage PUT /api/v1/account
native manage POST /api/v1/account/telegram/link
native read GET /api/v1/account/telegram/link
native read GET /api/v1/usage
native read GET /api/v1/categories
native manage POST /api/v1/categories
native manage POST /api/v1/categories/quickstart
native manage PATCH /api/v1/categories/{name}
native manage DELETE /api/v1/categories/{name}
native read GET /api/v1/categories/{name}/preview
native read GET /api/v1/channels
native manage POST /api/v1/channels
native manage PATCH /api/v1/channels/{channel_id}
native manage DELETE /api/v1/channels/{channel_id}
native read GET /api/v1/deliveries
native read GET /api/v1/deliveries/{delivery_id}
native manage POST /api/v1/deliveries/{delivery_id}/cancel
native manage POST /api/v1/deliveries/{delivery_id}/retry
native read GET /api/v1/destinations
native manage POST /api/v1/destinations
native read GET /api/v1/destinations/{destination_id}
native manage PATCH /api/v1/destinations/{destination_id}
native manage DELETE /api/v1/destinations/{destination_id}
native manage POST /api/v1/destinations/{destination_id}/pause
native manage POST /api/v1/destinations/{destination_id}/recover
native manage POST /api/v1/destinations/{destination_id}/resume
native manage POST /api/v1/destinations/{destination_id}/rotate-secret
native manage POST /api/v1/destinations/{destination_id}/test
native manage POST /api/v1/destinations/{destination_id}/telegram-link
native read GET /api/v1/destinations/{destination_id}/telegram-link
native read GET /api/v1/incidents
native read GET /api/v1/incidents/{incident_id}
native operator GET /api/v1/organisations
native operator POST /api/v1/organisations
native read GET /api/v1/events/{event_id}/data
native read GET /api/v1/stream
native read GET /api/v1/transactions
native manage POST /api/v1/replays
native read GET /api/v1/jobs
native read GET /api/v1/jobs/{job_id}
native manage POST /api/v1/jobs/{job_id}/cancel
native read GET /api/v1/audit
native read GET /api/v1/service-keys
native manage POST /api/v1/service-keys
native manage DELETE /api/v1/service-keys/{service_key_id}
native open GET /api/v1/openapi.json
native open GET /docs/api
native open GET /docs/api/page.css
native open GET /docs/api/page.js
operations open GET /metrics
operations open GET /ready
operations open GET /unsubscribe/{token}
operations open POST /unsubscribe/{token}
"""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A route as the table has it.

    Attributes:
        scope: what a key needs, or ``open``.
    """

    dialect: str
    scope: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def asked(self, value: str = "x") -> str:
        """Return the same; where the answer has no end, with a query that is refused."""
        return self.filled(value) + ("?kinds=none" if self.path == STREAM else "")

    def filled(self, value: str = "x") -> str:
        """Return the path with a value for every parameter."""
        return "/".join(value if part.startswith("{") else part for part in self.path.split("/"))


SURFACE = tuple(Mounted(*line.split()) for line in _TABLE.split("\n") if line)
PATHS = tuple({each.path: each for each in SURFACE}.values())
"""One route of each path."""

every_route = pytest.mark.parametrize("mounted", SURFACE, ids=str)
every_path = pytest.mark.parametrize("mounted", PATHS, ids=lambda each: each.path)


def credentials(dialect: str, key: str | None) -> dict[str, str]:
    """Return the header in which a dialect wants a key."""
    if key is None:
        return {}
    return {"X-Buildable-Secret": key} if dialect == "buildable" else {"Authorization": f"Bearer {key}"}


def built_routes(directory: Path) -> list[Route]:
    """Return the routes of an application that was really built, with its data in this directory."""

    async def build() -> list[Route]:
        settings = load_settings(data=directory)
        async with gateway(settings, clock=SystemClock(), on_fatal=pytest.fail) as running:
            return [
                endpoint.route for methods in running.app.paths.values() for endpoint in methods.endpoints.values()
            ]

    return asyncio.run(build())


def is_told_as(dialect: str, answer: Answer) -> bool:
    """Return whether an error has the form in which a dialect tells errors."""
    if not answer.body:
        return dialect == "pushgo" and answer.status == 405
    told = json.loads(answer.body)
    return set(told) in _FORMS[dialect] and answer.headers["content-type"] == "application/json"


_FORMS: dict[str, tuple[set[str], ...]] = {
    "pushgo": ({"success", "data", "error", "error_code", "problem"},),
    "pingpilot": ({"message"},),
    "buildable": ({"status", "message", "name"},),
    "nativeframe": ({"message", "errorCode", "invalidFields", "internal"},),
    "promptjang": ({"detail"},),
    "native": ({"detail", "code", "fields"},),
    "operations": ({"status", "detail"},),
}
