"""Recording outcomes: in batches, and again until the engine takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from tocsin.core.delivery import Deferred, Delivered, DeliveryState, Lease, Outcome, Rejected
from tocsin.core.errors import Unavailable
from tocsin.core.retry import RetryPolicy
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import Finished, RetryAt, Settlement

_BATCH_MAX = 512
_BATCHES_AT_ONCE = 2
_PAUSE_S = 0.5


def settlement_of(lease: Lease, outcome: Outcome, policy: RetryPolicy, *, now_ms: int, jitter: float) -> Settlement:
    """Return what an outcome means for its delivery.

    Args:
        jitter: uniform random number in [0, 1).
    """
    match outcome:
        case Delivered(attempt):
            return Settlement(lease, attempt, Finished(DeliveryState.DELIVERED))
        case Rejected(attempt):
            return Settlement(lease, attempt, Finished(DeliveryState.EXPIRED))
        case Deferred(attempt, retry_after_s, counted):
            if not counted:
                wait_s: float | None = min(retry_after_s or policy.delay_max_s, policy.delay_max_s)
            else:
                wait_s = policy.delay_s(lease.attempts_made + 1, jitter=jitter, retry_after_s=retry_after_s)
            if wait_s is None:
                return Settlement(lease, attempt, Finished(DeliveryState.EXPIRED))
            return Settlement(lease, attempt, RetryAt(now_ms + round(wait_s * 1000), counted))
        case _:
            assert_never(outcome)


class Settler:
    """Hands settlements to the engine, those that come in meanwhile in the next batch.

    While the store cannot write, they are kept and tried again: what was sent is not sent again only because nobody
    could note it, unless its lease runs out first.

    Args:
        on_settled: called with how many settlements were recorded.
    """

    def __init__(self, engine: Engine, *, on_settled: Callable[[int], None]) -> None:
        self._engine = engine
        self._on_settled = on_settled
        self._waiting: list[Settlement] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

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
        while True:
            try:
                await self._engine.settle(batch)
                break
            except Unavailable:
                await asyncio.sleep(_PAUSE_S)
        self._on_settled(len(batch))
