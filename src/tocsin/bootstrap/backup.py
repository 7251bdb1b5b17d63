"""A copy of a gateway's data: the database and the key that its secrets are sealed with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from tocsin.bootstrap.configuration import SECRET_KEY_FILE
from tocsin.engine.rows import EngineRefused
from tocsin.engine.sqlite.backup import check_database, copy_database
from tocsin.engine.sqlite.connection import DATABASE_FILE, DirectoryLock, check_version, make_directory
from tocsin.settings import Settings


class Backup(msgspec.Struct, frozen=True):
    """What was copied.

    Attributes:
        to: a data directory, as ``--data`` takes it.
        bytes: of the database.
        has_key: whether the key that seals secrets lies beside it; it does not where it is a setting.
    """

    to: Path
    events: int
    bytes: int
    has_key: bool


def back_up(settings: Settings, to: Path, advance: Callable[[int, int], None]) -> Backup:
    """Copy the data to a directory that is not there yet, and check the copy.

    Nothing is there under that name before it is whole.

    Args:
        advance: called with the pages copied so far and all of them.

    Raises:
        EngineRefused: there is nothing to copy, the target exists, or the copy is damaged.
    """
    data: Path = settings.values.data
    if to.exists():
        raise EngineRefused(f"{to} exists; a backup makes its directory itself, so that it overwrites nothing")
    draft = to.with_name(f".{to.name}.{os.getpid()}.partial")
    make_directory(draft)
    try:
        events = copy_database(data, draft, advance)
        has_key = _copy_key(data / SECRET_KEY_FILE, draft / SECRET_KEY_FILE)
        size = sum(each.stat().st_size for each in draft.iterdir() if each.name != SECRET_KEY_FILE)
        draft.rename(to)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise EngineRefused(f"{to} cannot be written: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync_directory(to.parent)
    return Backup(to=to, events=events, bytes=size, has_key=has_key)


def _copy_key(key: Path, copy: Path) -> bool:
    if not key.exists():
        return False
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(key.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    return True


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damage_of(data: Path) -> str | None:
    """Return what is wrong with a stopped gateway's database: nothing as an empty text, ``in use`` where it runs.

    None where there is no database.

    Raises:
        EngineRefused: it cannot be opened.
    """
    if not (data / DATABASE_FILE).exists():
        return None
    lock = DirectoryLock(data)
    try:
        lock.take()
    except EngineRefused:
        return "in use"
    try:
        return check_database(data) or ""
    finally:
        lock.release()


def sqlite_version() -> str:
    """Return SQLite's version.

    Raises:
        EngineRefused: it is one that can corrupt a database.
    """
    return check_version()
