"""Transactions: one consumer group's claim on one event."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.core.identifiers import EventId, OrganisationId


class TransactionState(StrEnum):
    """Where a consumer group stands with an event; no row at all is Buildable's ``does-not-exist``."""

    PENDING = "pending"
    PROCESSING = "processing"
    FINISHED = "finished"
    FAILED = "failed"


TX_KEY_BYTES_MAX = 512
"""Of a consumer group's name in UTF-8, which stands beside an event's type in the rows of PostgreSQL's indexes."""

HISTORY_NEWEST_KEPT = 99
"""Steps kept beside the first one: every step rewrites the row, so a history without end makes each one dearer."""

ENDED = frozenset({TransactionState.FINISHED, TransactionState.FAILED})


class StateChange(msgspec.Struct, frozen=True):
    """One step in a history: from what, to what, when, by whom.

    Attributes:
        left: the state before; None for the first.
        at_ms: when.
        by: who asked for it, a key's id or the consumer group.
    """

    left: str | None
    entered: str
    at_ms: int
    by: str


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One consumer group's claim on one event.

    Attributes:
        tx_key: names the consumer group.
        event_type: the event's type, kept here so that a query by it needs no join.
        ended_ms: None while open.
        output: what the consumer said at the end.
        lease_until_ms: when an unfinished one may be taken by another; None is never.
        history: its steps, oldest first; of a long one the first step and the newest.
        steps_dropped: how many steps between those are not kept any more.
    """

    event_id: EventId
    organisation_id: OrganisationId
    tx_key: str
    event_type: str
    state: TransactionState
    started_ms: int
    ended_ms: int | None = None
    output: str | None = None
    lease_until_ms: int | None = None
    history: tuple[StateChange, ...] = ()
    steps_dropped: int = 0

    @property
    def steps_made(self) -> int:
        """How many steps it has made in all."""
        return len(self.history) + self.steps_dropped


class TransactionRefusal(StrEnum):
    """Why a step is refused."""

    NOT_FOUND = "not_found"
    EXISTS = "exists"
    ENDED = "ended"


def begin(found: Transaction | None, wanted: Transaction, *, now_ms: int) -> Transaction | TransactionRefusal:
    """Return the transaction that starts now, or why it may not.

    One that exists refuses a second, which is the mutual exclusion between consumers; only a lease that has run
    out is taken over, and the history keeps that.
    """
    if found is None:
        return wanted
    lapsed = (
        found.state is TransactionState.PROCESSING
        and found.lease_until_ms is not None
        and found.lease_until_ms <= now_ms
    )
    if not lapsed:
        return TransactionRefusal.EXISTS
    return _with_steps(wanted, found, wanted.history)


def end(
    found: Transaction | None, state: TransactionState, output: str | None, *, now_ms: int, by: str
) -> Transaction | TransactionRefusal:
    """Return the transaction ended, or why it may not be; the same end told again is no change."""
    if found is None:
        return TransactionRefusal.NOT_FOUND
    if found.state in ENDED:
        same = found.state is state and found.output == output
        return found if same else TransactionRefusal.ENDED
    return _moved(found, state, now_ms=now_ms, by=by, output=output)


def move(
    found: Transaction | None,
    state: TransactionState,
    *,
    now_ms: int,
    by: str,
    lease_until_ms: int | None = None,
) -> Transaction | TransactionRefusal:
    """Return the transaction in ``state``, whichever of the three it had before; re-opening is allowed.

    Args:
        lease_until_ms: until when one that is then processing is leased; told of one that is processing already, it
            prolongs the lease and adds nothing to the history.
    """
    if found is None:
        return TransactionRefusal.NOT_FOUND
    if state in ENDED:
        lease_until_ms = None
    if found.state is state:
        if lease_until_ms in (None, found.lease_until_ms):
            return found
        return msgspec.structs.replace(found, lease_until_ms=lease_until_ms)
    return _moved(found, state, now_ms=now_ms, by=by, output=found.output, lease_until_ms=lease_until_ms)


def _moved(
    found: Transaction,
    state: TransactionState,
    *,
    now_ms: int,
    by: str,
    output: str | None,
    lease_until_ms: int | None = None,
) -> Transaction:
    step = StateChange(found.state.value, state.value, now_ms, by)
    moved = msgspec.structs.replace(
        found,
        state=state,
        ended_ms=now_ms if state in ENDED else None,
        output=output,
        lease_until_ms=lease_until_ms,
    )
    return _with_steps(moved, found, (step,))


def _with_steps(moved: Transaction, found: Transaction, steps: tuple[StateChange, ...]) -> Transaction:
    """Return ``moved`` with the history of ``found`` and these further steps."""
    first, rest = found.history[:1], found.history[1:] + steps
    if not first:
        first, rest = steps[:1], steps[1:]
    kept = rest[-HISTORY_NEWEST_KEPT:]
    return msgspec.structs.replace(
        moved, history=first + kept, steps_dropped=found.steps_dropped + len(rest) - len(kept)
    )
