"""Two gateways and two dispatchers on one durable PostgreSQL, all of which may be killed, stopped and cut off."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from engine.cutting_proxy import CuttingProxy
from engine.postgres_server import PostgresServer
from gateway import NOBODY
from program import DEADLINE_S, Running, run_program, running_program

LEASE_MS = 12_000
"""Longer than the server is ever away, so that what was sent is recorded in time."""
_LIFE_MAX_S = 120.0
"""For starting and for ending: all else goes on at full load meanwhile."""
TIMEOUT_S = 2
"""Of an attempt; a lease must be longer by four seconds."""
_SHORT_LEASES = {"TOCSIN_DISPATCH_LEASE_MS": str(LEASE_MS), "TOCSIN_DESTINATION_TIMEOUT_MAX_S": str(TIMEOUT_S)}
"""Of dispatchers, so that they can be waited for."""

_HONEST, _CARELESS = b"synchronous_commit = on", b"synchronous_commit =off"
"""Of one length, so that the message around them stays whole."""
_WAL_WRITER = "select pid from pg_stat_activity where backend_type = 'walwriter'"
_FAULTS_OF_OURS = frozenset({"request_failed", "storing_broke", "settlement_lost", "attempt_broke"})


class DroppingProxy(CuttingProxy):
    """Also drops all connections when it is told to, and closes those for which no server is there.

    Args:
        lies: tells the server not to wait for the disk, whatever it is asked for.
    """

    def __init__(self, dsn: str, *, lies: bool) -> None:
        super().__init__(dsn)
        self._lies = lies
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends or breaks off."""
        self._open[writer] = asyncio.current_task()
        try:
            with suppress(OSError):
                await super().serve(reader, writer)
        finally:
            del self._open[writer]
            writer.transport.abort()

    def passed(self, data: bytes) -> bytes:
        """Return what the server is told in place of this."""
        return data.replace(_HONEST, _CARELESS) if self._lies else data

    def drop_all(self) -> None:
        """Break off every connection."""
        for writer in list(self._open):
            writer.transport.abort()

    async def close(self) -> None:
        """Break off every connection; return once nobody is served any more."""
        self.drop_all()
        serving = [task for task in self._open.values() if task is not None]
        if serving:
            await asyncio.wait(serving, timeout=DEADLINE_S)


@asynccontextmanager
async def dropping_proxy(dsn: str, *, lies: bool = False) -> AsyncIterator[DroppingProxy]:
    """Run a proxy in front of this database."""
    proxy = DroppingProxy(dsn, lies=lies)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, _, name = dsn.partition("@")
    proxy.dsn = f"{host}@127.0.0.1:{server.sockets[0].getsockname()[1]}/{name.partition('/')[2]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()


class Member:
    """One of the four; it is begun again as often as it is killed.

    Attributes:
        base_url: where it listens; empty for a dispatcher.
        statuses: with which it ended when it was asked to.
    """

    def __init__(self, directory: Path, settings: dict[str, str], *arguments: str, command: str) -> None:
        self._directory = directory
        self._settings = settings
        self._arguments = arguments
        self._command = command
        self._stack = ExitStack()
        self._running: Running | None = None
        self._said: list[str] = []
        self.base_url = ""
        self.statuses: list[int] = []

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._running = self._stack.enter_context(
            running_program(
                self._directory,
                *self._arguments,
                settings=self._settings,
                command=self._command,
                ready_within_s=_LIFE_MAX_S,
            )
        )
        self.base_url = self._running.base_url

    def kill(self, *, family: bool) -> None:
        """End it as a fall of power does, alone or together with the process that sends for it."""
        pids = self.family()
        for pid in pids if family else pids[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._close()

    def stop(self) -> None:
        """Ask it to end, if it runs."""
        if self._running is not None:
            self._running.signal(signal.SIGTERM)
            self.statuses.append(self._running.ended(_LIFE_MAX_S))
            self._close()

    def pause(self) -> None:
        """Stop it, and the process that sends for it, where they stand."""
        for pid in self.family():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def family(self) -> list[int]:
        """Return the processes that it is, itself first."""
        assert self._running is not None
        pid = self._running.pid
        found = [pid]
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(each) for each in task.read_text("ascii").split()]
        return found

    def ports(self) -> set[int]:
        """Return the ports from which it is connected."""
        sockets: set[str] = set()
        for pid in self.family():
            for each in Path(f"/proc/{pid}/fd").glob("*"):
                with suppress(OSError):
                    sockets.add(str(each.readlink()))
        table = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
        fields = [line.split() for line in table]
        return {int(each[1].rpartition(":")[2], 16) for each in fields if f"socket:[{each[9]}]" in sockets}

    @property
    def faults(self) -> list[str]:
        """What it logged as a fault of its own, in all its lives."""
        lines = [json.loads(line) for text in self._said for line in text.splitlines() if line.startswith("{")]
        told = [json.dumps(each)[:2000] for each in lines if each.get("event") in _FAULTS_OF_OURS]
        broken = [text[-2000:] for text in self._said if re.search(r"^Traceback", text, re.MULTILINE)]
        return told + broken

    @property
    def last_words(self) -> str:
        """The end of what it logged in its last life."""
        return self._said[-1][-4000:] if self._said else ""

    def _close(self) -> None:
        assert self._running is not None
        self._stack.close()
        self._said.append(self._running.err)
        self._running = None

    def abandon(self) -> None:
        """End it, whatever state it is in. Idempotent."""
        if self._running is not None:
            self.resume()
            self.kill(family=True)


class Installation:
    """All of it.

    Attributes:
        database: its name.
    """

    def __init__(self, server: PostgresServer, database: str, proxy: DroppingProxy, directory: Path) -> None:
        self.server = server
        self.database = database
        self.proxy = proxy
        self.dsn = server.dsn(database)
        self._directory = directory
        self._settings = settings = settings_of(proxy.dsn)
        self.gateways = [
            Member(directory, settings, "--role", "gateway", "--port", "0", command="serve") for _ in range(2)
        ]
        self.dispatchers = [Member(directory, settings | _SHORT_LEASES, command="work") for _ in range(2)]

    @property
    def members(self) -> Sequence[Member]:
        """The four."""
        return [*self.gateways, *self.dispatchers]

    def base_urls(self) -> list[str]:
        """Return where the gateways listen, or did until they were killed."""
        return [each.base_url for each in self.gateways]

    def initialise(self) -> str:
        """Bring the schema up to date; return the key of the organisation that there is."""
        done = run_program("init", "--json", settings=self._settings, directory=self._directory)
        assert done.status == 0, done.err
        key: str = done.json["api_key"]
        return key

    def keep_in_memory(self) -> None:
        """Let what is stored from now on reach the disk when it must, and not before."""
        _, ((pid,),) = self.server.execute("checkpoint", _WAL_WRITER)
        os.kill(pid, signal.SIGSTOP)

    async def start(self) -> None:
        """Start all four at once."""
        await asyncio.gather(*(asyncio.to_thread(each.start) for each in self.members))

    async def stop(self) -> list[int]:
        """Ask all to end; return with which statuses they did."""
        await asyncio.gather(*(asyncio.to_thread(each.stop) for each in self.members))
        return [status for each in self.members for status in each.statuses]

    def last_words(self) -> str:
        """Return the end of what each logged in its last life, for whoever looks for a fault."""
        return "\n".join(each.last_words for each in self.members)

    def abandon(self) -> None:
        """End all, whatever state they are in."""
        for each in self.members:
            each.abandon()


def settings_of(dsn: str) -> dict[str, str]:
    """Return settings of all processes."""
    return {
        "TOCSIN_DATABASE": dsn,
        "TOCSIN_SECRET_KEY": secrets.token_hex(32),
        "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
        "TOCSIN_LOG_FORMAT": "json",
        "TOCSIN_LOG_LEVEL": "warning",
        "TOCSIN_POSTGRES_CONNECTIONS": "6",
        # A search that outlasts it is told so, and not to come again; here none is long, but all else may be slow.
        "TOCSIN_POSTGRES_QUERY_MAX_S": "60",
        **NOBODY,
    }
