"""Calls that share a transaction: whoever comes while the connections are busy goes with the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from tocsin.core.errors import Unavailable

I = TypeVar("I")  # noqa: E741  an item
R = TypeVar("R")


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one kind of batch.

    Attributes:
        items_max: in one transaction, unless a single call brings more.
        at_once_max: transactions under way.
        waiting_max: items that wait; above it calls are refused with ``Unavailable``.
        patience_s: how long calls that are not urgent wait for others.
    """

    items_max: int = 500
    at_once_max: int = 2
    waiting_max: int = 10_000
    patience_s: float = 0.0


class _Call(Generic[I, R]):
    def __init__(self, items: Sequence[I], future: asyncio.Future[list[R]]) -> None:
        self.items = items
        self.future = future


class Batches(Generic[I, R]):
    """Puts calls together, in the order in which they come, and shares the results out again.

    A transaction goes on whatever becomes of those that wait for it.

    Args:
        run: carries out a batch; returns a result for each item, in their order. An exception fails one call alone:
            where several go together, each is tried again on its own.
    """

    def __init__(self, run: Callable[[list[I]], Awaitable[list[R]]], limits: BatchLimits) -> None:
        self._run = run
        self._limits = limits
        self._calls: deque[_Call[I, R]] = deque()
        self._items = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_open = True
        self._is_called = False
        self._patience: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return self._items

    async def submit(self, items: Sequence[I], *, urgent: bool = True) -> list[R]:
        """Return the results of these items, once they are there for good.

        Args:
            urgent: whether somebody waits for them; others let more come first.

        Raises:
            Unavailable: this was closed, or too much waits.
        """
        if not self._is_open:
            raise Unavailable("the store is closed", retry_after_s=1)
        if self._items + len(items) > max(self._limits.waiting_max, len(items)):
            raise Unavailable("too many writes wait for the database", retry_after_s=1)
        if not items:
            return []
        loop = asyncio.get_running_loop()
        call: _Call[I, R] = _Call(items, loop.create_future())
        is_first = not self._calls
        self._calls.append(call)
        self._items += len(items)
        if urgent or self._items >= self._limits.items_max:
            if not self._is_called:
                # Who asks in the same moment goes along.
                self._is_called = True
                loop.call_soon(self._start)
        elif is_first:
            self._patience = loop.call_later(self._limits.patience_s, self._start)
        return await call.future

    async def close(self) -> None:
        """Finish what waits, and take nothing more. Idempotent."""
        self._is_open = False
        while self._calls or self._under_way:
            self._start()
            await asyncio.wait(self._under_way)

    def _start(self) -> None:
        self._is_called = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        while self._calls and len(self._under_way) < self._limits.at_once_max:
            batch = [self._next()]
            size = len(batch[0].items)
            while self._calls and size + len(self._calls[0].items) <= self._limits.items_max:
                batch.append(self._next())
                size += len(batch[-1].items)
            task = asyncio.get_running_loop().create_task(self._carry_out(batch))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _next(self) -> _Call[I, R]:
        call = self._calls.popleft()
        self._items -= len(call.items)
        return call

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._patience is None:
            self._start()

    async def _carry_out(self, batch: list[_Call[I, R]]) -> None:
        try:
            results = await self._run([item for call in batch for item in call.items])
        except Exception as error:  # noqa: BLE001  it is told to those who asked
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for call in batch:
                    await self._carry_out([call])
                return
            for call in batch:
                if not call.future.done():
                    call.future.set_exception(error)
            return
        start = 0
        for call in batch:
            end = start + len(call.items)
            if not call.future.done():
                call.future.set_result(results[start:end])
            start = end
