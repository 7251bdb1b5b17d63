"""Telling other processes, and hearing from them, that there may be something to claim.

Only a hint: who polls finds everything. It goes over a connection of its own, outside of every transaction, since a
NOTIFY takes a lock over all databases of the server while it is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from tocsin.engine.postgres.sql import Connection

_CHANNEL = "tocsin_work"
_GAP_S = 0.02
"""Between two hints of one process: those who listen wake up so often at the most."""
_PAUSE_S = 1.0
"""Before a new connection is made."""


class Bell:
    """Wakes who waits in this process, and rings for the others.

    Args:
        connect: makes a connection that this keeps; None where none may be kept, as behind a pooler: nobody else
            hears or is heard then.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]] | None) -> None:
        self._connect = connect
        self._work = asyncio.Event()
        self._unheard = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to listen."""
        if self._connect is not None:
            self._task = asyncio.get_running_loop().create_task(self._keep(self._connect))

    async def close(self) -> None:
        """Stop listening. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def ring(self) -> None:
        """Wake everybody."""
        self._work.set()
        self._unheard.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when it rang since the last call, or after ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._work.wait()
        except TimeoutError:
            pass
        self._work.clear()

    async def _keep(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        while True:
            try:
                connection = await _connected(connect)
            except (
                OSError,
                TimeoutError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ):
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                await self._serve(connection)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                await asyncio.sleep(_PAUSE_S)
            finally:
                connection.terminate()

    async def _serve(self, connection: Connection) -> None:
        own = connection.get_server_pid()

        def heard(_: object, pid: int, __: str, ___: object) -> None:
            if pid != own:
                self._work.set()

        await connection.add_listener(_CHANNEL, heard)
        connection.add_termination_listener(lambda _: self._unheard.set())
        # What rang while nobody listened.
        self._work.set()
        while True:
            await self._unheard.wait()
            self._unheard.clear()
            await connection.execute(f"notify {_CHANNEL}")
            await asyncio.sleep(_GAP_S)


async def _connected(connect: Callable[[], Awaitable[Connection]]) -> Connection:
    """Return a new connection; one that nobody wants any more is ended, since asyncpg leaves it half open."""
    connecting = asyncio.ensure_future(connect())
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        await asyncio.wait([connecting])
        if connecting.exception() is None:
            connecting.result().terminate()
        raise
