"""The power fails at any moment, and the disk has kept as little, and in as bad an order, as it is allowed to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from faults.disk import Disk, Operation
from faults.ledger import Client, Entry, Verdict, verdict_on
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.engine.sqlite.connection import DATABASE_FILE
from tocsin.testing.clock import ManualClock

CLIENTS = 6
ROUNDS = 8
CUTS = 240
SECTOR = 512

Log = list[Operation | Entry]
Files = dict[str, bytearray]


async def _record(directory: Path, synchronous: str) -> tuple[Files, Log]:
    """Do the work; return the files it began with, and all that was asked of the disk and answered to clients."""
    await _work(SqliteSettings(directory=directory), clients=0, log=[])
    files = {DATABASE_FILE: bytearray((directory / DATABASE_FILE).read_bytes())}
    log: Log = []
    disk = Disk(f"recording {synchronous}", log.append)
    settings = SqliteSettings(
        directory=directory, patience_s=0.0, checkpoint_pages=60, vfs=disk.vfs_name, synchronous=synchronous
    )
    await _work(settings, clients=CLIENTS, log=log)
    disk.unregister()
    return files, log


async def _work(settings: SqliteSettings, *, clients: int, log: Log) -> None:
    clock = ManualClock()
    engine = SqliteEngine(settings, clock=clock, on_fatal=pytest.fail)
    await engine.open()
    dice = [random.Random(number) for number in range(clients)]
    await asyncio.gather(*(Client(engine, clock, log.append, entropy=each.randbytes).work(ROUNDS) for each in dice))
    await engine.close()


@dataclass
class _Platter:
    """What the disk holds for sure, and what it was given since and may lose.

    A sync makes a file's writes sure, in any order until then. Names are sure at once: SQLite's care for directories
    is not what is tried here.
    """

    sure: Files
    unsure: dict[str, list[Operation]] = field(default_factory=dict)

    def take(self, operation: Operation) -> None:
        if operation.kind == "sync":
            for each in self.unsure.pop(operation.file, []):
                _apply(self.sure, each)
        elif operation.kind == "delete":
            self.sure.pop(operation.file, None)
            self.unsure.pop(operation.file, None)
        else:
            self.unsure.setdefault(operation.file, []).append(operation)

    def left(self, kept: Callable[[Operation], Iterator[Operation]]) -> Files:
        """Return what is found after a power cut.

        Args:
            kept: what the disk has kept of an operation that is not sure.
        """
        files = {name: bytearray(content) for name, content in self.sure.items()}
        for operations in self.unsure.values():
            for operation in operations:
                for each in kept(operation):
                    _apply(files, each)
        return files


def _apply(files: Files, operation: Operation) -> None:
    content = files.setdefault(operation.file, bytearray())
    if operation.kind == "truncate":
        del content[operation.offset :]
        return
    content.extend(bytes(max(0, operation.offset - len(content))))
    content[operation.offset : operation.offset + len(operation.data)] = operation.data


def _nothing(_operation: Operation) -> Iterator[Operation]:
    yield from ()


def _some(dice: random.Random) -> Callable[[Operation], Iterator[Operation]]:
    def kept(operation: Operation) -> Iterator[Operation]:
        if dice.random() < 0.5:
            yield operation

    return kept


def _torn(dice: random.Random) -> Callable[[Operation], Iterator[Operation]]:
    """Keep any sectors of a write, since a disk writes no more than a sector at once."""

    def kept(operation: Operation) -> Iterator[Operation]:
        if operation.kind != "write":
            yield operation
            return
        for at in range(0, len(operation.data), SECTOR):
            if dice.random() < 0.7:
                yield Operation("write", operation.file, operation.offset + at, operation.data[at : at + SECTOR])

    return kept


def _verdicts(directory: Path, files: Files, log: Log) -> list[Verdict]:
    dice = random.Random(11)
    ways = [_nothing, _some(dice), _torn(dice)]
    cuts = sorted(dice.sample(range(len(log)), CUTS))
    platter = _Platter(files)
    entries: set[Entry] = set()
    verdicts: list[Verdict] = []
    done = 0
    for number, cut in enumerate(cuts):
        for each in log[done:cut]:
            if isinstance(each, Entry):
                entries.add(each)
            else:
                platter.take(each)
        done = cut
        found = directory / f"cut {number}"
        found.mkdir()
        for name, content in platter.left(ways[number % len(ways)]).items():
            (found / name).write_bytes(content)
        verdicts.append(verdict_on(found, entries))
    return verdicts


def _try(tmp_path: Path, synchronous: str) -> list[Verdict]:
    directory, cuts = tmp_path / "data", tmp_path / "cuts"
    cuts.mkdir()
    files, log = asyncio.run(_record(directory, synchronous))
    assert sum(isinstance(each, Entry) for each in log) > 200
    return _verdicts(cuts, files, log)


def test_power_loss_at_any_moment_loses_no_answer_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    verdicts = _try(tmp_path, "full")
    assert len(verdicts) >= 200
    assert set(verdicts) == {Verdict(lost=0, halves=0, damage="ok")}


def test_a_commit_without_a_sync_would_be_found_out(tmp_path: Path) -> None:
    """The negative control: SQLite's ``synchronous = normal`` answers before the log is on the disk."""
    verdicts = _try(tmp_path, "normal")
    assert sum(each.lost for each in verdicts) > 0
    assert {each.halves for each in verdicts} == {0}
