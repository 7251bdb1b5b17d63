"""Names and fields of every metric: a contract that docs/telemetry.md repeats."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from tocsin.core.delivery import Deferred, Delivered, Outcome
from tocsin.core.destination import Transport


class Metrics:
    """What is counted. One registry of its own, so that two gateways in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "tocsin_requests", "Answered requests.", ("dialect", "route", "status"), registry=self.registry
        )
        self._attempts = Counter(
            "tocsin_attempts", "Attempts made.", ("transport", "outcome"), registry=self.registry
        )
        self._settled = Counter("tocsin_settlements", "Recorded attempts and releases.", registry=self.registry)
        self._breakers = Counter(
            "tocsin_breaker_openings", "Times that a destination was left alone for a while.", registry=self.registry
        )
        self._faults = Counter("tocsin_faults", "Answers 5xx that are a fault of ours.", registry=self.registry)
        self._writable = Gauge("tocsin_store_writable", "1 while the store takes writes.", registry=self.registry)
        self._writable.set(1)
        self._request_children: dict[tuple[str, str, str, int], Counter] = {}
        self._attempt_children: dict[tuple[Transport, str], Counter] = {}

    def answered(self, dialect: str, method: str, path: str, status: int) -> None:
        """Count an answer of the route with this method and path."""
        key = (dialect, method, path, status)
        child = self._request_children.get(key)
        if child is None:
            child = self._requests.labels(dialect, f"{method} {path}", str(status))
            self._request_children[key] = child
        child.inc()

    def attempted(self, transport: Transport, outcome: Outcome) -> None:
        """Count an attempt."""
        if isinstance(outcome, Delivered):
            word = "delivered"
        else:
            word = "deferred" if isinstance(outcome, Deferred) else "rejected"
        key = (transport, word)
        child = self._attempt_children.get(key)
        if child is None:
            child = self._attempt_children[key] = self._attempts.labels(transport.value, word)
        child.inc()

    def settled(self, count: int) -> None:
        """Count what the engine recorded."""
        self._settled.inc(count)

    def breaker_opened(self) -> None:
        """Count a breaker that opened."""
        self._breakers.inc()

    def fault(self) -> None:
        """Count a fault of ours."""
        self._faults.inc()

    def store_writable(self, writable: bool) -> None:
        """Say whether the store takes writes."""
        self._writable.set(1 if writable else 0)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
