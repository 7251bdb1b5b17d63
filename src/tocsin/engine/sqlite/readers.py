"""A few read-only connections, each query bounded in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import apsw

from tocsin.core.errors import Unavailable

R = TypeVar("R")

_STEPS_BETWEEN_CHECKS = 20_000
"""Virtual machine steps between two looks at the clock, about a millisecond."""


class Readers:
    """Runs queries in a pool of threads.

    Args:
        connect: opens a read-only connection; called in each thread once.
        count: how many threads.
        query_max_s: a query that takes longer is stopped.
    """

    def __init__(self, connect: Callable[[], apsw.Connection], *, count: int, query_max_s: float) -> None:
        self._connect = connect
        self._query_max_s = query_max_s
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="tocsin-reader")
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []

    async def run(self, query: Callable[[apsw.Connection], R]) -> R:
        """Return what ``query`` returns.

        Raises:
            Unavailable: it took too long, or the store cannot be read.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, self._bounded, query)
        except apsw.InterruptError as error:
            raise Unavailable("the search took too long; narrow it down", code="search_too_long") from error
        except apsw.Error as error:
            raise Unavailable("the store cannot be read now", retry_after_s=2) from error

    def close(self) -> None:
        """Wait for what runs, then close the connections."""
        self._pool.shutdown(wait=True)
        for connection in self._connections:
            connection.close()

    def _bounded(self, query: Callable[[apsw.Connection], R]) -> R:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            self._local.connection = connection
            self._connections.append(connection)
        deadline_s = time.monotonic() + self._query_max_s
        connection.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS_BETWEEN_CHECKS)
        # One snapshot: a delivery that moves from one table to another between two statements is not missed.
        connection.execute("begin")
        try:
            return query(connection)
        finally:
            connection.set_progress_handler(None)
            if connection.in_transaction:
                connection.execute("rollback")
