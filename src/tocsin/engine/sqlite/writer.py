"""The one thread that writes: it takes all that waits, commits once, and wakes the loop once.

Durability is then nearly free: at 256 waiting requests ``synchronous=FULL`` is as fast as ``NORMAL``.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import apsw

from tocsin.core.errors import Unavailable
from tocsin.engine.sqlite.faults import lies_with_the_store, lost_an_fsync
from tocsin.telemetry import StoreMetrics

R = TypeVar("R")

Op = Callable[[apsw.Connection], Any]
"""Runs in the writer's thread, in a savepoint of its own."""

_CLOSE = None
_PAGE_BYTES = 4096


class _Write:
    __slots__ = ("future", "op", "urgent")

    def __init__(self, op: Op, future: asyncio.Future[Any], urgent: bool) -> None:
        self.op = op
        self.future = future
        self.urgent = urgent


_Result = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Writer:
    """Runs ops of the event loop in one thread, many to a commit.

    Args:
        connect: opens the connection; called in the thread.
        waiting_max: ops that wait; above it they are refused.
        patience_s: how long an op that is not urgent waits for an urgent one to share its commit with.
        checkpoint_pages: how long the log may grow before it is copied into the database.
        on_fatal: called in the thread after a failed fsync, when what the disk holds is not known any more: the
            process must end, and until it does nothing more is written.
    """

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        *,
        waiting_max: int,
        patience_s: float,
        checkpoint_pages: int,
        on_fatal: Callable[[str], None],
        metrics: StoreMetrics | None = None,
    ) -> None:
        self._connect = connect
        self._metrics = StoreMetrics() if metrics is None else metrics
        self._waiting_max = waiting_max
        self._patience_s = patience_s
        self._on_fatal = on_fatal
        self._checkpoint_pages = checkpoint_pages
        self._log_pages = 0
        self._lost_fsync: BaseException | None = None
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.commits = 0
        """Commits so far, for metrics."""

    async def start(self) -> None:
        """Open the connection in the thread.

        Raises: what ``connect`` raises.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._thread = threading.Thread(target=self._run, args=(opened,), name="tocsin-writer", daemon=True)
        self._thread.start()
        await opened

    async def stop(self) -> None:
        """Run what waits, then close the connection. Idempotent."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            self._queue.put(_CLOSE)
            await asyncio.to_thread(thread.join)

    @property
    def waiting(self) -> int:
        """How many ops wait for their commit."""
        return self._waiting

    def submit(self, op: Callable[[apsw.Connection], R], *, urgent: bool = True) -> asyncio.Future[R]:
        """Return a future of the op's result, set once its commit is on the disk.

        Raises:
            Unavailable: too much waits, or the writer is stopped.
        """
        if self._thread is None or self._loop is None:
            raise Unavailable("the store is closed", retry_after_s=1)
        if self._waiting >= self._waiting_max:
            raise Unavailable("too many writes wait", retry_after_s=1)
        future: asyncio.Future[R] = self._loop.create_future()
        self._waiting += 1
        self._queue.put(_Write(op, future, urgent))
        return future

    # -- in the thread ----------------------------------------------------------------------------------

    def _run(self, opened: asyncio.Future[None]) -> None:
        assert self._loop is not None
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001  told to whoever waits for the opening
            self._tell(opened, error)
            return
        connection.set_wal_hook(self._note_log)
        self._tell(opened, None)
        closing = False
        while not closing:
            batch, closing = self._collect()
            if batch:
                results = self._commit(connection, batch)
                self._loop.call_soon_threadsafe(self._finish, results)
                self._checkpoint(connection)
        with suppress(apsw.Error):  # what could not be copied stays in the log, whole
            connection.close()

    def _note_log(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, connection: apsw.Connection) -> None:
        """Copy a long log into the database, once those who waited for the commit have been told."""
        if self._log_pages < self._checkpoint_pages or self._lost_fsync is not None:
            return
        log_bytes, began_s = self._log_pages * _PAGE_BYTES, time.monotonic()
        try:
            connection.wal_checkpoint()
            self._metrics.checkpointed(log_bytes, time.monotonic() - began_s)
        except apsw.Error as error:
            # Nothing is lost: the log is kept until it has been copied, and the next commit brings the next try.
            self._note_fault(error)

    def _note_fault(self, error: BaseException) -> None:
        if lost_an_fsync(error):
            self._lost_fsync = error
            self._on_fatal(f"fsync failed: {error}")

    def _tell(self, opened: asyncio.Future[None], error: BaseException | None) -> None:
        assert self._loop is not None
        results: list[_Result] = [(opened, None, error)]
        self._loop.call_soon_threadsafe(self._deliver, results)

    def _collect(self) -> tuple[list[_Write], bool]:
        """Return all that waits, once something urgent does or patience is over; and whether to close after it."""
        batch: list[_Write] = []
        deadline: float | None = None
        urgent = False
        while True:
            try:
                if urgent:
                    write = self._queue.get_nowait()
                elif deadline is None:
                    write = self._queue.get()
                else:
                    write = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return batch, False
            if write is None:
                return batch, True
            batch.append(write)
            urgent = urgent or write.urgent
            if deadline is None:
                deadline = time.monotonic() + self._patience_s

    def _commit(self, connection: apsw.Connection, batch: list[_Write]) -> list[_Result]:
        if self._lost_fsync is not None:
            return _refused(batch, self._lost_fsync)
        results: list[_Result] = []
        began_s = time.monotonic()
        try:
            connection.execute("begin immediate")
            results.extend(self._run_one(connection, write) for write in batch)
            connection.execute("commit")
            self.commits += 1
            self._metrics.committed(len(batch), time.monotonic() - began_s)
        except apsw.Error as error:
            self._metrics.commit_failures.add()
            self._note_fault(error)
            self._roll_back(connection)
            return _refused(batch, error)
        return results

    @staticmethod
    def _roll_back(connection: apsw.Connection) -> None:
        """Undo what is left of the batch; after some faults SQLite has done so itself."""
        if connection.in_transaction:
            with suppress(apsw.Error):
                connection.execute("rollback")

    def _run_one(self, connection: apsw.Connection, write: _Write) -> _Result:
        connection.execute("savepoint op")
        try:
            value = write.op(connection)
        except Exception as error:
            if lies_with_the_store(error):
                raise
            connection.execute("rollback to op")
            connection.execute("release op")
            return (write.future, None, error)
        connection.execute("release op")
        return (write.future, value, None)

    # -- in the loop ------------------------------------------------------------------------------------

    def _finish(self, results: list[_Result]) -> None:
        self._waiting -= len(results)
        self._deliver(results)

    @staticmethod
    def _deliver(results: list[_Result]) -> None:
        for future, value, error in results:
            if future.cancelled():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


def _refused(batch: list[_Write], error: BaseException) -> list[_Result]:
    results: list[_Result] = []
    for write in batch:
        failure = Unavailable("the store cannot write now", retry_after_s=2)
        failure.__cause__ = error
        results.append((write.future, None, failure))
    return results
