"""Whose fault an exception of the driver is: one op's alone, the moment's, or the store's."""

from __future__ import annotations

from enum import Enum, auto

import asyncpg

_OF_THE_OP = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.SyntaxOrAccessError,
)
"""What is said of a value or a statement, whatever state the server is in."""

_PASSING = (
    OSError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.TransactionRollbackError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
"""What another connection, or the same a moment later, may not meet: a server that restarts or fails over, a
deadlock, a driver whose state is broken (asyncpg #1069), a lock that was not to be had, a plan that is outdated, a
pooler that has come in between and loses prepared statements."""


class Fault(Enum):
    """Whose fault it is."""

    OF_THE_OP = auto()
    """No other try would fare better, but other ops would."""
    PASSING = auto()
    OF_THE_STORE = auto()
    """No op would fare better now: a full disk, no memory, no permission."""


def fault_of(error: BaseException) -> Fault:
    """Return whose fault an exception is; what is not the driver's at all is the op's."""
    if isinstance(error, asyncpg.InterfaceError):
        # A value that cannot be sent; else the connection was closed, or is busy with something that was broken off.
        return Fault.OF_THE_OP if isinstance(error, ValueError) else Fault.PASSING
    if isinstance(error, _PASSING):
        return Fault.PASSING
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return Fault.OF_THE_STORE
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, _OF_THE_OP):
        return Fault.OF_THE_STORE
    return Fault.OF_THE_OP


def lacks_a_partition(error: BaseException) -> bool:
    """Return whether a row found no partition for its id."""
    return isinstance(error, asyncpg.CheckViolationError) and getattr(error, "constraint_name", None) is None
