"""Dropping what is past its time, a little at a time."""

from __future__ import annotations

import time

import apsw

from tocsin.core.identifiers import first_id_at
from tocsin.engine.sqlite.sql import SQL, first

_PORTION = 200
"""Rows between two looks at the clock, so that no commit waits long for a sweep."""

_DEPENDENTS = (
    "drop_attempts_of_event",
    "drop_history_of_event",
    "drop_transactions_of_event",
    "drop_replayed",
    "drop_incident",
)


def tend(connection: apsw.Connection, *, now_ms: int, retention_ms: int | None, budget_ms: int) -> bool:
    """Drop expired keys and mailbox items, and events past retention with all that hangs on them.

    An event that still has a live delivery is kept until that is settled.

    Returns:
        Whether there is more to do.
    """
    deadline_s = time.monotonic() + budget_ms / 1000
    more = True
    while more and time.monotonic() < deadline_s:
        more = False
        for name in ("expired_keys", "expired_items"):
            dropped = len(connection.execute(SQL[name], (now_ms, _PORTION)).fetchall())
            more = more or dropped == _PORTION
        if retention_ms is not None:
            more = _drop_events(connection, now_ms - retention_ms) or more
    return more


def _drop_events(connection: apsw.Connection, before_ms: int) -> bool:
    old = connection.execute(SQL["old_events"], (first_id_at(before_ms), _PORTION)).fetchall()
    dropped = 0
    for seq, event_id in old:
        if first(connection, "has_live_delivery", event_id) is not None:
            continue
        for name in _DEPENDENTS:
            connection.execute(SQL[name], (event_id,))
        connection.execute(SQL["drop_event"], (seq,))
        dropped += 1
    return dropped == _PORTION
