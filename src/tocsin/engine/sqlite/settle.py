"""Claiming deliveries, recording what became of them, and changing them by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apsw

from tocsin.core.delivery import Attempt, DeliveryState, Lease
from tocsin.core.identifiers import DeliveryId, DestinationId, EventId, OrganisationId
from tocsin.engine.codec import STATE_CODES, attempt_body, event_of
from tocsin.engine.rounds import Turn, first_turns, in_rounds
from tocsin.engine.rows import (
    Amendment,
    AmendmentResult,
    Cancel,
    Finished,
    Retry,
    Settlement,
)
from tocsin.engine.sqlite.sql import SQL, fetch_by_marks, fetch_by_rows, first, write_rows

_READY = STATE_CODES[DeliveryState.READY]
_LEASED = STATE_CODES[DeliveryState.LEASED]
_BLOCKED = STATE_CODES[DeliveryState.BLOCKED]
_DELIVERED = Finished(DeliveryState.DELIVERED)
_CANCELLED = STATE_CODES[DeliveryState.CANCELLED]


def claim(
    connection: apsw.Connection,
    *,
    limit: int,
    per_destination: int,
    lease_until_ms: int,
    skip: frozenset[DestinationId],
    now_ms: int,
) -> list[Lease]:
    """Lease due deliveries, each destination's oldest first, in rounds over the destinations."""
    heads = [row for row in connection.execute(SQL["longest_due"], (now_ms,)) if row[0] not in skip]
    heads.sort(key=lambda row: row[1])
    # Every destination comes first to its first turn: those behind the limit are left out from the start.
    destinations = [destination_id for destination_id, _ in heads[:limit]]
    chosen = _chosen(connection, destinations, limit=limit, per_destination=per_destination, now_ms=now_ms)
    leased = {row[0]: row for row in fetch_by_marks(connection, "lease_deliveries", (lease_until_ms,), chosen)}
    wanted = list({row[1] for row in leased.values()})
    events = {row[0]: event_of(row) for row in fetch_by_marks(connection, "events_by_id", (), wanted)}
    return [
        Lease(
            delivery_id=DeliveryId(delivery_id),
            destination_id=DestinationId(leased[delivery_id][2]),
            event=events[leased[delivery_id][1]],
            number=leased[delivery_id][3],
            attempts_made=leased[delivery_id][4],
            until_ms=lease_until_ms,
            lane=leased[delivery_id][5],
            retries_from=leased[delivery_id][6],
        )
        for delivery_id in chosen
        if delivery_id in leased and leased[delivery_id][1] in events
    ]


def _chosen(
    connection: apsw.Connection,
    destinations: Sequence[bytes],
    *,
    limit: int,
    per_destination: int,
    now_ms: int,
) -> list[bytes]:
    """Return due deliveries: the first of each destination, then the second of each, the longest due first.

    No more are read of a destination than its turns need: their number is guessed, and doubled where it falls short.
    """
    if not destinations:
        return []
    turns = first_turns(len(destinations), limit=limit, per_destination=per_destination)
    due = {each: _due(connection, each, turns, now_ms) for each in destinations}
    while turns < per_destination and sum(map(len, due.values())) < limit:
        deeper = [each for each, found in due.items() if len(found) == turns]
        if not deeper:
            break
        turns = min(per_destination, 2 * turns)
        due.update({each: _due(connection, each, turns, now_ms) for each in deeper})
    return in_rounds(due.values(), limit=limit)


def _due(connection: apsw.Connection, destination_id: bytes, limit: int, now_ms: int) -> list[Turn]:
    turns: list[Any] = connection.execute(SQL["due_of_destination"], (destination_id, now_ms, limit)).fetchall()
    return turns


def settle(connection: apsw.Connection, settlements: Sequence[Settlement], *, now_ms: int) -> list[bool]:
    """Record the attempts; move what is finished to the history, make the rest due again.

    A lease counts once: whatever else a batch says of it comes too late.
    """
    said: dict[_LeaseKey, Settlement] = {}
    for each in settlements:
        said.setdefault(_key(each), each)
    taken = _take_finished(connection, said.values())
    numbers = _reschedule(connection, said.values())
    history: list[tuple[Any, ...]] = []
    for each in said.values():
        row = taken.get(_key(each))
        if row is not None and isinstance(each.then, Finished):
            attempts_made: int = row[6] + (each.attempt is not None)
            history.append(_history_row(row, each.then, each.attempt, attempts_made, now_ms))
            numbers[_key(each)] = 0 if each.attempt is None else attempts_made
    write_rows(connection, "insert_history", history)
    write_rows(connection, "keep_posted", _posted(said, taken))
    verdicts: list[bool] = []
    attempts: list[tuple[Any, ...]] = []
    for each in settlements:
        number = numbers.pop(_key(each), None)
        verdicts.append(number is not None)
        if each.attempt is not None and (number is not None or _exists(connection, each.lease.delivery_id)):
            attempts.append((each.lease.delivery_id, number or 0, attempt_body(each.attempt)))
    write_rows(connection, "insert_attempts", attempts)
    _promote(connection, taken.values(), now_ms)
    return verdicts


_LeaseKey = tuple[DeliveryId, int]


def _key(each: Settlement) -> _LeaseKey:
    return each.lease.delivery_id, each.lease.number


def _exists(connection: apsw.Connection, delivery_id: DeliveryId) -> bool:
    return first(connection, "delivery_exists", delivery_id) is not None


def _take_finished(
    connection: apsw.Connection, settlements: Iterable[Settlement]
) -> dict[_LeaseKey, tuple[Any, ...]]:
    """Take what is finished out of the live table; return the rows whose lease still stood."""
    finished = [_key(each) for each in settlements if isinstance(each.then, Finished)]
    return {(row[0], row[5]): row for row in fetch_by_rows(connection, "take_finished", finished)}


def _posted(
    said: Mapping[_LeaseKey, Settlement], taken: Mapping[_LeaseKey, tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Return what is kept of messages that told a subject: how their remotes call them."""
    return [
        (row[4], row[7], row[1], row[2], row[3], attempt.remote_id)
        for key, row in taken.items()
        if (attempt := said[key].attempt) is not None
        and attempt.remote_id is not None
        and row[7] is not None
        and said[key].then == _DELIVERED
    ]


def _reschedule(connection: apsw.Connection, settlements: Iterable[Settlement]) -> dict[_LeaseKey, int]:
    """Make the unfinished ones due again; return the attempt's number, 0 without one, where the lease still stood."""
    released: list[tuple[Any, ...]] = []
    tried: list[tuple[Any, ...]] = []
    uncounted: set[_LeaseKey] = set()
    for each in settlements:
        attempt, then = each.attempt, each.then
        if isinstance(then, Finished):
            continue
        if attempt is None:
            released.append((*_key(each), then.due_ms))
            continue
        tried.append(
            (*_key(each), then.due_ms, int(then.counted), attempt.status_code, attempt.duration_ms, attempt.error)
        )
        if not then.counted:
            uncounted.add(_key(each))
    numbers: dict[_LeaseKey, int] = {}
    for delivery_id, lease in fetch_by_rows(connection, "release_deliveries", released):
        numbers[delivery_id, lease] = 0
    for delivery_id, lease, attempts in fetch_by_rows(connection, "retry_deliveries", tried):
        numbers[delivery_id, lease] = attempts + ((delivery_id, lease) in uncounted)
    return numbers


def _history_row(
    row: tuple[Any, ...], then: Finished, attempt: Attempt | None, attempts_made: int, now_ms: int
) -> tuple[Any, ...]:
    last = row[8:] if attempt is None else (attempt.status_code, attempt.duration_ms, attempt.error)
    return (*row[:5], STATE_CODES[then.state], now_ms, row[5], attempts_made, row[7], *last)


def _promote(connection: apsw.Connection, finished: Iterable[tuple[Any, ...]], now_ms: int) -> None:
    """Let the next ones go in the lanes of these deliveries."""
    freed = {(row[4], row[7]) for row in finished if row[7] is not None}
    write_rows(connection, "promote_lanes", list(freed), now_ms)


# -- by hand -----------------------------------------------------------------------------------------------


def amend(connection: apsw.Connection, amendments: Sequence[Amendment], *, now_ms: int) -> list[AmendmentResult]:
    """Carry out each amendment in turn."""
    results: list[AmendmentResult] = []
    for each in amendments:
        if isinstance(each, Cancel):
            results.append(_cancel(connection, each, now_ms))
        else:
            results.append(_retry_by_hand(connection, each))
    return results


def cancel_waiting(
    connection: apsw.Connection, organisation_id: OrganisationId, event_id: EventId, *, now_ms: int
) -> None:
    """Cancel what an event still has waiting; what is being sent right now runs its course."""
    rows = connection.execute(SQL["take_waiting_of_event"], (event_id, organisation_id)).fetchall()
    _bury(connection, rows, now_ms)


def _bury(connection: apsw.Connection, rows: list[tuple[Any, ...]], now_ms: int) -> None:
    write_rows(connection, "insert_history", [(*row[:5], _CANCELLED, now_ms, *row[5:]) for row in rows])
    _promote(connection, rows, now_ms)


def _cancel(connection: apsw.Connection, each: Cancel, now_ms: int) -> AmendmentResult:
    rows = connection.execute(SQL["take_live"], (each.delivery_id, each.organisation_id)).fetchall()
    if rows:
        _bury(connection, rows, now_ms)
        return AmendmentResult.DONE
    final = first(connection, "is_final", each.delivery_id, each.organisation_id)
    return AmendmentResult.NOT_FOUND if final is None else AmendmentResult.REFUSED


def _retry_by_hand(connection: apsw.Connection, each: Retry) -> AmendmentResult:
    live = first(connection, "live_state", each.delivery_id, each.organisation_id)
    if live is not None:
        if live[0] == _LEASED:
            return AmendmentResult.REFUSED
        connection.execute(SQL["hurry_delivery"], (each.due_ms, each.delivery_id))
        return AmendmentResult.DONE
    row = first(connection, "take_final", each.delivery_id, each.organisation_id)
    if row is None:
        return AmendmentResult.NOT_FOUND
    state, place = _place(connection, row[4], row[7], _seq(connection, EventId(row[3]), each.organisation_id))
    connection.execute(SQL["revive_delivery"], (*row, state, each.due_ms, place, row[6]))
    return AmendmentResult.DONE


def _seq(connection: apsw.Connection, event_id: EventId, organisation_id: OrganisationId) -> int | None:
    row = first(connection, "seq_of_event", event_id, organisation_id)
    return None if row is None else int(row[0])


def _place(
    connection: apsw.Connection, destination_id: bytes, lane: bytes | None, seq: int | None
) -> tuple[int, int | None]:
    """Return the state in which a delivery joins its lane, and its place there."""
    if lane is None:
        return _READY, None
    busy = any(fetch_by_rows(connection, "busy_lanes", [(destination_id, lane)]))
    return (_BLOCKED if busy else _READY), seq
