"""OpenTelemetry spans of requests, commits and attempts. Imported only where traces are wanted.

A request's span is the root of its event's trace, or the child of the client's own. The event keeps the span's
``traceparent``; its commit and each of its attempts are children of that span, however much later they come, and the
attempt's own span goes to the receiver.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from opentelemetry import context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

import tocsin
from tocsin.core.delivery import Attempt, Lease
from tocsin.core.event import Event
from tocsin.core.identifiers import created_ms, prefixed
from tocsin.core.trace import TRACEPARENT, attempt_span_id, parse_traceparent

_NS_PER_MS = 1_000_000
_HEADER = TRACEPARENT.encode()
_FLUSH_S = 5.0
"""How long the end of the program waits for a collector that does not answer."""

Scope = MutableMapping[str, Any]
Asgi = Callable[[Scope, Any, Any], Awaitable[None]]


class _Ids(RandomIdGenerator):
    """Random ids, but for the next span one that is given."""

    def __init__(self) -> None:
        self.next_span: int | None = None

    def generate_span_id(self) -> int:
        given, self.next_span = self.next_span, None
        return super().generate_span_id() if given is None else given


class Tracing:
    """Makes the spans; on the event loop's thread only.

    Where the spans go, under which service's name and how many of them, say OpenTelemetry's own variables,
    ``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER`` and so on; OTLP over HTTP it is.
    """

    def __init__(self) -> None:
        self._ids = _Ids()
        named = {"service.name": "tocsin", "service.version": tocsin.__version__}
        # What the environment says comes last and wins.
        resource = Resource(named).merge(Resource.create({})) if _is_named() else Resource.create(named)
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tocsin", tocsin.__version__)

    def close(self) -> None:
        """Send what waits; blocks, for a few seconds at the most."""
        thread = threading.Thread(target=self._provider.shutdown, name="tocsin-traces-end", daemon=True)
        thread.start()
        thread.join(_FLUSH_S)

    # -- requests ---------------------------------------------------------------------------------------

    def around(self, app: Asgi) -> Asgi:
        """Return the application with a span around each request."""

        async def traced(scope: Scope, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            given = next((value for name, value in scope["headers"] if name == _HEADER), None)
            parent = None if given is None else _context_of(given.decode("latin-1"))
            span = self._tracer.start_span(scope["method"], parent or context.Context(), SpanKind.SERVER)
            token = context.attach(set_span_in_context(span))
            try:
                await app(scope, receive, send)
            finally:
                context.detach(token)
                span.end()

        return traced

    def answered(self, dialect: str, method: str, path: str, status: int) -> None:
        """Name the span of the request that is answered now."""
        span = get_current_span()
        span.update_name(f"{method} {path}")
        span.set_attributes(
            {
                "tocsin.dialect": dialect,
                "http.request.method": method,
                "http.route": path,
                "http.response.status_code": status,
            }
        )
        if status >= 500:
            span.set_status(StatusCode.ERROR)

    # -- events -----------------------------------------------------------------------------------------

    def current(self) -> str | None:
        """Return the ``traceparent`` that the event of this request keeps; None outside of requests."""
        told = get_current_span().get_span_context()
        if not told.is_valid:
            return None
        return f"00-{told.trace_id:032x}-{told.span_id:016x}-{int(told.trace_flags):02x}"

    def committed(self, event: Event, result: str, batch: int, now_ms: int) -> None:
        """Tell that an event's commit has returned.

        Args:
            batch: how many events shared it.
        """
        parent = None if event.trace is None else _context_of(event.trace)
        if parent is None:
            return
        began_ms = min(created_ms(event.id), now_ms)
        span = self._tracer.start_span(
            "commit",
            parent,
            attributes={
                "tocsin.event": prefixed("evt", event.id),
                "tocsin.result": result,
                "tocsin.batch_events": batch,
            },
            start_time=began_ms * _NS_PER_MS,
        )
        span.end(now_ms * _NS_PER_MS)

    def attempted(self, transport: str, lease: Lease, attempt: Attempt, outcome: str) -> None:
        """Tell of an attempt that has ended, under the name by which its request told of it."""
        event = lease.event
        parent = None if event.trace is None else _context_of(event.trace)
        if parent is None:
            return
        told: dict[str, Any] = {
            "tocsin.event": prefixed("evt", event.id),
            "tocsin.delivery": prefixed("dlv", lease.delivery_id),
            "tocsin.destination": prefixed("dst", lease.destination_id),
            "tocsin.transport": transport,
            "tocsin.attempt": lease.attempts_made + 1,
            "tocsin.outcome": outcome,
        }
        if attempt.status_code is not None:
            told["http.response.status_code"] = attempt.status_code
        if attempt.error_class is not None:
            told["error.type"] = str(attempt.error_class)
        self._ids.next_span = int.from_bytes(attempt_span_id(lease.delivery_id, lease.number), "big")
        span = self._tracer.start_span(
            f"attempt {transport}",
            parent,
            SpanKind.CLIENT,
            attributes=told,
            start_time=attempt.started_ms * _NS_PER_MS,
        )
        if attempt.error_class is not None:
            span.set_status(StatusCode.ERROR, attempt.error)
        span.end((attempt.started_ms + attempt.duration_ms) * _NS_PER_MS)


def _is_named() -> bool:
    """Return whether the environment names the service."""
    said: Mapping[str, Any] = Resource.create({}).attributes
    return not str(said.get("service.name", "unknown_service")).startswith("unknown_service")


def _context_of(traceparent: str) -> context.Context | None:
    found = parse_traceparent(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = found
    sampled = TraceFlags(int(flags, 16) & TraceFlags.SAMPLED)
    told = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=sampled)
    return set_span_in_context(NonRecordingSpan(told), context.Context())
