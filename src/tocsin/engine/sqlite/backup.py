"""A copy of the database, made while another process writes to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import apsw

from tocsin.engine.rows import EngineRefused
from tocsin.engine.sqlite.connection import DATABASE_FILE, check_version

_STEP_PAGES = 2048
_LOCK_WAIT_MS = 10_000


def copy_database(source: Path, target: Path, advance: Callable[[int, int], None]) -> int:
    """Copy the database of one data directory into another, and check the copy; return how many events it holds.

    The copy is what was committed when it began: it is read in one transaction, which commits of other processes
    neither change nor wait for. Only the write-ahead log grows until it is done.

    Args:
        source: a data directory, of a running gateway or a stopped one.
        target: a directory without a database.
        advance: called with the pages copied so far and all of them.

    Raises:
        EngineRefused: there is no database, it cannot be read, or the copy is damaged.

    Source: SQLite's backup API; a step within a read transaction does not begin anew when the source changes.
    """
    check_version()
    file = source / DATABASE_FILE
    if not file.is_file():
        raise EngineRefused(f"{file} is not there; is --data the directory of a gateway?")
    copy = target / DATABASE_FILE
    try:
        os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.ExitStack() as stack:
            reading = _opened(stack, file, apsw.SQLITE_OPEN_READONLY)
            writing = _opened(stack, copy, apsw.SQLITE_OPEN_READWRITE)
            # The snapshot is taken by the first read, not by begin.
            reading.execute("begin")
            reading.execute("select count(*) from sqlite_schema").get  # noqa: B018
            with writing.backup("main", reading, "main") as backup:
                while not backup.done:
                    backup.step(_STEP_PAGES)
                    advance(backup.page_count - backup.remaining, backup.page_count)
            reading.execute("rollback")
            count = _checked(writing, copy)
        _sync(copy)
        _sync(target)
    except (apsw.Error, OSError) as error:
        raise EngineRefused(f"{file} cannot be copied: {error}") from error
    return count


def check_database(directory: Path) -> str | None:
    """Return what a check of a directory's database finds, or None where it is sound.

    Raises:
        EngineRefused: it cannot be opened.
    """
    try:
        with contextlib.ExitStack() as stack:
            reading = _opened(stack, directory / DATABASE_FILE, apsw.SQLITE_OPEN_READONLY)
            verdict = str(reading.execute("pragma quick_check(1)").get)
    except apsw.Error as error:
        raise EngineRefused(f"{directory / DATABASE_FILE} cannot be opened: {error}") from error
    return None if verdict == "ok" else verdict


def _opened(stack: contextlib.ExitStack, file: Path, flags: int) -> apsw.Connection:
    connection = apsw.Connection(str(file), flags=flags)
    stack.callback(connection.close)
    connection.set_busy_timeout(_LOCK_WAIT_MS)
    return connection


def _checked(copy: apsw.Connection, path: Path) -> int:
    verdict = str(copy.execute("pragma integrity_check(1)").get)
    if verdict != "ok":
        raise EngineRefused(f"the copy {path} is damaged: {verdict}; is the source sound? tocsin doctor tells")
    # Nothing may be left in a log beside the file, which somebody might not take along.
    copy.execute("pragma wal_checkpoint(truncate)")
    found = copy.execute("select count(*) from event").get
    assert isinstance(found, int)
    return found


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
