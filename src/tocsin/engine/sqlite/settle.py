"""Claiming deliveries, recording what became of them, and changing them by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from tocsin.core.delivery import DeliveryState, Lease
from tocsin.core.identifiers import DeliveryId, DestinationId, EventId, OrganisationId, bucket_of
from tocsin.engine.codec import STATE_CODES, attempt_body, event_of
from tocsin.engine.rows import (
    Amendment,
    AmendmentResult,
    Cancel,
    Deliver,
    Finished,
    Retry,
    RetryAt,
    Settlement,
)
from tocsin.engine.sqlite.sql import SQL, fetch_by_marks, fetch_by_rows, first, insert

_LEASED = STATE_CODES[DeliveryState.LEASED]
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
    rounds: list[tuple[int, int, bytes]] = []
    each = min(limit, per_destination)
    for (destination_id,) in connection.execute(SQL["destinations_with_work"]).fetchall():
        if destination_id in skip:
            continue
        due = connection.execute(SQL["due_of_destination"], (destination_id, now_ms, each))
        rounds.extend((turn, due_ms, delivery_id) for turn, (delivery_id, due_ms) in enumerate(due))
    rounds.sort()
    chosen = [delivery_id for _, _, delivery_id in rounds[:limit]]
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
        )
        for delivery_id in chosen
        if delivery_id in leased and leased[delivery_id][1] in events
    ]


def extend(connection: apsw.Connection, leases: Sequence[Lease], *, lease_until_ms: int) -> list[bool]:
    """Prolong the leases that still stand."""
    return [
        first(connection, "extend_lease", lease_until_ms, lease.delivery_id, lease.number) is not None
        for lease in leases
    ]


def settle(connection: apsw.Connection, settlements: Sequence[Settlement], *, now_ms: int) -> list[bool]:
    """Record the attempts; move what is finished to the history, make the rest due again."""
    finished = {each.lease.delivery_id: each for each in settlements if isinstance(each.then, Finished)}
    taken = {
        row[0]: row
        for row in fetch_by_rows(
            connection,
            "take_finished",
            [(delivery_id, each.lease.number) for delivery_id, each in finished.items()],
        )
    }
    history: list[tuple[Any, ...]] = []
    attempts: list[tuple[Any, ...]] = []
    verdicts: list[bool] = []
    for each in settlements:
        if isinstance(each.then, Finished):
            row = taken.get(each.lease.delivery_id)
            number = None if row is None else row[6] + (each.attempt is not None)
            if row is not None:
                history.append(_history_row(row, each, number or 0, now_ms))
        else:
            number = _retry(connection, each, each.then)
        verdicts.append(number is not None)
        if each.attempt is not None:
            attempts.append((each.lease.delivery_id, number or 0, attempt_body(each.attempt)))
    insert(connection, "insert_history", history)
    insert(connection, "insert_attempts", attempts)
    for row in taken.values():
        _promote(connection, row[4], row[7], now_ms)
    return verdicts


def _history_row(row: tuple[Any, ...], each: Settlement, attempts_made: int, now_ms: int) -> tuple[Any, ...]:
    assert isinstance(each.then, Finished)
    attempt = each.attempt
    return (
        *row[:5],
        STATE_CODES[each.then.state],
        now_ms,
        row[5],
        attempts_made,
        row[7],
        None if attempt is None else attempt.status_code,
        None if attempt is None else attempt.duration_ms,
        None if attempt is None else attempt.error,
    )


def _retry(connection: apsw.Connection, each: Settlement, then: RetryAt) -> int | None:
    """Make a delivery due again; return the attempt's number, 0 without one, or None when the lease is lost."""
    lease, attempt = each.lease, each.attempt
    if attempt is None:
        row = first(connection, "release_delivery", then.due_ms, lease.delivery_id, lease.number)
        return None if row is None else 0
    row = first(
        connection,
        "retry_delivery",
        then.due_ms,
        int(then.counted),
        attempt.status_code,
        attempt.duration_ms,
        attempt.error,
        lease.delivery_id,
        lease.number,
    )
    if row is None:
        return None
    return int(row[0]) if then.counted else int(row[0]) + 1


def _promote(connection: apsw.Connection, destination_id: bytes, lane: bytes | None, now_ms: int) -> None:
    if lane is not None:
        connection.execute(SQL["promote_lane"], (now_ms, destination_id, lane))


# -- by hand -----------------------------------------------------------------------------------------------


def amend(connection: apsw.Connection, amendments: Sequence[Amendment], *, now_ms: int) -> list[AmendmentResult]:
    """Carry out each amendment in turn."""
    results: list[AmendmentResult] = []
    for each in amendments:
        if isinstance(each, Cancel):
            results.append(_cancel(connection, each, now_ms))
        elif isinstance(each, Retry):
            results.append(_retry_by_hand(connection, each))
        else:
            results.append(_deliver(connection, each))
    return results


def cancel_waiting(
    connection: apsw.Connection, organisation_id: OrganisationId, event_id: EventId, *, now_ms: int
) -> None:
    """Cancel what an event still has waiting; what is being sent right now runs its course."""
    rows = connection.execute(SQL["take_waiting_of_event"], (event_id, organisation_id)).fetchall()
    _bury(connection, rows, now_ms)


def _bury(connection: apsw.Connection, rows: list[tuple[Any, ...]], now_ms: int) -> None:
    insert(connection, "insert_history", [(*row[:5], _CANCELLED, now_ms, *row[5:]) for row in rows])
    for row in rows:
        _promote(connection, row[4], row[7], now_ms)


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
    state = 0
    if row[7] is not None and first(connection, "lane_is_busy", row[4], row[7]) is not None:
        state = 2
    connection.execute(SQL["revive_delivery"], (*row, state, each.due_ms))
    return AmendmentResult.DONE


def _deliver(connection: apsw.Connection, each: Deliver) -> AmendmentResult:
    if first(connection, "event_exists", each.event_id, each.organisation_id) is None:
        return AmendmentResult.NOT_FOUND
    new = each.delivery
    busy = new.lane is not None and first(connection, "lane_is_busy", new.destination_id, new.lane) is not None
    row = (
        new.id,
        bucket_of(new.id),
        each.organisation_id,
        each.event_id,
        new.destination_id,
        2 if busy else 0,
        each.due_ms,
        0,
        0,
        new.lane,
    )
    insert(connection, "insert_deliveries", [row])
    return AmendmentResult.DONE
