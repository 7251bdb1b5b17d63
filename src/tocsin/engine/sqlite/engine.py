"""The engine's methods on one SQLite file: writes go to the writer's thread, reads to the readers'."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from tocsin.core.audit import AuditRecord
from tocsin.core.clock import DAY_MS, Clock
from tocsin.core.delivery import Lease
from tocsin.core.errors import Unavailable
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.core.job import Job
from tocsin.core.transaction import Transaction, TransactionRefusal
from tocsin.engine.bounds import ScanBounds
from tocsin.engine.payloads import PAGE_BYTES_MAX
from tocsin.engine.rows import (
    Acceptance,
    Accepted,
    Amendment,
    AmendmentResult,
    CatalogDelta,
    CatalogOp,
    CatalogResult,
    Durability,
    Finished,
    Hint,
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
from tocsin.engine.sqlite import accept, audit, catalog, find, jobs, mailbox, measure, search, settle, tend, transact
from tocsin.engine.sqlite.connection import DirectoryLock, check_version, make_directory, open_reader, open_writer
from tocsin.engine.sqlite.readers import Readers
from tocsin.engine.sqlite.sql import SQL, first
from tocsin.engine.sqlite.unstarted import Halted, learn
from tocsin.engine.sqlite.writer import Writer
from tocsin.telemetry import Metrics

T = TypeVar("T")


class SqliteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of this engine.

    Attributes:
        directory: holds the database, its log and the lock file.
        waiting_max: writes that wait; above it they are refused with ``Unavailable``.
        patience_s: how long results of attempts wait for an accept to share its commit with.
        readers: read-only connections.
        query_max_s: a search that takes longer is stopped.
        scan_events_max: events that a search looks at for one page, where no index leads to what it wants alone.
        scan_max_s: how long it does so for one page.
        count_max_s: how long it counts all that match.
        thorough_count_max_s: how long it does so before a bulk replay or a recovery, whose caller waits for it.
        page_bytes_max: payloads of one page of any list; it ends before the row that would pass it.
        lock_wait_s: how long to wait while a stranger, such as a backup tool, locks the file.
        checkpoint_pages: how long the log may grow before it is copied into the database, in pages of 4 KiB.
        retention_ms: how long events are kept; None is for ever.
        audit_retention_ms: how long the records of what was done by hand are kept; none is for ever.
        job_retention_ms: how long a job is kept once it is over; none is for ever.
        vfs: another SQLite VFS, for tests.
        synchronous: ``full``; less only for tests that must fail with it.
    """

    directory: Path
    waiting_max: int = 10_000
    patience_s: float = 0.05
    readers: int = 3
    query_max_s: float = 5.0
    scan_events_max: int = 200_000
    scan_max_s: float = 0.5
    count_max_s: float = 0.05
    thorough_count_max_s: float = 2.0
    page_bytes_max: int = PAGE_BYTES_MAX
    lock_wait_s: float = 10.0
    checkpoint_pages: int = 4000
    retention_ms: int | None = None
    audit_retention_ms: int | None = 400 * DAY_MS
    job_retention_ms: int | None = 90 * DAY_MS
    vfs: str | None = None
    synchronous: str = "full"


class SqliteEngine:
    """Implements ``engine.protocol.Engine``.

    Args:
        on_fatal: called from the writer's thread after a failed fsync; the process must end then, since nobody knows
            what the disk holds.
    """

    def __init__(
        self,
        settings: SqliteSettings,
        *,
        clock: Clock,
        on_fatal: Callable[[str], None],
        metrics: Metrics | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = DirectoryLock(settings.directory)
        self._writer = Writer(
            partial(
                open_writer,
                settings.directory,
                lock_wait_s=settings.lock_wait_s,
                vfs=settings.vfs,
                synchronous=settings.synchronous,
            ),
            waiting_max=settings.waiting_max,
            patience_s=settings.patience_s,
            checkpoint_pages=settings.checkpoint_pages,
            on_fatal=on_fatal,
            metrics=None if metrics is None else metrics.store,
        )
        if metrics is not None:
            metrics.store_waiting.follow(lambda: self._writer.waiting)
        self._readers: Readers | None = None
        self._scan_bounds = ScanBounds(
            events_max=settings.scan_events_max,
            time_max_s=settings.scan_max_s,
            count_max_s=settings.count_max_s,
            thorough_count_max_s=settings.thorough_count_max_s,
            page_bytes_max=settings.page_bytes_max,
        )
        self._tending = tend.Place()
        self._hints = {hint: asyncio.Event() for hint in Hint}
        self._version = ""

    async def open(self) -> Info:
        self._version = check_version()
        make_directory(self._settings.directory)
        self._lock.take()
        try:
            await self._writer.start()
            now_ms = self._clock.now_ms()
            await self._writer.submit(lambda c: c.execute(SQL["release_all_leases"], (now_ms,)).fetchall())
        except BaseException:
            await self._writer.stop()
            self._lock.release()
            raise
        self._readers = Readers(
            partial(open_reader, self._settings.directory, vfs=self._settings.vfs),
            count=self._settings.readers,
            query_max_s=self._settings.query_max_s,
        )
        return self._info()

    async def close(self) -> None:
        readers, self._readers = self._readers, None
        if readers is not None:
            await asyncio.to_thread(readers.close)
        await self._writer.stop()
        self._lock.release()

    async def probe(self) -> Info:
        await self._writer.submit(lambda c: c.execute("pragma user_version = 1").fetchall())
        return self._info()

    def _info(self) -> Info:
        return Info(engine="sqlite", version=self._version, durability=Durability.FSYNC)

    async def measure(self) -> Measures:
        now_ms = self._clock.now_ms()
        return await self._read(lambda c: measure.measure(c, self._settings.directory, now_ms=now_ms))

    # -- write ------------------------------------------------------------------------------------------

    async def accept(self, events: Sequence[NewEvent], *, lease_until_ms: int) -> list[Acceptance]:
        results = await self._accept(events, lease_until_ms)
        for new, result in zip(events, results, strict=True):
            if isinstance(result, Accepted) and (
                len(result.leases) < len(new.deliveries) or new.event.replay_of is not None
            ):
                self._hints[Hint.WORK].set()
        return results

    async def _accept(self, events: Sequence[NewEvent], lease_until_ms: int) -> list[Acceptance]:
        """Store the batch; when that fails as a whole, one by one, so that a faulty event fails alone."""
        now_ms = self._clock.now_ms()
        try:
            return await self._writer.submit(
                lambda c: accept.accept(c, events, lease_until_ms=lease_until_ms, now_ms=now_ms)
            )
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  whatever it was, it comes again with the event that it lies with
            return await self._writer.submit(
                lambda c: accept.accept_each(c, events, lease_until_ms=lease_until_ms, now_ms=now_ms)
            )

    async def claim(
        self,
        *,
        limit: int,
        per_destination: int,
        lease_until_ms: int,
        skip: frozenset[DestinationId] = frozenset(),
    ) -> list[Lease]:
        now_ms = self._clock.now_ms()
        return await self._writer.submit(
            lambda c: settle.claim(
                c,
                limit=limit,
                per_destination=per_destination,
                lease_until_ms=lease_until_ms,
                skip=skip,
                now_ms=now_ms,
            )
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        now_ms = self._clock.now_ms()
        verdicts = await self._writer.submit(lambda c: settle.settle(c, settlements, now_ms=now_ms), urgent=False)
        if any(not isinstance(each.then, Finished) or each.lease.lane is not None for each in settlements):
            self._hints[Hint.WORK].set()
        return verdicts

    async def wait(self, timeout_s: float, hint: Hint = Hint.WORK) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._hints[hint].wait()
        except TimeoutError:
            pass
        self._hints[hint].clear()

    async def amend(self, amendments: Sequence[Amendment]) -> list[AmendmentResult]:
        now_ms = self._clock.now_ms()
        results = await self._writer.submit(lambda c: _amend(c, amendments, now_ms=now_ms))
        self._hints[Hint.WORK].set()
        return results

    # -- consume ----------------------------------------------------------------------------------------

    async def transact(self, steps: Sequence[TransactionStep]) -> list[Transaction | TransactionRefusal]:
        return await self._writer.submit(lambda c: transact.transact(c, steps))

    # -- read -------------------------------------------------------------------------------------------

    async def find(self, kind: type[T], organisation_id: OrganisationId, ids: Sequence[bytes]) -> list[T | None]:
        return await self._read(lambda c: find.find(c, kind, organisation_id, ids))

    async def search(self, query: Query[T], *, limit: int, cursor: bytes | None = None, offset: int = 0) -> Page[T]:
        now_ms = self._clock.now_ms()
        try:
            found = await self._read(
                lambda c: search.search(
                    c, query, limit=limit, cursor=cursor, offset=offset, now_ms=now_ms, bounds=self._scan_bounds
                )
            )
        except Unavailable as error:
            if isinstance(error.__cause__, Halted):
                self._remember(error.__cause__.lesson)
            raise
        self._remember(found.lesson)
        return found.page

    def _remember(self, lesson: Lesson | None) -> None:
        """Write down what a search learnt, for the next one's sake; this one does not fail by it."""
        if lesson is None:
            return
        try:
            written = self._writer.submit(lambda c: learn(c, lesson), urgent=False)
        except Unavailable:
            return
        written.add_done_callback(lambda each: each.cancelled() or each.exception())

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
            lambda c: find.tail(
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
        row = await self._read(lambda c: first(c, "quota_used", organisation_id, counter))
        return 0 if row is None else int(row[0])

    async def _read(self, query: Callable[[apsw.Connection], T]) -> T:
        if self._readers is None:
            raise Unavailable("the store is closed", retry_after_s=1)
        return await self._readers.run(query)

    # -- catalog, mailboxes, tending --------------------------------------------------------------------

    async def catalog_write(self, ops: Sequence[CatalogOp]) -> list[CatalogResult]:
        results = await self._writer.submit(lambda c: catalog.write(c, ops))
        if any(isinstance(op, Remove) for op in ops):
            self._hints[Hint.WORK].set()
        self._hints[Hint.CATALOG].set()
        return results

    async def catalog_since(self, revision: int) -> CatalogDelta:
        return await self._read(lambda c: catalog.since(c, revision))

    async def job_write(self, ops: Sequence[SaveJob]) -> list[JobResult]:
        return await self._writer.submit(lambda c: jobs.write(c, ops))

    async def open_jobs(self, limit: int, *, after: OrganisationId | None = None) -> list[Job]:
        return await self._read(lambda c: jobs.open_jobs(c, limit, after))

    async def mailbox_write(self, ops: Sequence[MailboxOp]) -> list[MailboxResult]:
        return await self._writer.submit(lambda c: mailbox.write(c, ops))

    async def tend(self, budget_ms: int) -> bool:
        now_ms = self._clock.now_ms()
        kept = tend.Kept(
            events_ms=self._settings.retention_ms,
            audit_ms=self._settings.audit_retention_ms,
            jobs_ms=self._settings.job_retention_ms,
        )
        place = self._tending
        done = await self._writer.submit(
            lambda c: tend.tend(c, now_ms=now_ms, kept=kept, place=place, budget_ms=budget_ms)
        )
        # Only now: what was not committed is gone through again.
        self._tending = done.place
        return done.more


def _amend(connection: apsw.Connection, amendments: Sequence[Amendment], *, now_ms: int) -> list[AmendmentResult]:
    results = settle.amend(connection, amendments, now_ms=now_ms)
    records: list[AuditRecord] = [
        each.record
        for each, result in zip(amendments, results, strict=True)
        if each.record is not None and result is AmendmentResult.DONE
    ]
    audit.keep(connection, records)
    return results
