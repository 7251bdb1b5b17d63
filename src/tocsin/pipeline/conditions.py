"""Conditions of destinations on events' data: evaluated as events are routed, and what went wrong with them kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import structlog

from tocsin.core.clock import Clock
from tocsin.core.condition import Condition, ConditionFailed, Evaluation
from tocsin.core.destination import Destination
from tocsin.core.event import Event
from tocsin.core.identifiers import DestinationId, EventId, hex32
from tocsin.telemetry import Metrics

_log = structlog.get_logger("tocsin.conditions")


class ConditionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of evaluating conditions; a step takes about a microsecond.

    Attributes:
        steps_max: what one condition may take for one event.
        event_steps_max: what all conditions may take for one event, the oldest destination's first.
        failures_kept_max: destinations whose last failure is remembered.
    """

    steps_max: int = 10_000
    event_steps_max: int = 20_000
    failures_kept_max: int = 10_000


class ConditionFailure(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a condition that could not be evaluated.

    Attributes:
        expression: the condition.
        count: failures since the process started or the condition was changed.
        reason, event_id, at_ms: of the last one.
    """

    expression: str
    count: int
    reason: str
    event_id: EventId
    at_ms: int


class Conditions:
    """Narrows the destinations of an event down to those whose condition its data meet.

    A condition that cannot be evaluated is not met: it is counted, logged the first time, and its last failure kept
    for whoever looks at the destination.
    """

    def __init__(self, *, metrics: Metrics, clock: Clock, limits: ConditionLimits) -> None:
        self._metrics = metrics
        self._clock = clock
        self._limits = limits
        self._failures: dict[DestinationId, ConditionFailure] = {}

    def narrow(
        self, found: Sequence[Destination], conditions: Mapping[DestinationId, Condition], event: Event
    ) -> tuple[list[Destination], int]:
        """Return those of the destinations that have no condition, or one that the event's data meet; and the steps.

        The data are decoded once, and only if one of the destinations has a condition.
        """
        evaluation = Evaluation(
            event.data, steps_max=self._limits.steps_max, event_steps_max=self._limits.event_steps_max
        )
        kept: list[Destination] = []
        for destination in found:
            condition = conditions.get(destination.id)
            if condition is None or self._holds(evaluation, condition, destination, event):
                kept.append(destination)
        return kept, evaluation.spent

    def last_failure(self, destination: Destination) -> ConditionFailure | None:
        """Return the last failure of the condition that a destination has now, or None without one."""
        failure = self._failures.get(destination.id)
        return failure if failure is not None and failure.expression == destination.filter.where else None

    def _holds(self, evaluation: Evaluation, condition: Condition, destination: Destination, event: Event) -> bool:
        try:
            return evaluation.holds(condition)
        except ConditionFailed as error:
            self._note(destination, condition, error.reason, event)
            return False

    def _note(self, destination: Destination, condition: Condition, reason: str, event: Event) -> None:
        self._metrics.condition_failed()
        before = self.last_failure(destination)
        if before is None:
            _log.warning("condition_failed", destination=hex32(destination.id), reason=reason)
        self._failures.pop(destination.id, None)
        while len(self._failures) >= self._limits.failures_kept_max:
            del self._failures[next(iter(self._failures))]
        self._failures[destination.id] = ConditionFailure(
            expression=condition.expression,
            count=1 if before is None else before.count + 1,
            reason=reason,
            event_id=event.id,
            at_ms=self._clock.now_ms(),
        )
