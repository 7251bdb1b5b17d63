"""Opening a data directory: what is refused, why, and what others may see of it."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from engine.sqlite_store import sqlite_factory
from tocsin.core.errors import Unavailable
from tocsin.engine.rows import EngineRefused, EventQuery
from tocsin.engine.sqlite.connection import DATABASE_FILE, LOCK_FILE, check_version
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import Stage

HOLD = """
import asyncio, sys
from pathlib import Path
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.testing.clock import ManualClock

async def main():
    engine = SqliteEngine(SqliteSettings(directory=Path(sys.argv[1])), clock=ManualClock(), on_fatal=print)
    await engine.open()
    print("open", flush=True)
    sys.stdin.read()
    await engine.close()

asyncio.run(main())
"""

OPEN_AS_NOBODY = """
import asyncio, os, sys
from pathlib import Path
from tocsin.engine.rows import EngineRefused
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.testing.clock import ManualClock

if os.geteuid() == 0:
    os.setuid(65534)
engine = SqliteEngine(SqliteSettings(directory=Path(sys.argv[1])), clock=ManualClock(), on_fatal=print)
try:
    asyncio.run(engine.open())
except EngineRefused as error:
    print(error)
"""


def _open(directory: Path) -> None:
    async def run() -> None:
        async with sqlite_factory(directory, lock_wait_s=0.0)(ManualClock()):
            pass

    asyncio.run(run())


def _refusal(directory: Path) -> str:
    with pytest.raises(EngineRefused) as caught:
        _open(directory)
    return str(caught.value)


def _filled(directory: Path) -> Path:
    """Return the file of a store with a thousand events in it."""

    async def run() -> None:
        stage = Stage(sqlite_factory(directory))
        await stage.open()
        await stage.store(*(stage.new(stage.destination(), data=b"x" * 200) for _ in range(1000)))
        await stage.close()

    asyncio.run(run())
    return directory / DATABASE_FILE


@contextmanager
def _edited(file: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(file))
    try:
        yield connection
    finally:
        connection.close()


def test_a_second_process_is_kept_out_until_the_first_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        text = _refusal(tmp_path)
        assert str(tmp_path) in text
        assert f"pid {holder.pid}" in text
        holder.send_signal(signal.SIGKILL)
    _open(tmp_path)


def test_a_second_engine_of_the_same_process_is_kept_out_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with sqlite_factory(tmp_path)(ManualClock()):
            with pytest.raises(EngineRefused, match=f"pid {os.getpid()}"):
                async with sqlite_factory(tmp_path)(ManualClock()):
                    pass

    asyncio.run(run())
    _open(tmp_path)


def test_a_refused_opening_leaves_the_directory_free(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"not a database" * 1000)
    for _ in range(2):
        assert "in use" not in _refusal(tmp_path)
    (tmp_path / DATABASE_FILE).unlink()
    _open(tmp_path)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    content = b"These are somebody's notes.\n" * 1000
    file = tmp_path / DATABASE_FILE
    file.write_bytes(content)
    text = _refusal(tmp_path)
    assert "not a database" in text
    assert str(file) in text
    assert file.read_bytes() == content


@pytest.mark.parametrize("page", [1, 2, 30, 60])
def test_a_damaged_file_is_refused(tmp_path: Path, page: int) -> None:
    file = _filled(tmp_path)
    with file.open("r+b") as opened:
        opened.seek(page * 4096)
        opened.write(b"\xa5" * 4096)
    text = _refusal(tmp_path)
    assert "restore it from a backup" in text


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    file = _filled(tmp_path)
    os.truncate(file, file.stat().st_size // 2)
    assert "restore it from a backup" in _refusal(tmp_path)


def test_a_newer_schema_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with _edited(_filled(tmp_path)) as connection:
        connection.execute("insert into schema_migration (number, name, checksum) values (99, 'later', 'x')")
    text = _refusal(tmp_path)
    assert "version 99" in text
    assert "newer Tocsin" in text


def test_an_edited_migration_is_refused(tmp_path: Path) -> None:
    with _edited(_filled(tmp_path)) as connection:
        connection.execute("update schema_migration set checksum = 'x' where number = 1")
    assert "migration 1 was applied with another text" in _refusal(tmp_path)


def test_an_old_sqlite_is_refused() -> None:
    assert check_version() == apsw.sqlite_lib_version()
    with pytest.raises(EngineRefused, match=r"3\.99\.0 or later"):
        check_version((3, 99, 0))


def test_a_file_that_a_stranger_locks_is_refused(tmp_path: Path) -> None:
    file = _filled(tmp_path)
    with _edited(file) as stranger:
        stranger.execute("pragma locking_mode = exclusive")
        stranger.execute("begin exclusive")
        assert "locked" in _refusal(tmp_path)
    _open(tmp_path)


def test_while_a_stranger_locks_the_file_writes_are_unavailable_and_reads_go_on(tmp_path: Path) -> None:
    async def run() -> None:
        stage = Stage(sqlite_factory(tmp_path, lock_wait_s=0.0))
        await stage.open()
        try:
            new = stage.new()
            await stage.store(new)
            with _edited(tmp_path / DATABASE_FILE) as stranger:
                stranger.execute("begin immediate")
                with pytest.raises(Unavailable):
                    await stage.store(stage.new())
                assert len(await stage.all(EventQuery(organisation_id=stage.organisation))) == 1
                stranger.execute("rollback")
            await stage.store(stage.new())
        finally:
            await stage.close()

    asyncio.run(run())


def test_a_directory_that_may_not_be_written_is_refused() -> None:
    # Not below pytest's own directory, which nobody but its owner may enter.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", OPEN_AS_NOBODY, name], capture_output=True, text=True, check=True
        )
    assert "cannot be written: Permission denied" in done.stdout


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made" in _refusal(tmp_path / "file" / "data")


def test_a_file_system_without_shared_memory_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(EngineRefused, match="cannot have a write-ahead log"):
            async with sqlite_factory(tmp_path, vfs="unix-dotfile")(ManualClock()):
                pass

    asyncio.run(run())


def test_nobody_else_may_read_the_store(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = tmp_path / "some" / "data"

        async def run() -> dict[str, int]:
            stage = Stage(sqlite_factory(directory))
            await stage.open()
            await stage.store(stage.new())
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()}
            await stage.close()
            return modes

        modes = asyncio.run(run())
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm", LOCK_FILE} == set(modes)
    assert set(modes.values()) == {0o600}
