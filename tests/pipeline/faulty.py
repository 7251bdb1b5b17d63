"""The engine with faults on request, and metrics that tell when something was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

import pytest

from pipeline.remote import Signal
from tocsin.core.delivery import DeliveryState, Lease
from tocsin.core.destination import Transport
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.core.job import Job
from tocsin.engine.rows import Acceptance, CatalogDelta, JobResult, NewEvent, SaveJob, Settlement
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.telemetry import Metrics
from tocsin.testing.clock import ManualClock

T = TypeVar("T")


class SignallingMetrics(Metrics):
    """Metrics that give a signal with every recorded batch of settlements."""

    def __init__(self, signal: Signal) -> None:
        super().__init__()
        self.recorded = 0
        self.breakers_opened = 0
        self.ended: list[DeliveryState] = []
        self._signal = signal

    def settled(self, count: int) -> None:
        super().settled(count)
        self.recorded += count
        self._signal.give()

    def finished(self, transport: Transport, state: DeliveryState) -> None:
        super().finished(transport, state)
        self.ended.append(state)

    def breaker_opened(self) -> None:
        super().breaker_opened()
        self.breakers_opened += 1


class FaultyEngine(SqliteEngine):
    """The engine, with faults on request.

    Attributes:
        faults: by a method's name, what its next calls raise, one each; ``job_written``: once jobs are saved, so that
            nobody is told; ``find_job``: when a job is looked for.
        held: by a method's name, what its calls wait for before they go on; ``claimed``: before what a claim
            has leased is told; ``find_job``: before a job is looked for.
        arrived: which of them somebody waits for.
        batches: by a method's name, how many items its calls had, refused ones included; of a claim what it leased.
    """

    def __init__(self, settings: SqliteSettings, *, clock: ManualClock, signal: Signal) -> None:
        super().__init__(settings, clock=clock, on_fatal=pytest.fail)
        self._signal = signal
        self.faults: dict[str, list[Exception]] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.arrived: set[str] = set()
        self.batches: dict[str, list[int]] = {
            "accept": [],
            "catalog_since": [],
            "claim": [],
            "open_jobs": [],
            "settle": [],
            "tend": [],
        }

    async def accept(self, events: Sequence[NewEvent], *, lease_until_ms: int) -> list[Acceptance]:
        await self._enter("accept", len(events))
        results = await super().accept(events, lease_until_ms=lease_until_ms)
        self._signal.give()
        return results

    async def claim(
        self,
        *,
        limit: int,
        per_destination: int,
        lease_until_ms: int,
        skip: frozenset[DestinationId] = frozenset(),
    ) -> list[Lease]:
        await self._wait("claim")
        if self.faults.get("claim"):
            raise self.faults["claim"].pop(0)
        leases = await super().claim(
            limit=limit, per_destination=per_destination, lease_until_ms=lease_until_ms, skip=skip
        )
        self.batches["claim"].append(len(leases))
        self._signal.give()
        if leases:
            await self._wait("claimed")
        return leases

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        await self._enter("settle", len(settlements))
        return await super().settle(settlements)

    async def catalog_since(self, revision: int) -> CatalogDelta:
        await self._enter("catalog_since", revision)
        return await super().catalog_since(revision)

    async def job_write(self, ops: Sequence[SaveJob]) -> list[JobResult]:
        results = await super().job_write(ops)
        self._signal.give()
        if self.faults.get("job_written"):
            raise self.faults["job_written"].pop(0)
        return results

    async def find(self, kind: type[T], organisation_id: OrganisationId, ids: Sequence[bytes]) -> list[T | None]:
        if kind is Job:
            await self._wait("find_job")
            if self.faults.get("find_job"):
                raise self.faults["find_job"].pop(0)
        return await super().find(kind, organisation_id, ids)

    async def open_jobs(self, limit: int, *, after: OrganisationId | None = None) -> list[Job]:
        await self._enter("open_jobs", limit)
        return await super().open_jobs(limit, after=after)

    async def tend(self, budget_ms: int) -> bool:
        await self._enter("tend", budget_ms)
        return await super().tend(budget_ms)

    async def _enter(self, method: str, items: int) -> None:
        self.batches[method].append(items)
        self._signal.give()
        await self._wait(method)
        if self.faults.get(method):
            raise self.faults[method].pop(0)

    async def _wait(self, method: str) -> None:
        if method in self.held:
            self.arrived.add(method)
            self._signal.give()
            await self.held[method].wait()
