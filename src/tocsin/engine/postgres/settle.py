"""Recording what became of leased deliveries, and cancelling what a replay takes the place of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tocsin.core.delivery import Attempt, DeliveryState
from tocsin.core.identifiers import DeliveryId, bucket_of
from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.codec import STATE_CODES, attempt_body
from tocsin.engine.postgres import lanes
from tocsin.engine.postgres.sql import Connection, Row, fetch_by_ids, fetch_by_rows, write_at_once, write_rows
from tocsin.engine.rows import Finished, Settlement

_CANCELLED = STATE_CODES[DeliveryState.CANCELLED]
_DELIVERED = Finished(DeliveryState.DELIVERED)

_LeaseKey = tuple[DeliveryId, int]


async def settle(
    connection: Connection, settlements: Sequence[Settlement], *, now_ms: int, in_doubt: bool
) -> list[bool]:
    """Record the attempts; move what is finished to the history, make the rest due again.

    A lease counts once: whatever else a batch says of it comes too late.

    Args:
        in_doubt: whether an earlier try of the same batch may have been committed; what it did is not done again.
    """
    done = await _done_before(connection, settlements) if in_doubt else {}
    batch = _Batch(connection, [each for each in settlements if _identity(each) not in done], now_ms)
    verdicts = iter(await batch.settle())
    return [done[_identity(each)] if _identity(each) in done else next(verdicts) for each in settlements]


def _key(each: Settlement) -> _LeaseKey:
    return each.lease.delivery_id, each.lease.number


def _identity(each: Settlement) -> tuple[DeliveryId, int, bytes | None]:
    return *_key(each), None if each.attempt is None else attempt_body(each.attempt)


class _Batch:
    """Settlements on their way in."""

    def __init__(self, connection: Connection, settlements: Sequence[Settlement], now_ms: int) -> None:
        self._connection = connection
        self._settlements = settlements
        self._now_ms = now_ms
        self._said: dict[_LeaseKey, Settlement] = {}
        for each in settlements:
            self._said.setdefault(_key(each), each)
        self._standing: dict[_LeaseKey, Row] = {}

    async def settle(self) -> list[bool]:
        if not self._settlements:
            return []
        connection = self._connection
        ending = [each for each in self._said.values() if isinstance(each.then, Finished)]
        freed = {(each.lease.destination_id, each.lease.lane) for each in ending if each.lease.lane is not None}
        await lanes.lock(connection, freed)
        keys = [(bucket_of(key[0]), *key) for key in self._said]
        self._standing = {(row[0], row[1]): row for row in await fetch_by_rows(connection, "lock_leased", keys)}
        over = [each for each in ending if _key(each) in self._standing]
        await write_rows(connection, "drop_deliveries", [_place(each) for each in over])
        await write_at_once(connection, "insert_history", [self._history_row(each) for each in over])
        await write_rows(connection, "put_off_deliveries", self._put_off())
        await write_at_once(connection, "keep_posted", self._posted(over))
        verdicts = await self._record()
        await lanes.leave(connection, freed, self._now_ms)
        return verdicts

    def _history_row(self, each: Settlement) -> tuple[Any, ...]:
        assert isinstance(each.then, Finished)
        row = self._standing[_key(each)]
        attempts_made = row[2] + (each.attempt is not None)
        ended = (STATE_CODES[each.then.state], self._now_ms, row[1], attempts_made, row[6])
        return (*_place(each), row[3], row[4], row[5], *ended, *_last(row, each.attempt))

    def _put_off(self) -> list[tuple[Any, ...]]:
        """Return the rows of what is due again; a release leaves everything else as it was."""
        rows = []
        for key, each in self._said.items():
            row = self._standing.get(key)
            if row is None or isinstance(each.then, Finished):
                continue
            attempts_made = row[2] + (each.attempt is not None and each.then.counted)
            rows.append((*_place(each), each.then.due_ms, attempts_made, *_last(row, each.attempt)))
        return rows

    def _posted(self, over: Iterable[Settlement]) -> list[tuple[Any, ...]]:
        """Return what is kept of messages that told a subject, the last of each lane: how their remotes call them."""
        rows = {}
        for each in over:
            row, attempt = self._standing[_key(each)], each.attempt
            if attempt is None or attempt.remote_id is None or row[6] is None or each.then != _DELIVERED:
                continue
            rows[row[5], row[6]] = (
                lane_bucket(row[6]),
                row[5],
                row[6],
                row[3],
                row[4],
                attempt.remote_id,
            )
        return list(rows.values())

    async def _record(self) -> list[bool]:
        """Keep the attempts, late ones of deliveries that exist with number 0; return whether each lease stood."""
        standing = dict(self._standing)
        verdicts: list[bool] = []
        numbered: list[tuple[Settlement, int]] = []
        for each in self._settlements:
            row = standing.pop(_key(each), None)
            verdicts.append(row is not None)
            if each.attempt is not None:
                numbered.append((each, 0 if row is None else row[2] + 1))
        late = {each.lease.delivery_id for each, number in numbered if number == 0}
        existing = (
            {row[0] for row in await fetch_by_ids(self._connection, "existing_deliveries", late)} if late else set()
        )
        rows = [
            (*_place(each), number, attempt_body(each.attempt))
            for each, number in numbered
            if each.attempt is not None and (number or each.lease.delivery_id in existing)
        ]
        await write_at_once(self._connection, "insert_attempts", rows)
        return verdicts


def _place(each: Settlement) -> tuple[int, DeliveryId]:
    return bucket_of(each.lease.delivery_id), each.lease.delivery_id


def _last(row: Row, attempt: Attempt | None) -> tuple[Any, ...]:
    """Return what a delivery shows of its last attempt."""
    if attempt is None:
        return row[7], row[8], row[9]
    return attempt.status_code, attempt.duration_ms, attempt.error


async def _done_before(
    connection: Connection, settlements: Sequence[Settlement]
) -> dict[tuple[DeliveryId, int, bytes | None], bool]:
    """Return the verdicts that an earlier try of the batch came to, as far as it left a trace."""
    identities = [_identity(each) for each in settlements]
    tried = [(bucket_of(each[0]), each[0], each[2]) for each in identities if each[2] is not None]
    recorded = {(row[0], row[1]): row[2] for row in await fetch_by_rows(connection, "recorded_attempts", tried)}
    released = [(bucket_of(each[0]), *each[:2]) for each in identities if each[2] is None]
    freed = {row[0] for row in await fetch_by_rows(connection, "freed_already", released)}
    done: dict[tuple[DeliveryId, int, bytes | None], bool] = {}
    for identity in identities:
        number = recorded.get((identity[0], identity[2]))
        if number is not None:
            done[identity] = number > 0
        elif identity[2] is None and identity[0] in freed:
            done[identity] = True
    return done


async def cancel_waiting(
    connection: Connection, replayed: Sequence[tuple[int, bytes, bytes]], *, now_ms: int
) -> None:
    """Cancel what events still have waiting; what is being sent right now runs its course.

    Args:
        replayed: buckets and ids of events, each with its organisation's.
    """
    if replayed:
        await bury(connection, await fetch_by_rows(connection, "take_waiting_of_events", replayed), now_ms)


async def bury(connection: Connection, rows: Sequence[Row], now_ms: int) -> None:
    """Move deliveries that were taken out of the queue into the history, cancelled."""
    history = [(*row[:5], _CANCELLED, now_ms, *row[5:]) for row in rows]
    await write_at_once(connection, "insert_history", history)
    freed = {(row[4], row[7]) for row in rows if row[7] is not None}
    await lanes.lock(connection, freed)
    await lanes.leave(connection, freed, now_ms)
