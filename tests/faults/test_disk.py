"""A disk that is full, that refuses writes, or that loses a sync."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from faults.disk import Disk, Operation
from faults.ledger import Client, Entry, Verdict, verdict_on
from tocsin.core.errors import Unavailable
from tocsin.core.event import Event
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import EventQuery, NewEvent
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.testing.clock import ManualClock

WHOLE = Verdict(lost=0, halves=0, damage="ok")


class _Moods:
    """Decides for each operation whether the disk carries it out.

    Attributes:
        room: writes that still fit; None is any number.
        bad: how likely an operation of these kinds fails, and with what.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.bad: dict[str, tuple[float, int]] = {}
        self.faults = 0
        self._dice = random.Random(3)

    def __call__(self, operation: Operation) -> None:
        if operation.kind == "write" and self.room is not None:
            if self.room == 0:
                self.faults += 1
                raise apsw.FullError("no room")
            self.room -= 1
        likely, code = self.bad.get(operation.kind, (0.0, 0))
        if self._dice.random() < likely:
            self.faults += 1
            raise apsw.exception_for(code)


class _Stage:
    """An engine on a moody disk, a client of it, and the client's ledger."""

    def __init__(self, directory: Path, moods: _Moods, disk: Disk, **settings: Any) -> None:
        self.directory = directory
        self.moods = moods
        self.entries: set[Entry] = set()
        self.fatal: list[str] = []
        clock = ManualClock()
        given = {"patience_s": 0.0, "checkpoint_pages": 60} | settings
        made = SqliteSettings(directory=directory, vfs=disk.vfs_name, **given)
        self.engine: Engine = SqliteEngine(made, clock=clock, on_fatal=self.fatal.append)
        self.client = Client(self.engine, clock, self.entries.add, entropy=random.Random(5).randbytes)

    async def stored(self, new: list[NewEvent]) -> list[bool]:
        found = await self.engine.find(Event, DEFAULT_ORGANISATION, [each.event.id for each in new])
        return [each is not None for each in found]

    async def is_refused(self, new: list[NewEvent]) -> bool:
        try:
            await self.client.accept(new)
        except Unavailable as error:
            return error.retry_after_s is not None
        return False


@contextmanager
def _disk(moods: _Moods) -> Iterator[Disk]:
    disk = Disk("moody", moods)
    try:
        yield disk
    finally:
        disk.unregister()


def _play(directory: Path, play: Callable[[_Stage], Awaitable[None]], **settings: Any) -> _Stage:
    """Run ``play`` on an engine that is opened and closed while the disk is well; return the stage."""
    moods = _Moods()

    async def run(disk: Disk) -> _Stage:
        stage = _Stage(directory, moods, disk, **settings)
        await stage.engine.open()
        try:
            await play(stage)
        finally:
            moods.room, moods.bad = None, {}
            await stage.engine.close()
        return stage

    with _disk(moods) as disk:
        return asyncio.run(run(disk))


def test_on_a_full_disk_nothing_is_acknowledged_reads_go_on_and_writes_resume(tmp_path: Path) -> None:
    async def play(stage: _Stage) -> None:
        before = [stage.client.new_event() for _ in range(5)]
        leases = await stage.client.accept(before)
        stage.moods.room = 0
        refused = [stage.client.new_event() for _ in range(5)]
        for each in refused:
            assert await stage.is_refused([each])
        with pytest.raises(Unavailable):
            await stage.client.settle(leases)
        with pytest.raises(Unavailable):
            await stage.engine.probe()
        assert await stage.stored(before + refused) == [True] * 5 + [False] * 5
        assert (await stage.engine.search(EventQuery(organisation_id=DEFAULT_ORGANISATION), limit=9)).total == 5

        stage.moods.room = None
        await stage.engine.probe()
        await stage.client.accept(refused)
        await stage.client.settle(leases)
        assert await stage.stored(refused) == [True] * 5
        assert stage.moods.faults >= 7

    stage = _play(tmp_path, play)
    assert stage.fatal == []
    assert verdict_on(tmp_path, stage.entries) == WHOLE


def test_wherever_in_a_commit_the_room_ends_it_is_all_or_nothing(tmp_path: Path) -> None:
    async def play(stage: _Stage) -> None:
        room = 0
        while True:
            new = [stage.client.new_event(size=2000) for _ in range(4)]
            stage.moods.room = room
            refused = await stage.is_refused(new)
            stage.moods.room = None
            assert await stage.stored(new) == [not refused] * 4
            if not refused:
                break
            room += 1
            await stage.client.work(1)
        assert room > 20

    stage = _play(tmp_path, play)
    assert stage.fatal == []
    assert verdict_on(tmp_path, stage.entries) == WHOLE


def test_of_writes_that_fail_now_and_then_what_is_acknowledged_is_what_is_stored(tmp_path: Path) -> None:
    async def play(stage: _Stage) -> None:
        stage.moods.bad = {"write": (0.01, apsw.SQLITE_IOERR_WRITE)}
        refused = 0
        for _ in range(150):
            new = [stage.client.new_event() for _ in range(2)]
            told = not await stage.is_refused(new)
            refused += not told
            assert await stage.stored(new) == [told] * 2
        assert 10 < refused < 140

    stage = _play(tmp_path, play)
    assert stage.fatal == []
    assert verdict_on(tmp_path, stage.entries) == WHOLE


def test_after_a_failed_sync_the_process_is_told_to_end_and_nothing_more_is_written(tmp_path: Path) -> None:
    async def play(stage: _Stage) -> None:
        before = [stage.client.new_event()]
        await stage.client.accept(before)
        stage.moods.bad = {"sync": (1.0, apsw.SQLITE_IOERR_FSYNC)}
        assert await stage.is_refused([stage.client.new_event()])
        assert len(stage.fatal) == 1
        assert "fsync failed" in stage.fatal[0]
        stage.moods.bad = {}
        assert await stage.is_refused([stage.client.new_event()]), "the disk's word does not count any more"
        assert len(stage.fatal) == 1
        assert await stage.stored(before) == [True]

    stage = _play(tmp_path, play)
    assert verdict_on(tmp_path, stage.entries) == WHOLE


def test_a_failed_sync_of_the_database_itself_ends_the_process_too(tmp_path: Path) -> None:
    """Copying the log into the database is nobody's request: no answer would tell of its failure."""

    async def play(stage: _Stage) -> None:
        told: list[EventId] = []
        observe = stage.moods

        def only_the_database(operation: Operation) -> None:
            if operation.kind == "sync" and operation.file.endswith(".db"):
                raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
            observe(operation)

        disk.observe = only_the_database
        for _ in range(40):
            new = [stage.client.new_event()]
            if not await stage.is_refused(new):
                told.append(new[0].event.id)
        disk.observe = observe
        assert len(stage.fatal) == 1
        assert 0 < len(told) < 40

    moods = _Moods()
    with _disk(moods) as disk:

        async def run() -> _Stage:
            stage = _Stage(tmp_path, moods, disk)
            await stage.engine.open()
            await play(stage)
            await stage.engine.close()
            return stage

        stage = asyncio.run(run())
    assert verdict_on(tmp_path, stage.entries) == WHOLE


def test_a_log_that_cannot_be_copied_for_want_of_room_is_copied_later(tmp_path: Path) -> None:
    moods = _Moods()
    with _disk(moods) as disk:

        def no_room_in_the_database(operation: Operation) -> None:
            if operation.kind == "write" and operation.file.endswith(".db"):
                raise apsw.FullError("no room")

        async def run() -> _Stage:
            stage = _Stage(tmp_path, moods, disk)
            await stage.engine.open()
            size = (tmp_path / "tocsin.db").stat().st_size
            disk.observe = no_room_in_the_database
            await stage.client.work(30)
            assert (tmp_path / "tocsin.db").stat().st_size == size
            disk.observe = moods
            await stage.client.work(2)
            await stage.engine.probe()
            assert (tmp_path / "tocsin.db").stat().st_size > size
            await stage.engine.close()
            return stage

        stage = asyncio.run(run())
    assert stage.fatal == []
    assert verdict_on(tmp_path, stage.entries) == WHOLE
