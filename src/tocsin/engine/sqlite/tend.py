"""Dropping what is past its time, a little at a time."""

from __future__ import annotations

import time
from typing import Any

import apsw
import msgspec

from tocsin.core.identifiers import first_id_at
from tocsin.engine.sqlite.sql import SQL

_PORTION = 200
"""Rows between two looks at the clock, so that no commit waits long for a sweep."""

_DEPENDENTS = (
    "drop_attempts_of_event",
    "drop_history_of_event",
    "drop_transactions_of_event",
    "drop_replayed",
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept; None is for ever.

    Attributes:
        jobs_ms: from their end on.
    """

    events_ms: int | None
    audit_ms: int | None
    jobs_ms: int | None


def tend(connection: apsw.Connection, *, now_ms: int, kept: Kept, budget_ms: int) -> bool:
    """Drop expired keys and mailbox items, and events past retention with all that hangs on them; jobs, audit.

    An event is kept while a delivery of it is live or an item of it waits in a mailbox, an incident while it is open.

    Returns:
        Whether there is more to do.
    """
    deadline_s = time.monotonic() + budget_ms / 1000
    more = True
    while more and time.monotonic() < deadline_s:
        swept = [_count(connection, name, now_ms) for name in ("expired_keys", "expired_items")]
        if kept.jobs_ms is not None:
            swept.append(_count(connection, "old_jobs", now_ms - kept.jobs_ms))
        if kept.audit_ms is not None:
            swept.append(_count(connection, "old_audit", first_id_at(now_ms - kept.audit_ms)))
        if kept.events_ms is not None:
            before_ms = now_ms - kept.events_ms
            swept.append(_drop_events(connection, before_ms))
            swept.append(_count(connection, "old_incidents", first_id_at(before_ms), before_ms))
        more = max(swept) == _PORTION
    return more


def _count(connection: apsw.Connection, name: str, *bindings: Any) -> int:
    return len(connection.execute(SQL[name], (*bindings, _PORTION)).fetchall())


def _drop_events(connection: apsw.Connection, before_ms: int) -> int:
    old = connection.execute(SQL["old_events"], (first_id_at(before_ms), _PORTION)).fetchall()
    for seq, event_id in old:
        for name in _DEPENDENTS:
            connection.execute(SQL[name], (event_id,))
        connection.execute(SQL["drop_event"], (seq,))
    return len(old)
