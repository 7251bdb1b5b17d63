"""The application of a port of its own for one process's readiness and metrics."""

from __future__ import annotations

from tocsin.bootstrap.parts import Parts
from tocsin.bootstrap.surface import reporter
from tocsin.core.errors import NotFound
from tocsin.web.app import App, Area
from tocsin.web.http import Request, Response, Route, json_response
from tocsin.web.operations import NAME, Operations, told
from tocsin.web.server import ServerLimits


def build_operations_app(parts: Parts) -> App:
    """Return what serves ``/health``, ``/ready`` and ``/metrics``, and nothing else."""
    server = parts.settings.limits("server", ServerLimits)
    operations = Operations(engine=parts.engine, metrics=parts.metrics, measuring=parts.measuring)
    health = Route(method="GET", path="/health", handler=_health, errors=told, name=NAME)
    return App(
        [health, *operations.routes()],
        [Area("", _not_found)],
        report=reporter(parts.metrics, parts.tracing),
        body_deadline_s=server.body_deadline_s,
        bodies_bytes_max=server.bodies_bytes_max,
        timer=parts.metrics.request_timer,
    )


async def _health(_request: Request) -> Response:
    return json_response(200, {"status": "ok"})


def _not_found(request: Request) -> Response:
    return told(request, NotFound("there is only /health, /ready and /metrics here"))
