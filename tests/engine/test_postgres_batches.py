"""Which calls share a transaction: those that somebody waits for go soon, the others let more come first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tocsin.engine.postgres.batches import Batches, BatchLimits

NEVER_S = 3600.0
PLAY_MAX_S = 30.0


class Store:
    """Notes each transaction; the first is held up until it is let go, if one wants that."""

    def __init__(self) -> None:
        self.carried_out: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def run(self, items: list[int]) -> list[int]:
        self.carried_out.append(items)
        await self.go.wait()
        return [-each for each in items]


def play(
    scene: Callable[[Batches[int, int], Store], Awaitable[None]], *, patience_s: float = NEVER_S, items_max: int = 10
) -> list[list[int]]:
    """Return the transactions of a scene."""

    async def run() -> list[list[int]]:
        store = Store()
        limits = BatchLimits(items_max=items_max, at_once_max=1, patience_s=patience_s)
        async with asyncio.timeout(PLAY_MAX_S):
            await scene(Batches(store.run, limits), store)
        return store.carried_out

    return asyncio.run(run())


def patient(batches: Batches[int, int], *items: int) -> list[asyncio.Task[list[int]]]:
    return [asyncio.create_task(batches.submit([each], urgent=False)) for each in items]


def test_patient_calls_go_along_with_the_first_that_is_urgent() -> None:
    async def scene(batches: Batches[int, int], _: Store) -> None:
        waiting = patient(batches, 1, 2, 3)
        await asyncio.sleep(0)
        assert await batches.submit([4]) == [-4]
        assert await asyncio.gather(*waiting) == [[-1], [-2], [-3]]

    assert play(scene) == [[1, 2, 3, 4]]


def test_patience_ends_by_itself() -> None:
    async def scene(batches: Batches[int, int], _: Store) -> None:
        assert await asyncio.gather(*patient(batches, 1, 2)) == [[-1], [-2]]

    assert play(scene, patience_s=0.001) == [[1, 2]]


def test_a_full_batch_waits_for_nobody() -> None:
    async def scene(batches: Batches[int, int], _: Store) -> None:
        assert await asyncio.gather(*patient(batches, 1, 2, 3)) == [[-1], [-2], [-3]]

    assert play(scene, items_max=3) == [[1, 2, 3]]


def test_closing_carries_out_what_waits() -> None:
    async def scene(batches: Batches[int, int], _: Store) -> None:
        waiting = patient(batches, 1, 2)
        await asyncio.sleep(0)
        await batches.close()
        assert await asyncio.gather(*waiting) == [[-1], [-2]]

    assert play(scene) == [[1, 2]]


def test_an_urgent_call_that_found_all_busy_is_next_though_patient_ones_came_after_it() -> None:
    async def scene(batches: Batches[int, int], store: Store) -> None:
        store.go.clear()
        calls = [asyncio.create_task(batches.submit([1]))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        calls.append(asyncio.create_task(batches.submit([2])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        calls += patient(batches, 3)
        await asyncio.sleep(0)
        store.go.set()
        assert await asyncio.gather(*calls) == [[-1], [-2], [-3]]

    assert play(scene) == [[1], [2, 3]]


def test_patient_calls_do_not_follow_at_once_on_a_transaction_that_ends() -> None:
    async def scene(batches: Batches[int, int], store: Store) -> None:
        store.go.clear()
        first = asyncio.create_task(batches.submit([1]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = patient(batches, 2)
        await asyncio.sleep(0)
        store.go.set()
        await first
        waiting += patient(batches, 3)
        await asyncio.sleep(0)
        assert store.carried_out == [[1]]
        await batches.close()
        await asyncio.gather(*waiting)

    assert play(scene) == [[1], [2, 3]]
