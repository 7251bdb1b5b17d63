"""Consumer transactions, moved by the core's rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tocsin.core.identifiers import bucket_of
from tocsin.core.transaction import Transaction, TransactionRefusal
from tocsin.engine.codec import transaction_of, transaction_row
from tocsin.engine.postgres.sql import Connection, fetch_by_ids, fetch_by_rows, write_at_once
from tocsin.engine.rows import TransactionStep
from tocsin.engine.stepping import moved, wants_output


async def transact(
    connection: Connection, steps: Sequence[TransactionStep]
) -> list[Transaction | TransactionRefusal]:
    """Move each transaction in turn; the events are locked, so that racing steps come one after another."""
    rows = await fetch_by_ids(connection, "lock_events", {step.event_id for step in steps})
    events = {row[0]: row for row in rows}
    asked: dict[tuple[bytes, str], tuple[int, bytes, str, bool]] = {}
    for step in steps:
        key = (step.event_id, step.tx_key)
        with_output = wants_output(step) or (key in asked and asked[key][3])
        asked[key] = (bucket_of(step.event_id), *key, with_output)
    found = {
        (row[0], row[1]): transaction_of(row[2], row[3])
        for row in await fetch_by_rows(connection, "transactions_by_key", list(asked.values()))
    }
    results: list[Transaction | TransactionRefusal] = []
    saved: dict[tuple[bytes, str], tuple[Any, ...]] = {}
    for step in steps:
        event = events.get(step.event_id)
        if event is None or event[1:3] != (step.organisation_id, step.environment.value):
            results.append(TransactionRefusal.NOT_FOUND)
            continue
        key = (step.event_id, step.tx_key)
        stands = found.get(key)
        result = moved(stands, step, event_type=event[3])
        if isinstance(result, Transaction) and result is not stands:
            found[key] = result
            saved[key] = transaction_row(result, step.environment)
        results.append(result)
    await write_at_once(connection, "save_transactions", list(saved.values()))
    return results
