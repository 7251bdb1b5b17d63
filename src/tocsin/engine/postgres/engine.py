"""The engine's methods on PostgreSQL: each write is a transaction, many calls often one; reads need none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.delivery import Lease
from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import DeliveryId, DestinationId, OrganisationId
from tocsin.core.job import Job
from tocsin.core.transaction import Transaction, TransactionRefusal
from tocsin.engine.bounds import ScanBounds
from tocsin.engine.postgres import (
    accept,
    amend,
    catalog,
    claim,
    find,
    jobs,
    mailbox,
    measure,
    search,
    settle,
    spans,
    tail,
    tend,
    transact,
    unstarted,
)
from tocsin.engine.postgres.accept import Arrival
from tocsin.engine.postgres.batches import Batches, BatchLimits
from tocsin.engine.postgres.bell import Bell
from tocsin.engine.postgres.faults import lacks_a_partition
from tocsin.engine.postgres.leasing import Asked
from tocsin.engine.postgres.opening import open_store
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.settings import PostgresSettings
from tocsin.engine.postgres.sql import Connection, first
from tocsin.engine.rows import (
    Acceptance,
    Accepted,
    Amendment,
    AmendmentResult,
    CatalogDelta,
    CatalogOp,
    CatalogResult,
    Durability,
    EngineRefused,
    Finished,
    Hint,
    Hurry,
    Info,
    JobResult,
    MailboxOp,
    MailboxResult,
    Measures,
    NewEvent,
    Page,
    Query,
    Remove,
    SaveJob,
    Settlement,
    TailPage,
    TransactionStep,
)
from tocsin.engine.runs import Lesson
from tocsin.telemetry import Metrics

T = TypeVar("T")


class PostgresEngine:
    """Implements ``engine.protocol.Engine``."""

    def __init__(self, settings: PostgresSettings, *, clock: Clock, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._pool = _pool(settings)
        self._bell = Bell(_pool_for_listening(settings).connect if settings.listens else None)
        limits = BatchLimits(
            items_max=settings.batch_max,
            at_once_max=settings.batches_at_once,
            waiting_max=settings.waiting_max,
            patience_s=settings.patience_s,
        )
        self._arrivals: Batches[Arrival, Acceptance] = Batches(self._store, limits)
        self._results: Batches[Settlement, bool] = Batches(self._settle, limits)
        self._spans = spans.Spans(settings.partition_ms or spans.width_ms(settings.retention_ms))
        self._store_metrics = None if metrics is None else metrics.store
        if metrics is not None:
            metrics.store_waiting.follow(lambda: self._arrivals.waiting + self._results.waiting + self._pool.waiting)
        self._tending = tend.Place()
        self._learning: set[asyncio.Task[None]] = set()
        self._doubtful: set[tuple[DeliveryId, int]] = set()
        self._version = ""
        self._durability = Durability.FSYNC
        self._bounds = ScanBounds(
            events_max=settings.scan_events_max,
            time_max_s=settings.scan_max_s,
            count_max_s=settings.count_max_s,
            thorough_count_max_s=settings.thorough_count_max_s,
            query_max_s=settings.query_max_s,
            page_bytes_max=settings.page_bytes_max,
        )

    async def open(self) -> Info:
        server = await open_store(self._pool, fsync_needed=self._settings.fsync_needed)
        self._version = server.version
        self._pool.parts = self._settings.parts or server.parts
        self._durability = _durability(server.replicates)
        await self._pool.open()
        try:
            await self._make_spans_ahead()
        except Unavailable as error:
            await self._pool.close()
            raise EngineRefused(f"the database cannot be used: {error.detail}") from error
        if self._settings.listen_dsn is not None or not server.is_pooled:
            self._bell.open()
        return self._info()

    async def close(self) -> None:
        await self._arrivals.close()
        await self._results.close()
        if self._learning:
            await asyncio.wait(self._learning)
        await self._bell.close()
        await self._pool.close()

    async def probe(self) -> Info:
        now_ms = self._clock.now_ms()
        row = await self._pool.write(lambda c, _: first(c, "probe", now_ms))
        assert row is not None
        self._pool.replicates = row[0]
        self._durability = _durability(row[0])
        return self._info()

    def _info(self) -> Info:
        return Info(engine="postgresql", version=self._version, durability=self._durability)

    async def measure(self) -> Measures:
        now_ms = self._clock.now_ms()
        return await self._read(lambda c: measure.measure(c, now_ms=now_ms))

    # -- write ------------------------------------------------------------------------------------------

    async def accept(self, events: Sequence[NewEvent], *, lease_until_ms: int) -> list[Acceptance]:
        results = await self._arrivals.submit([Arrival(event, lease_until_ms) for event in events])
        for new, result in zip(events, results, strict=True):
            if isinstance(result, Accepted) and (
                len(result.leases) < len(new.deliveries) or new.event.replay_of is not None
            ):
                self._bell.ring()
                break
        return results

    async def _store(self, arrivals: list[Arrival]) -> list[Acceptance]:
        """Store a batch; when that fails as a whole, one by one, so that a faulty event fails alone."""
        now_ms = self._clock.now_ms()
        begun_s = time.monotonic()
        ids: list[bytes] = [each.new.event.id for each in arrivals]
        ids += [delivery.id for each in arrivals for delivery in each.new.deliveries]
        try:
            results = await self._write(
                lambda c, in_doubt: accept.accept(c, arrivals, now_ms=now_ms, in_doubt=in_doubt),
                ids=ids,
                knows_its_traces=True,
            )
        except Unavailable:
            if self._store_metrics is not None:
                self._store_metrics.commit_failures.add()
            raise
        except Exception:  # noqa: BLE001  whatever it was, it comes again with the event that it lies with
            results = await self._write(
                lambda c, in_doubt: accept.accept_each(c, arrivals, now_ms=now_ms, in_doubt=in_doubt),
                ids=ids,
                knows_its_traces=True,
            )
        if self._store_metrics is not None:
            self._store_metrics.committed(len(arrivals), time.monotonic() - begun_s)
        return results

    async def claim(
        self,
        *,
        limit: int,
        per_destination: int,
        lease_until_ms: int,
        skip: frozenset[DestinationId] = frozenset(),
    ) -> list[Lease]:
        asked = Asked(
            limit=limit,
            per_destination=per_destination,
            lease_until_ms=lease_until_ms,
            skip=skip,
            now_ms=self._clock.now_ms(),
        )
        # Leases of a try that was committed unheard run out; nothing is lost by claiming others meanwhile.
        return await self._pool.write(lambda c, _: claim.claim(c, asked), knows_its_traces=True, is_promise=False)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        verdicts = await self._results.submit(settlements, urgent=any(each.lease.lane for each in settlements))
        if any(not isinstance(each.then, Finished) or each.lease.lane is not None for each in settlements):
            self._bell.ring()
        return verdicts

    async def _settle(self, settlements: list[Settlement]) -> list[bool]:
        now_ms = self._clock.now_ms()
        leases = {(each.lease.delivery_id, each.lease.number) for each in settlements}
        is_known = not self._doubtful.isdisjoint(leases)
        try:
            verdicts = await self._write(
                lambda c, in_doubt: settle.settle(c, settlements, now_ms=now_ms, in_doubt=in_doubt or is_known),
                ids=[each.lease.delivery_id for each in settlements],
                knows_its_traces=True,
            )
        except Unavailable:
            # It may have been committed. Who settles keeps on until it is told, so this holds no more than is leased.
            self._doubtful |= leases
            raise
        self._doubtful -= leases
        return verdicts

    async def wait(self, timeout_s: float, hint: Hint = Hint.WORK) -> None:
        await self._bell.wait(timeout_s, hint)

    async def amend(self, amendments: Sequence[Amendment]) -> list[AmendmentResult]:
        now_ms = self._clock.now_ms()
        ids = [each.delivery_id for each in amendments]
        results = await self._write(lambda c, _: amend.amend(c, amendments, now_ms=now_ms), ids=ids)
        self._bell.ring()
        return results

    # -- consume ----------------------------------------------------------------------------------------

    async def transact(self, steps: Sequence[TransactionStep]) -> list[Transaction | TransactionRefusal]:
        return await self._pool.write(lambda c, _: transact.transact(c, steps))

    # -- read -------------------------------------------------------------------------------------------

    async def find(self, kind: type[T], organisation_id: OrganisationId, ids: Sequence[bytes]) -> list[T | None]:
        return await self._read(lambda c: find.find(c, kind, organisation_id, ids))

    async def search(self, query: Query[T], *, limit: int, cursor: bytes | None = None, offset: int = 0) -> Page[T]:
        now_ms = self._clock.now_ms()
        try:
            found = await self._read(
                lambda c: search.search(
                    c, query, limit=limit, cursor=cursor, offset=offset, now_ms=now_ms, bounds=self._bounds
                ),
                in_transaction=True,
            )
        except unstarted.Halted as error:
            self._remember(error.lesson)
            raise
        self._remember(found.lesson)
        return found.page

    def _remember(self, lesson: Lesson | None) -> None:
        """Write down what a search learnt, for the next one's sake; others have half of the connections meanwhile."""
        if lesson is not None and 2 * len(self._learning) < self._settings.connections:
            task = asyncio.get_running_loop().create_task(self._learn(lesson))
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)

    async def _learn(self, lesson: Lesson) -> None:
        try:
            await self._pool.write(lambda c, _: unstarted.learn(c, lesson))
        except Unavailable:
            return

    async def tail(
        self,
        cursor: int | None,
        limit: int,
        *,
        back: int = 0,
        organisations: frozenset[OrganisationId] | None = None,
        with_data: bool = True,
        with_destinations: bool = False,
    ) -> TailPage:
        return await self._read(
            lambda c: tail.tail(
                c,
                cursor,
                limit,
                back=back,
                organisations=organisations,
                with_data=with_data,
                with_destinations=with_destinations,
                page_bytes_max=self._settings.page_bytes_max,
            )
        )

    async def usage(self, organisation_id: OrganisationId, counter: str) -> int:
        return await self._read(lambda c: find.usage(c, organisation_id, counter))

    async def _read(self, work: Callable[[Connection], Awaitable[T]], *, in_transaction: bool = False) -> T:
        return await self._pool.read(work, time_max_s=self._settings.query_max_s, in_transaction=in_transaction)

    # -- catalog, mailboxes, tending --------------------------------------------------------------------

    async def catalog_write(self, ops: Sequence[CatalogOp]) -> list[CatalogResult]:
        results = await self._pool.write(lambda c, _: catalog.write(c, ops))
        if any(isinstance(op, Remove | Hurry) for op in ops):
            self._bell.ring()
        self._bell.ring(Hint.CATALOG)
        return results

    async def catalog_since(self, revision: int) -> CatalogDelta:
        return await self._read(lambda c: catalog.since(c, revision))

    async def job_write(self, ops: Sequence[SaveJob]) -> list[JobResult]:
        return await self._pool.write(lambda c, _: jobs.write(c, ops))

    async def open_jobs(self, limit: int, *, after: OrganisationId | None = None) -> list[Job]:
        return await self._read(lambda c: jobs.open_jobs(c, limit, after))

    async def mailbox_write(self, ops: Sequence[MailboxOp]) -> list[MailboxResult]:
        return await self._pool.write(lambda c, _: mailbox.write(c, ops))

    async def tend(self, budget_ms: int) -> bool:
        settings = self._settings
        await self._make_spans_ahead()
        slack_ms = settings.retention_slack_ms
        kept = tend.Kept(
            events_ms=settings.retention_ms,
            slack_ms=self._spans.width_ms if slack_ms is None else slack_ms,
            audit_ms=settings.audit_retention_ms,
            jobs_ms=settings.job_retention_ms,
        )
        now_ms = self._clock.now_ms()
        done = await tend.tend(self._pool, now_ms=now_ms, kept=kept, place=self._tending, budget_ms=budget_ms)
        self._tending = done.place
        return done.more

    # -- partitions -------------------------------------------------------------------------------------

    async def _make_spans_ahead(self) -> None:
        await self._cover(self._spans.ahead(self._clock.now_ms(), self._settings.partitions_ahead_ms))

    async def _cover(self, times_ms: Iterable[int]) -> None:
        """Make the spans that these times lack, in a transaction of its own."""
        lacking = self._spans.lacking_times(times_ms)
        if lacking:
            self._spans.learn(
                await self._pool.write(lambda c, _: self._spans.cover(c, lacking), knows_its_traces=True)
            )

    async def _write(
        self,
        work: Callable[[Connection, bool], Awaitable[T]],
        *,
        ids: Sequence[bytes],
        knows_its_traces: bool = False,
    ) -> T:
        """Carry out what writes rows with these ids, after making the partitions that they lack."""
        await self._cover(self._spans.lacking(ids))
        try:
            return await self._pool.write(work, knows_its_traces=knows_its_traces)
        except Exception as error:
            if not lacks_a_partition(error):
                raise
        # Another process has dropped one.
        self._spans.forget()
        await self._cover(self._spans.lacking(ids))
        return await self._pool.write(work, knows_its_traces=knows_its_traces)


def _durability(replicates: bool) -> Durability:
    return Durability.REPLICATED if replicates else Durability.FSYNC


def _pool(settings: PostgresSettings) -> Pool:
    return Pool(
        PoolSettings(
            dsn=settings.dsn,
            connections_max=settings.connections,
            waiting_max=settings.waiting_max,
            connect_max_s=settings.connect_max_s,
            wait_max_s=settings.wait_max_s,
            write_max_s=settings.write_max_s,
            idle_max_s=settings.idle_max_s,
            statements_kept=settings.statements_kept,
            pooler_keeps_statements=settings.pooler_keeps_statements,
            application_name=settings.application_name,
            synchronous_commit=settings.synchronous_commit,
        )
    )


def _pool_for_listening(settings: PostgresSettings) -> Pool:
    """Return what makes the connection for LISTEN; a pool of which none is lent."""
    return _pool(msgspec.structs.replace(settings, dsn=settings.listen_dsn or settings.dsn))
