"""A disk that tells of every write, and may refuse it: SQLite's own VFS with an observer in front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import apsw


@dataclass(frozen=True, slots=True)
class Operation:
    """What SQLite asks the disk to do.

    Attributes:
        kind: ``write``, ``sync``, ``truncate`` or ``delete``.
        file: the file's name without its directory.
        offset: of a write; the new size of a truncation.
    """

    kind: str
    file: str
    offset: int = 0
    data: bytes = b""


Observer = Callable[[Operation], None]
"""Called before an operation is carried out; may raise an ``apsw`` exception instead, or end the process."""


class Disk(apsw.VFS):
    """The default VFS, observed.

    Args:
        name: under which SQLite knows it; unique in the process.
    """

    def __init__(self, name: str, observe: Observer) -> None:
        super().__init__(name, "")
        self.vfs_name = name
        self.observe = observe

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802  SQLite's own word
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.observe(Operation("delete", PurePath(filename).name))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = PurePath(path or "temporary").name
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._disk.observe(Operation("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.observe(Operation("sync", self._name))
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.observe(Operation("truncate", self._name, newsize))
        super().xTruncate(newsize)
