"""The writer's thread: many ops to a commit, each alone in its failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tocsin.core.errors import Unavailable
from tocsin.engine.sqlite.writer import Op, Writer


def _writer(path: Path, *, waiting_max: int = 100, patience_s: float = 0.0, checkpoint_pages: int = 4000) -> Writer:
    def connect() -> apsw.Connection:
        connection = apsw.Connection(str(path))
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table t (x unique)")
        return connection

    return Writer(
        connect,
        waiting_max=waiting_max,
        patience_s=patience_s,
        on_fatal=pytest.fail,
        checkpoint_pages=checkpoint_pages,
    )


def _play(path: Path, play: Callable[[Writer], Awaitable[None]], **settings: Any) -> list[Any]:
    """Run ``play`` on a writer; return what the table holds afterwards."""

    async def run() -> None:
        writer = _writer(path, **settings)
        await writer.start()
        try:
            await play(writer)
        finally:
            await writer.stop()

    asyncio.run(run())
    connection = apsw.Connection(str(path))
    rows = [row[0] for row in connection.execute("select x from t order by x")]
    connection.close()
    return rows


def _put(value: Any) -> Op:
    return lambda connection: connection.execute("insert into t values (?)", (value,)).fetchall()


def _hold(writer: Writer) -> tuple[asyncio.Future[Any], threading.Event]:
    """Keep the thread busy until the event is set, so that what comes now waits together."""
    go = threading.Event()
    held = writer.submit(lambda _connection: go.wait())
    return held, go


def test_ops_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    async def play(writer: Writer) -> None:
        held, go = _hold(writer)
        waiting = [writer.submit(_put(number)) for number in range(50)]
        go.set()
        await asyncio.gather(held, *waiting)
        assert writer.commits <= 2

    assert _play(tmp_path / "db", play) == list(range(50))


def test_an_op_that_fails_fails_alone_and_leaves_nothing(tmp_path: Path) -> None:
    def bad(connection: apsw.Connection) -> None:
        connection.execute("insert into t values (99)")
        raise ValueError("bad")

    async def play(writer: Writer) -> None:
        held, go = _hold(writer)
        asked = [writer.submit(each) for each in (_put(1), bad, _put(1), _put(2), _put("\ud800"))]
        go.set()
        results = await asyncio.gather(*asked, return_exceptions=True)
        await held
        kinds = [type(each) for each in results]
        assert kinds == [list, ValueError, apsw.ConstraintError, list, UnicodeEncodeError]

    assert _play(tmp_path / "db", play) == [1, 2]


def test_a_fault_of_the_store_fails_all_that_share_the_commit_and_nothing_later(tmp_path: Path) -> None:
    def fault(_connection: apsw.Connection) -> None:
        raise apsw.FullError("no room")

    async def play(writer: Writer) -> None:
        held, go = _hold(writer)
        asked = [writer.submit(each) for each in (_put(1), fault, _put(2))]
        go.set()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, Unavailable) for each in results)
        assert len({id(each) for each in results}) == 3, "an exception belongs to whoever it is raised to"
        await asyncio.gather(held, return_exceptions=True)
        await writer.submit(_put(3))

    assert _play(tmp_path / "db", play) == [3]


def test_what_is_not_urgent_waits_for_company(tmp_path: Path) -> None:
    async def play(writer: Writer) -> None:
        patient = [writer.submit(_put(number), urgent=False) for number in range(5)]
        await writer.submit(_put(99))
        await asyncio.gather(*patient)
        assert writer.commits == 1

    assert _play(tmp_path / "db", play, patience_s=3600.0) == [0, 1, 2, 3, 4, 99]


def test_what_is_not_urgent_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def play(writer: Writer) -> None:
        await writer.submit(_put(1), urgent=False)

    assert _play(tmp_path / "db", play, patience_s=0.0) == [1]


def test_what_waits_at_the_stop_is_done_before_it(tmp_path: Path) -> None:
    async def play(writer: Writer) -> None:
        asked = [writer.submit(_put(number), urgent=False) for number in range(5)]
        await writer.stop()
        await writer.stop()
        await asyncio.gather(*asked)
        with pytest.raises(Unavailable):
            writer.submit(_put(6))

    assert _play(tmp_path / "db", play, patience_s=3600.0) == [0, 1, 2, 3, 4]


def test_a_caller_who_went_away_hinders_nobody(tmp_path: Path) -> None:
    async def play(writer: Writer) -> None:
        held, go = _hold(writer)
        gone, stays = writer.submit(_put(1)), writer.submit(_put(2))
        gone.cancel()
        go.set()
        await asyncio.gather(held, stays)

    assert _play(tmp_path / "db", play) == [1, 2]


def test_what_is_over_the_bound_is_refused_until_there_is_room(tmp_path: Path) -> None:
    async def play(writer: Writer) -> None:
        held, go = _hold(writer)
        asked = [writer.submit(_put(number)) for number in range(2)]
        with pytest.raises(Unavailable):
            writer.submit(_put(9))
        go.set()
        await asyncio.gather(held, *asked)
        await writer.submit(_put(2))

    assert _play(tmp_path / "db", play, waiting_max=3) == [0, 1, 2]


def test_a_connection_that_cannot_be_opened_is_told_to_who_starts(tmp_path: Path) -> None:
    async def run() -> None:
        writer = _writer(tmp_path / "no" / "such" / "directory")
        with pytest.raises(apsw.CantOpenError):
            await writer.start()
        await writer.stop()

    asyncio.run(run())


def test_a_long_log_is_copied_into_the_database(tmp_path: Path) -> None:
    path = tmp_path / "db"
    log_sizes: list[int] = []

    async def play(writer: Writer) -> None:
        for number in range(200):
            await writer.submit(_put(b"%04d" % number * 750))
            log_sizes.append((tmp_path / "db-wal").stat().st_size)
        # The writer copies after it has told of a commit, before it takes up the next.
        await writer.submit(_put(b"last"))
        assert path.stat().st_size > 150 * 3000

    _play(path, play, checkpoint_pages=50)
    assert max(log_sizes) < 80 * 4120
