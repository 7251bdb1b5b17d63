"""Opening the file: lock, version gate, pragmas, migrations."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import apsw

from tocsin.engine import migrations
from tocsin.engine.rows import EngineRefused

VERSION_MIN = (3, 51, 3)
"""Versions 3.7.0 to 3.51.2 can corrupt a database when the WAL is reset. Source: SQLite's changes of 3.51.3."""

DATABASE_FILE = "tocsin.db"
LOCK_FILE = "tocsin.lock"
_STATEMENT_CACHE = 512
_CHECK_MAX_S = 1.0
"""A large file is checked in part: a start must not take minutes."""


class DirectoryLock:
    """Keeps a second process out of a data directory; the kernel lets go of it when the process ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            EngineRefused: another process has it, or this one may not write there.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EngineRefused(f"{self._path} cannot be written: {error.strerror}; choose another --data") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise EngineRefused(
                f"{self._path.parent} is in use by another process (pid {holder}); stop it, or choose another --data"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the lock. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def check_version(minimum: tuple[int, int, int] = VERSION_MIN) -> str:
    """Return SQLite's version.

    Args:
        minimum: the lowest that is taken.

    Raises:
        EngineRefused: it is one that can corrupt a database.
    """
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) < minimum:
        wanted = ".".join(map(str, minimum))
        raise EngineRefused(
            f"SQLite {version} can corrupt its write-ahead log; install apsw with SQLite {wanted} or later"
        )
    return version


def make_directory(directory: Path) -> None:
    """Make the data directory, readable by nobody else, and have its name on the disk; one that is there is left.

    Raises:
        EngineRefused: it cannot be made.
    """
    try:
        if directory.is_dir():
            return
        directory.mkdir(mode=0o700, parents=True)
        parent = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except OSError as error:
        raise EngineRefused(f"{directory} cannot be made: {error.strerror}; choose another --data") from error


def open_writer(
    directory: Path, *, lock_wait_s: float, vfs: str | None = None, synchronous: str = "full"
) -> apsw.Connection:
    """Return the connection that writes, its schema up to date.

    Args:
        lock_wait_s: how long to wait while a stranger, such as a backup tool, locks the file.
        vfs: another SQLite VFS, for tests of power loss.
        synchronous: ``full``; a lesser one only for tests that must fail with it.

    Raises:
        EngineRefused: the file is damaged, no database, or newer than this program.
    """
    path = directory / DATABASE_FILE
    connection = None
    try:
        # Made here and not by SQLite, which would let the world read it until its mode is changed.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=_STATEMENT_CACHE)
        connection.set_busy_timeout(round(lock_wait_s * 1000))
        _prepare(connection, path, synchronous)
    except (apsw.Error, OSError) as error:
        _close(connection)
        raise EngineRefused(
            f"{path} cannot be opened: {error}; restore it from a backup, or choose another --data"
        ) from error
    except EngineRefused:
        _close(connection)
        raise
    return connection


def _close(connection: apsw.Connection | None) -> None:
    if connection is not None:
        connection.close()


def _prepare(connection: apsw.Connection, path: Path, synchronous: str) -> None:
    damage = _damage(connection)
    if damage is not None:
        raise EngineRefused(f"{path} is damaged: {damage}; restore it from a backup")
    mode = connection.execute("pragma journal_mode = wal").get
    if mode != "wal":
        raise EngineRefused(f"{path} cannot have a write-ahead log on this file system; choose another --data")
    connection.execute(f"pragma synchronous = {synchronous}")
    # What a savepoint may have to undo is kept in memory: no commit waits for a second disk or fails by it.
    connection.execute("pragma temp_store = memory")
    connection.execute("pragma cache_size = -65536")
    connection.execute("pragma journal_size_limit = 67108864")
    _migrate(connection, path)


def open_reader(directory: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Return a connection that can only read."""
    connection = apsw.Connection(
        str(directory / DATABASE_FILE),
        flags=apsw.SQLITE_OPEN_READONLY,
        vfs=vfs,
        statementcachesize=_STATEMENT_CACHE,
    )
    connection.set_busy_timeout(2_000)
    connection.execute("pragma query_only = on")
    connection.execute("pragma cache_size = -16384")
    return connection


def _damage(connection: apsw.Connection) -> str | None:
    """Return what a check of the file finds, or None; it looks no longer than ``_CHECK_MAX_S``."""
    deadline_s = time.monotonic() + _CHECK_MAX_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline_s, 10_000)
    try:
        verdict = str(connection.execute("pragma quick_check(1)").get)
    except apsw.InterruptError:
        return None
    finally:
        connection.set_progress_handler(None)
    return None if verdict == "ok" else verdict


def _migrate(connection: apsw.Connection, path: Path) -> None:
    connection.execute(
        "create table if not exists schema_migration (number integer primary key, name text, checksum text not null)"
    )
    applied = dict(connection.execute("select number, checksum from schema_migration"))
    try:
        steps = migrations.pending(migrations.load("sqlite"), applied)
    except ValueError as error:
        raise EngineRefused(f"{path} cannot be used: {error}") from error
    for step in steps:
        with connection:
            connection.execute(step.text)
            connection.execute(
                "insert into schema_migration (number, name, checksum) values (?, ?, ?)",
                (step.number, step.name, step.checksum),
            )
