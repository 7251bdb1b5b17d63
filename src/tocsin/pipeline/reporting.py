"""Telling of each attempt: to the metrics, to the log, and to whoever traces."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import structlog

from tocsin.core.clock import rfc3339
from tocsin.core.delivery import Attempt, Deferred, Delivered, Lease, Outcome
from tocsin.core.destination import Destination, Transport
from tocsin.core.identifiers import DeliveryId, prefixed
from tocsin.engine.rows import Finished, RetryAt, Settlement
from tocsin.telemetry import Metrics

_log = structlog.get_logger("tocsin.attempts")


class Logged(StrEnum):
    """Of which attempts the log has a line."""

    OFF = "off"
    FAILED = "failed"
    ALL = "all"


class Traces(Protocol):
    """Who traces attempts."""

    def attempted(self, transport: str, lease: Lease, attempt: Attempt, outcome: str) -> None:
        """Tell of an attempt that has ended."""
        ...


class AttemptReports:
    """Tells of each attempt that has ended.

    Every line is written or none: a log of which a part is missing cannot answer what became of one delivery, and for
    what many came to there are the metrics.

    Args:
        logged: of which attempts there is a line.
        traces: None where nobody traces.
    """

    def __init__(self, metrics: Metrics, *, logged: Logged = Logged.FAILED, traces: Traces | None = None) -> None:
        self._metrics = metrics
        self._logged = logged
        self._traces = traces
        self._ending: dict[tuple[DeliveryId, int], Transport] = {}

    def recorded(self, settlements: Sequence[Settlement], verdicts: Sequence[bool]) -> None:
        """Count the deliveries that have ended, now that this is recorded; a lost lease ends none.

        Args:
            verdicts: the engine's, one for each settlement.
        """
        for settlement, counts in zip(settlements, verdicts, strict=True):
            transport = self._ending.pop(_claim_of(settlement), None)
            if counts and transport is not None and isinstance(settlement.then, Finished):
                self._metrics.finished(transport, settlement.then.state)

    def note(self, destination: Destination, settlement: Settlement, outcome: Outcome) -> None:
        """Tell of an attempt, and of what it means for its delivery; ``recorded`` is to be told of it too."""
        self._metrics.attempted(destination.transport, settlement.lease, outcome)
        if isinstance(settlement.then, Finished):
            self._ending[_claim_of(settlement)] = destination.transport
        if self._logged is Logged.ALL or (self._logged is Logged.FAILED and not isinstance(outcome, Delivered)):
            _write(destination, settlement, outcome)
        if self._traces is not None:
            self._traces.attempted(destination.transport, settlement.lease, outcome.attempt, word_of(outcome))


def _claim_of(settlement: Settlement) -> tuple[DeliveryId, int]:
    return settlement.lease.delivery_id, settlement.lease.number


def word_of(outcome: Outcome) -> str:
    """Return the name of an outcome: ``delivered``, ``deferred`` or ``rejected``."""
    if isinstance(outcome, Delivered):
        return "delivered"
    return "deferred" if isinstance(outcome, Deferred) else "rejected"


def _write(destination: Destination, settlement: Settlement, outcome: Outcome) -> None:
    lease, attempt, then = settlement.lease, outcome.attempt, settlement.then
    _log.info(
        "attempt_made",
        delivery=prefixed("dlv", lease.delivery_id),
        attempted_event=prefixed("evt", lease.event.id),
        organisation=prefixed("org", destination.organisation_id),
        destination=prefixed("dst", destination.id),
        name=destination.name,
        transport=destination.transport,
        number=lease.attempts_made + 1,
        outcome=word_of(outcome),
        status_code=attempt.status_code,
        error_class=attempt.error_class,
        error=attempt.error,
        duration_ms=attempt.duration_ms,
        connect_ms=attempt.connect_ms,
        next_due=rfc3339(then.due_ms) if isinstance(then, RetryAt) else None,
        event_bytes=len(lease.event.data),
        answer_bytes=len(attempt.exchange.response_body),
    )
