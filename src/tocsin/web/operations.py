"""What an operator's machinery asks for: readiness and metrics."""

from __future__ import annotations

import contextlib

import structlog

from tocsin.core.errors import TocsinError
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import Info
from tocsin.pipeline.measuring import Measuring
from tocsin.telemetry import Metrics
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Handler, Request, Response, Route, json_response

NAME = "operations"
_BODY_BYTES_MAX = 65_536
_log = structlog.get_logger("tocsin.operations")
EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_EXPOSITION = (b"content-type", EXPOSITION_TYPE.encode())


class Operations:
    """``/ready`` and ``/metrics``."""

    def __init__(self, *, engine: Engine, metrics: Metrics, measuring: Measuring) -> None:
        self._engine = engine
        self._measuring = measuring
        self._metrics = metrics
        self._writable = True

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return self._route("/ready", self._ready), self._route("/metrics", self._expose)

    def _route(self, path: str, handler: Handler) -> Route:
        return Route(
            method="GET", path=path, handler=handler, errors=told, name=NAME, body_limit_bytes=_BODY_BYTES_MAX
        )

    async def _ready(self, _request: Request) -> Response:
        info = await self._probe()
        return json_response(
            200,
            {"status": "ready", "engine": info.engine, "version": info.version, "durability": info.durability.value},
        )

    async def _expose(self, _request: Request) -> Response:
        with contextlib.suppress(TocsinError):
            await self._probe()
        await self._measuring.refresh()
        return Response(status=200, body=self._metrics.exposition(), headers=[_EXPOSITION])

    async def _probe(self) -> Info:
        try:
            info = await self._engine.probe()
        except TocsinError as error:
            self._note(writable=False, reason=error.detail)
            raise
        self._note(writable=True)
        return info

    def _note(self, *, writable: bool, reason: str | None = None) -> None:
        self._metrics.store_writable(writable)
        if writable is not self._writable:
            self._writable = writable
            if writable:
                _log.info("store_writable")
            else:
                _log.error("store_not_writable", error=reason)


def told(_request: Request, error: TocsinError) -> Response:
    """Return the answer that tells an error of these routes."""
    status = status_of(error)
    word = "unavailable" if status == 503 else "error"
    return json_response(status, {"status": word, "detail": error.detail}, retry_after(error))
