"""Telling other processes, and hearing from them, that there may be something to claim, or in the catalog.

Only a hint: who polls finds everything. It goes over a connection of its own, outside of every transaction, since a
NOTIFY takes a lock over all databases of the server while it is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tocsin.engine.postgres.sql import Connection
from tocsin.engine.rows import Hint

_CHANNELS = {f"tocsin_{hint.value}": hint for hint in Hint}
_GAP_S = 0.02
"""Between two hints of one process: those who listen wake up so often at the most."""
_PAUSE_S = 1.0
"""Before a new connection is made."""
_QUIET_MAX_S = 3.0
"""After it the server is asked whether it is there: a machine that is switched off ends no connection."""
_ANSWER_MAX_S = 3.0


class Bell:
    """Wakes who waits in this process, and rings for the others.

    Args:
        connect: makes a connection that this keeps; None where none may be kept, as behind a pooler: nobody else
            hears or is heard then.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]] | None) -> None:
        self._connect = connect
        self._rung = {hint: asyncio.Event() for hint in Hint}
        self._unheard: set[Hint] = set()
        self._stirred = asyncio.Event()
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

    def ring(self, hint: Hint = Hint.WORK) -> None:
        """Wake everybody who waits for this."""
        self._rung[hint].set()
        self._unheard.add(hint)
        self._stirred.set()

    async def wait(self, timeout_s: float, hint: Hint = Hint.WORK) -> None:
        """Return when it rang for this since the last call, or after ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung[hint].wait()
        except TimeoutError:
            pass
        self._rung[hint].clear()

    async def _keep(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        while True:
            try:
                connection = await _connected(connect)
            except Exception:  # noqa: BLE001  whatever it was, who polls finds everything
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                await self._serve(connection)
            except Exception:  # noqa: BLE001  the driver has more faults than it names
                await asyncio.sleep(_PAUSE_S)
            finally:
                connection.terminate()

    async def _serve(self, connection: Connection) -> None:
        own = connection.get_server_pid()

        def heard(_: object, pid: int, channel: str, __: object) -> None:
            if pid != own:
                self._rung[_CHANNELS[channel]].set()

        async with asyncio.timeout(_ANSWER_MAX_S):
            for channel in _CHANNELS:
                await connection.add_listener(channel, heard)
        connection.add_termination_listener(lambda _: self._stirred.set())
        # What rang while nobody listened.
        for rung in self._rung.values():
            rung.set()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_QUIET_MAX_S):
                    await self._stirred.wait()
            self._stirred.clear()
            channels = [channel for channel, hint in _CHANNELS.items() if hint in self._unheard]
            self._unheard.clear()
            # With nothing to tell it shows whether the connection is still there; asyncpg knows no empty statement.
            async with asyncio.timeout(_ANSWER_MAX_S):
                await connection.execute("; ".join(f"notify {channel}" for channel in channels) or "select")
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
