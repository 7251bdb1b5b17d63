"""What an operator's machinery asks for: readiness and metrics."""

from __future__ import annotations

from tocsin.core.errors import TocsinError
from tocsin.engine.protocol import Engine
from tocsin.telemetry import Metrics
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Request, Response, Route, json_response

_EXPOSITION = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class Operations:
    """``/ready`` and ``/metrics``."""

    def __init__(self, *, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (
            Route(method="GET", path="/ready", handler=self._ready, errors=self._error, name="ready"),
            Route(method="GET", path="/metrics", handler=self._expose, errors=self._error, name="metrics"),
        )

    async def _ready(self, _request: Request) -> Response:
        try:
            info = await self._engine.probe()
        except TocsinError:
            self._metrics.store_writable(False)
            raise
        self._metrics.store_writable(True)
        return json_response(
            200,
            {"status": "ready", "engine": info.engine, "version": info.version, "durability": info.durability.value},
        )

    async def _expose(self, _request: Request) -> Response:
        return Response(status=200, body=self._metrics.exposition(), headers=[_EXPOSITION])

    def _error(self, _request: Request, error: TocsinError) -> Response:
        body = {"status": "unavailable", "detail": error.detail}
        return json_response(status_of(error), body, retry_after(error))
