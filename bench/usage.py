"""What a program uses of the machine, with all the processes that it has begun."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of all below it, those that have ended included."""
    return sum(sum(map(int, fields[11:15])) for fields in map(_stat, _tree(pid))) / _TICKS_PER_S


def memory_mib(pid: int) -> float:
    """Return the memory of a process and of all below it; what they share counts for each."""
    return sum(int(fields[21]) for fields in map(_stat, _tree(pid))) * _PAGE_BYTES / 2**20


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for listed in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, _text(listed).split())
    return found


def _stat(pid: int) -> list[str]:
    """Return what the kernel counts of a process, from its state on; zeros where it has ended meanwhile."""
    return _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split() or ["0"] * 22


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
