"""Runs the ledger's work again and again in children that kill themselves, each at another operation of the disk.

A process of its own, since only one without threads may fork. Called with a directory, one of ``careful``, ``early``
and ``split``, and a number n, to try every n-th operation; prints a ``Report`` as JSON.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from faults.disk import Disk, Operation
from faults.ledger import Client, Entry, Verdict, verdict_on
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.testing.clock import ManualClock

ROUNDS = 4
DISK = "crashing"


class Report(msgspec.Struct, frozen=True):
    """What came of all points.

    Attributes:
        points: operations at which a child was killed.
        survivors: children that were to be killed and were not; none, or the count is worth nothing.
        acked_most: answers in the ledger of the child that came farthest.
        lost, halves, damaged: over all stores.
    """

    points: int
    survivors: int
    acked_most: int
    lost: int
    halves: int
    damaged: int


class _Countdown:
    """Counts operations, and kills the process at one of them, before it is carried out."""

    def __init__(self, kill_at: int | None) -> None:
        self.count = 0
        self._kill_at = kill_at

    def __call__(self, _operation: Operation) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


async def _work(directory: Path, variant: str, kill_at: int | None, ledger: int) -> int:
    clock = ManualClock()
    countdown = _Countdown(kill_at)
    disk = Disk(DISK, _Countdown(None))
    settings = SqliteSettings(directory=directory, patience_s=0.0, checkpoint_pages=40, vfs=DISK)
    engine = SqliteEngine(settings, clock=clock, on_fatal=sys.exit)
    await engine.open()
    disk.observe = countdown
    client = Client(engine, clock, lambda entry: _write(ledger, entry), entropy=random.Random(1).randbytes)
    if variant == "early":
        await client.work_and_answer_early(ROUNDS)
    elif variant == "split":
        await client.work_in_two_transactions(ROUNDS)
    elif variant == "careful":
        await client.work(ROUNDS)
    await engine.close()
    disk.unregister()
    return countdown.count


def _write(ledger: int, entry: Entry) -> None:
    os.write(ledger, f"{entry.kind} {entry.id.hex()}\n".encode())


def _read(ledger: Path) -> set[Entry]:
    lines = [line.split() for line in ledger.read_text().splitlines()]
    return {Entry(kind, bytes.fromhex(identifier)) for kind, identifier in lines}


def _child(directory: Path, variant: str, kill_at: int | None) -> bool:
    """Work in a child; return whether it was killed."""
    child = os.fork()
    if child == 0:
        ledger = os.open(directory / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        count = asyncio.run(_work(directory, variant, kill_at, ledger))
        (directory / "count").write_text(str(count))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main(root: Path, variant: str, step: int) -> Report:
    """Try every ``step``-th point."""
    template = root / "template"
    template.mkdir()
    _child(template, "idle", None)

    def fresh(name: str) -> Path:
        return Path(shutil.copytree(template, root / name, ignore=shutil.ignore_patterns("ledger", "count")))

    rehearsal = fresh("rehearsal")
    _child(rehearsal, variant, None)
    total = int((rehearsal / "count").read_text())
    verdicts: list[Verdict] = []
    survivors = acked_most = 0
    for point in range(1, total + 1, step):
        directory = fresh("point")
        survivors += not _child(directory, variant, point)
        entries = _read(directory / "ledger")
        acked_most = max(acked_most, len(entries))
        verdicts.append(verdict_on(directory, entries))
        shutil.rmtree(directory)
    return Report(
        points=len(verdicts),
        survivors=survivors,
        acked_most=acked_most,
        lost=sum(each.lost for each in verdicts),
        halves=sum(each.halves for each in verdicts),
        damaged=sum(each.damage != "ok" for each in verdicts),
    )


if __name__ == "__main__":
    report = main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.stdout.write(msgspec.json.encode(report).decode())
