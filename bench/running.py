"""The programs that are measured, on either engine: gateways, dispatchers, and the database's server."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from engine.postgres_server import PostgresServer, running_server, server_folders
from gateway import Process

_STARTED_S = time.monotonic()


@dataclass(frozen=True, slots=True)
class Store:
    """Where gateways and dispatchers keep what they share.

    Attributes:
        name: of the engine.
        settings: that lead a process there.
        server_pid: the process id of the database's server, None where there is none.
        version: of what stores.
    """

    name: str
    settings: dict[str, str]
    server_pid: int | None
    version: str


@contextmanager
def sqlite() -> Iterator[Store]:
    """Name the embedded engine; each gateway has a database of its own."""
    yield Store("SQLite", {"TOCSIN_LOG_LEVEL": "error"}, None, f"SQLite {apsw.sqlite_lib_version()}")


@contextmanager
def server(folder: Path | None) -> Iterator[PostgresServer]:
    """Start a PostgreSQL with the settings that it comes with.

    Args:
        folder: with the server's programs; None takes the newest that is installed.
    """
    if folder is None and not server_folders():
        sys.exit("bench: there is no PostgreSQL here; install one, or name the folder of its programs by --postgres")
    with running_server(folder, autovacuum="on", shared_buffers="128MB") as running:
        yield running


@contextmanager
def postgres(running: PostgresServer) -> Iterator[Store]:
    """Make an empty database."""
    shown = running.execute("show server_version", "select pg_read_file('postmaster.pid')")
    version, pid_file = (rows[0][0] for rows in shown)
    with running.database() as name:
        settings = {
            "TOCSIN_DATABASE": running.dsn(name),
            "TOCSIN_SECRET_KEY": "11" * 32,
            "TOCSIN_LOG_LEVEL": "error",
        }
        yield Store("PostgreSQL", settings, int(pid_file.split()[0]), f"PostgreSQL {version.split()[0]}")


@contextmanager
def gateway(store: Store, role: str = "all") -> Iterator[Process]:
    """Run a gateway that is ready."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as directory:
        process = Process(Path(directory) / "data", store.settings | {"TOCSIN_ROLE": role})
        process.start()
        try:
            yield process
        finally:
            process.stop()


def make_destinations(process: Process, key: str, url: str, *, count: int, concurrency: int) -> None:
    """Make webhook destinations that get every event."""
    for number in range(count):
        body = {"name": f"sink {number}", "transport": "webhook", "address": {"url": url}, "concurrency": concurrency}
        answer = process.request("POST", "/api/v1/destinations", body, key=key)
        assert answer.status == 201, answer.body


def conditions(*stores: Store) -> str:
    """Return on what was measured, and how busy it was before."""
    machine = f"{os.cpu_count()} cores that the load and the receiver share, {platform.system()} {platform.release()}"
    versions = ", ".join(each.version for each in stores)
    load = os.getloadavg()[0]
    return f"{machine}, Python {platform.python_version()}, {versions}; load average at the start {load:.2f}."


def progress(line: str) -> None:
    """Tell on stderr how far it is."""
    sys.stderr.write(f"{time.monotonic() - _STARTED_S:5.0f} s  {line}\n")
    sys.stderr.flush()
