"""Consumer transactions, moved by the core's rules."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from tocsin.core.transaction import (
    StateChange,
    Transaction,
    TransactionRefusal,
    TransactionState,
    begin,
    end,
    move,
)
from tocsin.engine.rows import Begin, End, TransactionStep
from tocsin.engine.sqlite.sql import SQL, first

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Transaction).decode


def transaction_of(body: bytes, output: str | None = None) -> Transaction:
    """Return the transaction that was stored, with its output where that was read too."""
    found = _unpack(body)
    return found if output is None else msgspec.structs.replace(found, output=output)


def transact(connection: apsw.Connection, steps: Sequence[TransactionStep]) -> list[Transaction | TransactionRefusal]:
    """Move each transaction in turn."""
    return [_step(connection, step) for step in steps]


def _step(connection: apsw.Connection, step: TransactionStep) -> Transaction | TransactionRefusal:
    event = first(connection, "event_for_transaction", step.event_id, step.organisation_id, step.environment.value)
    if event is None:
        return TransactionRefusal.NOT_FOUND
    # Whether one may begin does not hang on the output, and one that begins anew has none.
    with_output = not isinstance(step, Begin)
    row = first(connection, "transaction_by_key", step.event_id, step.tx_key, with_output)
    found = None if row is None else transaction_of(*row)
    moved = _moved(found, step, event_type=event[0])
    if isinstance(moved, Transaction) and moved is not found:
        connection.execute(
            SQL["save_transaction"],
            (
                moved.event_id,
                moved.tx_key,
                moved.organisation_id,
                moved.event_type,
                step.environment.value,
                moved.state.value,
                moved.lease_until_ms,
                # The output has a column of its own: the rest is read without it.
                _pack(moved if moved.output is None else msgspec.structs.replace(moved, output=None)),
                moved.output,
            ),
        )
    return moved


def _moved(found: Transaction | None, step: TransactionStep, *, event_type: str) -> Transaction | TransactionRefusal:
    if isinstance(step, Begin):
        wanted = Transaction(
            event_id=step.event_id,
            organisation_id=step.organisation_id,
            tx_key=step.tx_key,
            event_type=event_type,
            state=TransactionState.PROCESSING,
            started_ms=step.now_ms,
            lease_until_ms=step.lease_until_ms,
            history=(StateChange(None, TransactionState.PROCESSING.value, step.now_ms, step.by),),
        )
        return begin(found, wanted, now_ms=step.now_ms)
    if isinstance(step, End):
        return end(found, step.state, step.output, now_ms=step.now_ms, by=step.by)
    return move(found, step.state, now_ms=step.now_ms, by=step.by, lease_until_ms=step.lease_until_ms)
