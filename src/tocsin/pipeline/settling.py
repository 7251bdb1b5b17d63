"""Recording outcomes: in batches, and again until the engine takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec
import structlog

from tocsin.core.delivery import (
    Attempt,
    Deferred,
    Delivered,
    DeliveryState,
    ErrorClass,
    Exchange,
    Lease,
    Outcome,
    Rejected,
)
from tocsin.core.errors import Unavailable
from tocsin.core.retry import RetryPolicy
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import Finished, RetryAt, Settlement

_BATCH_MAX = 512
_BATCHES_AT_ONCE = 2
_PAUSE_S = 0.5
_PATIENCE_S = 60.0
"""How long a remote is left alone that asks for patience and does not say for how long."""
_PATIENCE_MIN_S = 1.0
"""What does not count against the schedule must not spin."""

_log = structlog.get_logger("tocsin.settling")


def settlement_of(lease: Lease, outcome: Outcome, policy: RetryPolicy, *, now_ms: int, jitter: float) -> Settlement:
    """Return what an outcome means for its delivery.

    Those whom a remote told the same time to come back at are spread above it, so that they do not come all at once.

    Args:
        jitter: uniform random number in [0, 1).
    """
    match outcome:
        case Delivered(attempt):
            return Settlement(lease, attempt, Finished(DeliveryState.DELIVERED))
        case Rejected(attempt):
            return Settlement(lease, attempt, Finished(DeliveryState.EXPIRED))
        case Deferred(attempt, retry_after_s, counted):
            # Who rests for a remote has its attempts one after another anyway, and comes when it was told to.
            spread = 1.0 if outcome.rest_s else 1 + policy.jitter * jitter
            asked_s = None if retry_after_s is None else retry_after_s * spread
            if counted:
                made = lease.attempts_made - lease.retries_from + 1
                wait_s = policy.delay_s(made, jitter=jitter, retry_after_s=asked_s)
            else:
                patience_s = _PATIENCE_S if asked_s is None else max(asked_s, _PATIENCE_MIN_S)
                wait_s = min(patience_s, policy.delay_max_s)
            if wait_s is None:
                return Settlement(lease, attempt, Finished(DeliveryState.EXPIRED))
            return Settlement(lease, attempt, RetryAt(now_ms + round(wait_s * 1000), counted))
        case _:
            assert_never(outcome)


def broken(now_ms: int, error: str) -> Deferred:
    """Return the outcome of an attempt that a fault of ours broke; a later one may succeed."""
    attempt = Attempt(
        started_ms=now_ms,
        duration_ms=0,
        exchange=Exchange(request_line="(nothing was sent, as far as is known)"),
        error_class=ErrorClass.INTERNAL,
        error=error,
    )
    return Deferred(attempt)


class Settler:
    """Hands settlements to the engine, those that come in meanwhile in the next batch.

    While the store cannot write, they are kept and tried again: what was sent is not sent again only because nobody
    could note it, unless its lease runs out first.

    Args:
        on_settled: called with how many settlements were recorded.
        on_verdicts: called with these settlements, and of each whether its lease still stood; also with one that
            could not be recorded at all, as if it did not.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_settled: Callable[[int], None],
        on_verdicts: Callable[[Sequence[Settlement], Sequence[bool]], None] | None = None,
    ) -> None:
        self._engine = engine
        self._on_settled = on_settled
        self._on_verdicts = on_verdicts
        self._waiting: list[Settlement] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    @property
    def waiting(self) -> int:
        """How many settlements wait for their batch."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way to the store."""
        return not self._waiting and not self._tasks

    def add(self, settlement: Settlement) -> None:
        """Record a settlement soon."""
        self._waiting.append(settlement)
        if not self._scheduled and len(self._tasks) < _BATCHES_AT_ONCE:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def drain(self) -> None:
        """Return when everything added so far is recorded."""
        while self._waiting or self._tasks:
            self._flush()
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._tasks) < _BATCHES_AT_ONCE:
            batch = self._waiting[:_BATCH_MAX]
            del self._waiting[:_BATCH_MAX]
            task = asyncio.get_running_loop().create_task(self._record(batch))
            self._tasks.add(task)
            task.add_done_callback(self._recorded)

    def _recorded(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._flush()

    async def _record(self, batch: list[Settlement]) -> None:
        try:
            verdicts = await self._settle(batch)
        except Exception:  # noqa: BLE001  whatever it is, it lies with one of them
            # That one must not take the others with it, which were sent and would be sent again.
            if len(batch) == 1:
                await self._record_without_exchange(batch[0])
                return
            middle = len(batch) // 2
            await self._record(batch[:middle])
            await self._record(batch[middle:])
        else:
            self._note(batch, verdicts)

    def _note(self, batch: list[Settlement], verdicts: list[bool]) -> None:
        self._on_settled(len(batch))
        if self._on_verdicts is not None:
            self._on_verdicts(batch, verdicts)

    async def _settle(self, batch: list[Settlement]) -> list[bool]:
        while True:
            try:
                return await self._engine.settle(batch)
            except Unavailable:
                await asyncio.sleep(_PAUSE_S)

    async def _record_without_exchange(self, settlement: Settlement) -> None:
        """Keep at least what became of a delivery whose attempt the engine does not take."""
        made = settlement.attempt
        attempt = None
        if made is not None:
            attempt = Attempt(
                started_ms=made.started_ms,
                duration_ms=made.duration_ms,
                exchange=Exchange(request_line="(what was exchanged could not be stored)"),
                status_code=made.status_code,
                error_class=None if made.error_class is None else ErrorClass.INTERNAL,
                error=None if made.error_class is None else "the attempt's record could not be stored",
            )
        noted = [msgspec.structs.replace(settlement, attempt=attempt)]
        try:
            verdicts = await self._settle(noted)
        except Exception:  # noqa: BLE001  it is logged; the lease runs out, and the delivery is tried again
            _log.exception("settlement_lost", delivery=settlement.lease.delivery_id.hex())
            if self._on_verdicts is not None:
                self._on_verdicts(noted, [False])
        else:
            self._note(noted, verdicts)
