"""Steps of consumer transactions, carried out by the core's rules."""

from __future__ import annotations

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


def wants_output(step: TransactionStep) -> bool:
    """Return whether a step has to know the output that is stored, which may be long.

    Whether one may begin does not hang on it, and one that begins anew has none.
    """
    return not isinstance(step, Begin)


def moved(found: Transaction | None, step: TransactionStep, *, event_type: str) -> Transaction | TransactionRefusal:
    """Return the transaction after a step, the one that was found where nothing changes, or why it is refused.

    Args:
        found: as it stands; None where the group has none of this event.
        event_type: the event's.
    """
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
