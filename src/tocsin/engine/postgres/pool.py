"""Connections: how many, for how long, and what becomes of one that something went wrong on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakSet

import asyncpg
import msgspec

from tocsin.core.errors import Unavailable
from tocsin.engine.postgres.faults import Fault, fault_of
from tocsin.engine.postgres.parts import ONE_PART
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.postgres.urls import check_files, urls_of_servers

T = TypeVar("T")

_CLOSING_S = 2.0
_EVERY_ARRAY = (
    "select pg_backend_pid(), current_setting('synchronous_standby_names') <> '', "
    "$1::smallint[], $2::integer[], $3::bigint[], $4::bytea[], $5::text[], $6::boolean[]"
)
_LEAVE_A_TRACE = "select pg_logical_emit_message(true, 'tocsin', '') where pg_current_xact_id_if_assigned() is null"
"""Writes to the log what means nothing, where a transaction wrote nothing: only what was written waits for a standby.

What such a transaction saw may have been committed by one that broke its own wait off, and be on this server alone.
"""
_OURS_FIRST_S = 1.0
"""By how much the server's bound of a transaction is longer than ours, which is told in words."""
_PAUSES_S = (0.02, 0.1, 0.2, 0.4, 0.8)
"""Before each further try: a server that restarts is away for some tenths of a second."""


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a pool.

    Attributes:
        dsn: libpq's URL, its TLS parameters included.
        connections_max: open at once.
        waiting_max: who wait for one; above it they are refused with ``Unavailable``.
        connect_max_s: for making a connection.
        wait_max_s: for getting one.
        write_max_s: for one transaction with all its tries.
        idle_max_s: for which a transaction may wait for its process; then what it locked is let go.
        statements_kept: prepared statements that a connection keeps; none behind a pooler, unless it keeps them, too.
        pooler_keeps_statements: whether a pooler finds a prepared statement again on another of its connections.
        application_name: how the server's lists name us.
        synchronous_commit: ``on``; less only for tests that must fail with it.
    """

    dsn: str
    connections_max: int = 10
    waiting_max: int = 10_000
    connect_max_s: float = 10.0
    wait_max_s: float = 10.0
    write_max_s: float = 30.0
    idle_max_s: float = 5.0
    statements_kept: int = 200
    pooler_keeps_statements: bool = False
    application_name: str = "tocsin"
    synchronous_commit: str = "on"


class InDoubt(Unavailable):
    """The connection broke while the transaction was being committed: it may have been, or not."""


class _HereAlone(OSError):
    """It was committed, but the wait for a standby was broken off: of that the server warns, and of nothing else."""


class Pool:
    """Connections that are lent to one task at a time.

    No state is left on a connection, since a pooler may give each transaction another one of the server's: every
    setting is local to its transaction. A connection on which anything was raised is never lent again.

    Attributes:
        parts: how the buckets are spread, as connections that are made from now on know it.
        replicates: whether a commit waits for another server, as the newest connection has shown.
    """

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        self.parts = ONE_PART
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(settings.connections_max)
        self._lent: set[Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._is_open = False
        self._urls = urls_of_servers(settings.dsn)
        self._good = 0
        self._is_pooled: bool | None = None
        self._warned: WeakSet[Connection] = WeakSet()
        self.replicates = False
        # What a stopped process keeps from others is let go, whether it is to say something or to hear something.
        idle_ms = round(settings.idle_max_s * 1000)
        let_go = f"set local idle_in_transaction_session_timeout = {idle_ms}; set local tcp_user_timeout = {idle_ms}"
        # Settings for this transaction alone, in the same message: they cost no round trip.
        self._begin = (
            "begin isolation level read committed read write; "
            f"set local synchronous_commit = {settings.synchronous_commit}; "
            "set local client_min_messages = warning; "
            f"set local statement_timeout = {round(settings.write_max_s * 1000)}; {let_go}"
        )
        # To compile a plan takes longer than a search that ends at its bounds. A process that is stopped in one would
        # keep what was deleted since, and whole partitions, from being dropped.
        self._begin_search = f"begin isolation level repeatable read read only; set local jit = off; {let_go}"

    @property
    def waiting(self) -> int:
        """How many wait for a connection."""
        return self._waiting

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler stands before the server, as the first connection has shown."""
        return bool(self._is_pooled)

    @property
    def keeps_statements(self) -> bool:
        """Whether connections keep prepared statements; the first one, which finds out, keeps none."""
        is_kept = self._is_pooled is False or (self._is_pooled and self._settings.pooler_keeps_statements)
        return bool(is_kept) and self._settings.statements_kept > 0

    async def open(self) -> None:
        """Let connections be lent; none is made before it is needed."""
        self._is_open = True

    async def close(self) -> None:
        """Close every connection that is idle, and those that are lent as they come back. Idempotent."""
        self._is_open = False
        while self._idle:
            self._discard(self._idle.pop(), gently=True)
        if self._closing:
            await asyncio.wait(self._closing, timeout=2 * _CLOSING_S)

    async def connect(self) -> Connection:
        """Return a connection of the caller's own, which is not of the pool."""
        connection = await self._dial()
        connection.parts = self.parts
        # asyncpg asks for what it does not know of a type when it meets it first, and changes settings of the session
        # for that. Here it does so once, and what it changed is taken back.
        try:
            async with asyncio.timeout(self._settings.connect_max_s):
                await connection.execute("begin")
                row = await connection.fetchrow(_EVERY_ARRAY, *[None] * _EVERY_ARRAY.count("$"))
                await connection.execute("rollback")
        except BaseException:
            connection.terminate()
            raise
        assert row is not None
        if self._is_pooled is None:
            # A pooler greets each client with a number of its own.
            self._is_pooled = row[0] != connection.get_server_pid()
        self.replicates = row[1]
        connection.add_log_listener(self._heard)
        return connection

    async def _dial(self) -> Connection:
        """Return a connection to a server of those that the URL names, the one that was good last time first.

        Each has its share of the time: one that is switched off does not refuse, it says nothing.
        """
        count = len(self._urls)
        faults: list[Exception] = []
        for at in range(self._good, self._good + count):
            try:
                connection = await asyncpg.connect(
                    self._urls[at % count],
                    connection_class=Connection,
                    timeout=self._settings.connect_max_s / count,
                    statement_cache_size=self._settings.statements_kept if self.keeps_statements else 0,
                    server_settings={"application_name": self._settings.application_name},
                )
            except (
                OSError,
                TimeoutError,
                asyncpg.CannotConnectNowError,
                asyncpg.PostgresConnectionError,
                asyncpg.TargetServerAttributeNotMatched,
                asyncpg.TooManyConnectionsError,
            ) as error:
                if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
                    check_files(self._settings.dsn)
                faults.append(error)
                continue
            self._good = at % count
            return connection
        # That a server answered, and takes no writes, says more than that the others did not.
        raise next((each for each in faults if isinstance(each, asyncpg.TargetServerAttributeNotMatched)), faults[-1])

    def _heard(self, connection: Any, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING":
            self._warned.add(connection)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lend a connection.

        Raises:
            Unavailable: the pool is closed, too many wait, or none came free in time.
        """
        await self._take_place()
        connection: Connection | None = None
        try:
            connection = await self._idle_or_new()
            self._lent.add(connection)
            yield connection
        except BaseException as error:
            if connection is not None:
                # What still runs on the server is cancelled, unless the server is out of reach anyway.
                self._discard(connection, gently=isinstance(error, asyncio.CancelledError | TimeoutError))
                connection = None
            raise
        finally:
            if connection is not None:
                self._lent.discard(connection)
                if self._is_open and not connection.is_closed():
                    self._idle.append(connection)
                else:
                    self._discard(connection, gently=True)
            self._places.release()

    async def _take_place(self) -> None:
        if not self._is_open:
            raise Unavailable("the store is closed", retry_after_s=1)
        if self._waiting >= self._settings.waiting_max:
            raise Unavailable("too many wait for the database", retry_after_s=1)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.wait_max_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise Unavailable("every connection to the database is busy", retry_after_s=1) from error
        finally:
            self._waiting -= 1

    async def _idle_or_new(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self.connect()

    def _discard(self, connection: Connection, *, gently: bool) -> None:
        self._lent.discard(connection)
        if not gently:
            connection.terminate()
            return
        task = asyncio.get_running_loop().create_task(_closed(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def read(
        self, work: Callable[[Connection], Awaitable[T]], *, time_max_s: float, in_transaction: bool = False
    ) -> T:
        """Return what ``work`` reads; it is tried again where the connection was broken.

        Args:
            in_transaction: whether it is a search and runs in one, for savepoints and settings of its own.

        Raises:
            Unavailable: it took longer than ``time_max_s``, or the server cannot answer now.
        """
        is_searching = False

        async def once() -> T:
            nonlocal is_searching
            is_searching = False
            async with self.lend() as connection:
                if not in_transaction:
                    return await work(connection)
                await connection.execute(self._begin_search + _bound(connection, time_max_s))
                is_searching = True
                result = await work(connection)
                await connection.execute("commit")
                return result

        try:
            async with asyncio.timeout(time_max_s):
                return await self._tried(once)
        except TimeoutError as error:
            if is_searching:
                raise Unavailable("the search took too long; narrow it down", code="search_too_long") from error
            raise Unavailable("the database took too long to answer", retry_after_s=1) from error

    async def write(
        self,
        work: Callable[[Connection, bool], Awaitable[T]],
        *,
        knows_its_traces: bool = False,
        is_promise: bool = True,
    ) -> T:
        """Return what ``work`` returns in a transaction of its own, once that is committed.

        It is tried again where what went wrong may pass: nothing of a try that failed is left.

        Args:
            work: is given the connection, and whether an earlier try may have been committed after all.
            knows_its_traces: whether it can tell, from what is stored, that an earlier try was committed.
            is_promise: whether what it returns, be it only that all was stored already, must outlive this server
                where others have copies.

        Raises:
            InDoubt: nobody knows whether it was committed.
            Unavailable: the server cannot answer now; nothing was stored.
        """
        in_doubt = False

        async def once() -> T:
            nonlocal in_doubt
            async with self.lend() as connection:
                await connection.execute(self._begin + _bound(connection, self._settings.write_max_s))
                result = await work(connection, in_doubt)
                try:
                    verdict = await self._commit(connection, is_promise=is_promise)
                except asyncpg.TransactionRollbackError:
                    raise
                except Exception as error:
                    in_doubt = True
                    if not knows_its_traces:
                        raise InDoubt("the database broke off while it stored this", retry_after_s=1) from error
                    raise
                assert verdict == "COMMIT", verdict
                return result

        try:
            async with asyncio.timeout(self._settings.write_max_s):
                return await self._tried(once)
        except TimeoutError as error:
            # A server that is switched off does not say so; what is idle may lead to the same one.
            self._drop_idle()
            raise Unavailable("the database took too long to answer", retry_after_s=1) from error

    async def _commit(self, connection: Connection, *, is_promise: bool) -> str:
        self._warned.discard(connection)
        verdict = await connection.execute(
            f"{_LEAVE_A_TRACE}; commit" if is_promise and self.replicates else "commit"
        )
        if connection in self._warned:
            raise _HereAlone("the server does not wait for its standby any more")
        return verdict

    async def _tried(self, once: Callable[[], Awaitable[T]]) -> T:
        """Return what ``once`` returns, after as many tries as there are pauses."""
        for pause_s in (*_PAUSES_S, None):
            try:
                return await once()
            except Unavailable:
                raise
            except asyncio.CancelledError:
                raise
            except TimeoutError as error:
                # Making a connection took too long.
                raise Unavailable("the database cannot be reached", retry_after_s=1) from error
            except Exception as error:
                fault = fault_of(error)
                if fault is Fault.OF_THE_OP:
                    raise
                if fault is Fault.OF_THE_STORE or pause_s is None or not self._is_open:
                    raise Unavailable(
                        f"the database cannot answer now ({type(error).__name__})", retry_after_s=1
                    ) from error
                if isinstance(error, OSError | asyncpg.PostgresConnectionError | asyncpg.InterfaceError):
                    # A server that went away took the others with it.
                    self._drop_idle()
                await asyncio.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def _drop_idle(self) -> None:
        while self._idle:
            self._discard(self._idle.pop(), gently=False)


def _bound(connection: Connection, most_s: float) -> str:
    """Return what has a server of 17 or later end a transaction, wherever in it our process stands still."""
    if connection.get_server_version().major < 17:
        return ""
    return f"; set local transaction_timeout = {round((most_s + _OURS_FIRST_S) * 1000)}"


async def _closed(connection: Connection) -> None:
    """Close a connection; asyncpg cancels what runs on it first."""
    try:
        await connection.close(timeout=_CLOSING_S)
    except Exception:  # noqa: BLE001  it is gone, one way or the other
        connection.terminate()
