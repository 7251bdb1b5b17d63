"""Runs of started events, which an event that is stored among old ones cuts."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.core.event import Event
from tocsin.core.identifiers import first_id_at
from tocsin.engine.postgres.sql import Connection, lock_gate, write_at_once

SETTLED_MS = 600_000
"""How old an event is before a run holds it; what is younger is looked at by each search anew, so this is short."""

OPEN_MAX_S = SETTLED_MS / 4000
"""While a transaction that writes is open for longer, no run is written down: it may store an event within one. From
here to half of the above is what clocks may differ by, and what an event may wait for its transaction."""

GATE = "runs"


async def cut(connection: Connection, events: Sequence[Event], now_ms: int) -> None:
    """End the runs that would step over events whose ids lie among old ones.

    From half the age on at which runs begin, so that what is neither here nor there is cut too. The gate is held
    until the events are committed: who writes a run down meanwhile waits, and sees them then.
    """
    oldest = first_id_at(now_ms - SETTLED_MS // 2)
    fallen = [(event.organisation_id, event.type, event.id) for event in events if event.id < oldest]
    if fallen:
        await lock_gate(connection, GATE)
        await write_at_once(connection, "cut_runs", fallen)
