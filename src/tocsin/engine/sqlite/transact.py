"""Consumer transactions, moved by the core's rules."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from tocsin.core.transaction import Transaction, TransactionRefusal
from tocsin.engine.codec import transaction_of, transaction_row
from tocsin.engine.rows import TransactionStep
from tocsin.engine.sqlite.sql import SQL, first
from tocsin.engine.stepping import moved, wants_output


def transact(connection: apsw.Connection, steps: Sequence[TransactionStep]) -> list[Transaction | TransactionRefusal]:
    """Move each transaction in turn."""
    return [_step(connection, step) for step in steps]


def _step(connection: apsw.Connection, step: TransactionStep) -> Transaction | TransactionRefusal:
    event = first(connection, "event_for_transaction", step.event_id, step.organisation_id, step.environment.value)
    if event is None:
        return TransactionRefusal.NOT_FOUND
    row = first(connection, "transaction_by_key", step.event_id, step.tx_key, wants_output(step))
    found = None if row is None else transaction_of(*row)
    result = moved(found, step, event_type=event[0])
    if isinstance(result, Transaction) and result is not found:
        _, *row_of_it = transaction_row(result, step.environment)
        connection.execute(SQL["save_transaction"], row_of_it)
    return result
