"""Whose fault an exception is: one op's alone, or the store's."""

from __future__ import annotations

import apsw

_OF_THE_OP = (
    apsw.BindingsError,
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.RangeError,
    apsw.SQLError,
    apsw.TooBigError,
)
"""What SQLite says of a value or of a statement, whatever state the disk is in."""

_FSYNC_FAILED = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})


def lies_with_the_store(error: BaseException) -> bool:
    """Return whether no other op would fare better: a full disk, an I/O error, a lock, no memory, damage."""
    return isinstance(error, apsw.Error) and not isinstance(error, _OF_THE_OP)


def lost_an_fsync(error: BaseException) -> bool:
    """Return whether the disk may have dropped what it was told to keep."""
    return getattr(error, "extendedresult", None) in _FSYNC_FAILED
