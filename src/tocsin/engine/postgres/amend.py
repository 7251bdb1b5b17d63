"""Cancelling and retrying deliveries by hand."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.core.delivery import DeliveryState
from tocsin.core.identifiers import bucket_of
from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.codec import STATE_CODES
from tocsin.engine.judging import LaneKey
from tocsin.engine.postgres import audit, lanes, settle
from tocsin.engine.postgres.sql import Connection, execute, fetch, first
from tocsin.engine.rows import Amendment, AmendmentResult, Cancel, Retry

_READY = STATE_CODES[DeliveryState.READY]
_LEASED = STATE_CODES[DeliveryState.LEASED]
_BLOCKED = STATE_CODES[DeliveryState.BLOCKED]


async def amend(connection: Connection, amendments: Sequence[Amendment], *, now_ms: int) -> list[AmendmentResult]:
    """Carry out each amendment in turn, with its record."""
    locked = set()
    for each in amendments:
        locked |= await _lanes_of(connection, each)
    await lanes.lock(connection, locked)
    results: list[AmendmentResult] = []
    for each in amendments:
        if isinstance(each, Cancel):
            results.append(await _cancel(connection, each, now_ms))
        else:
            results.append(await _retry(connection, each))
    await lanes.unlock_unused(connection, locked)
    done = zip(amendments, results, strict=True)
    await audit.keep(connection, (each.record for each, result in done if result is AmendmentResult.DONE))
    return results


async def _lanes_of(connection: Connection, each: Amendment) -> set[LaneKey]:
    row = await first(connection, "lane_of_delivery", *_key(each))
    return set() if row is None or row[1] is None else {(row[0], row[1])}


def _key(each: Cancel | Retry) -> tuple[int, bytes, bytes]:
    return bucket_of(each.delivery_id), each.delivery_id, each.organisation_id


async def _cancel(connection: Connection, each: Cancel, now_ms: int) -> AmendmentResult:
    rows = await fetch(connection, "take_live", *_key(each))
    if rows:
        await settle.bury(connection, rows, now_ms)
        return AmendmentResult.DONE
    final = await first(connection, "is_final", *_key(each))
    return AmendmentResult.NOT_FOUND if final is None else AmendmentResult.REFUSED


async def _retry(connection: Connection, each: Retry) -> AmendmentResult:
    live = await first(connection, "live_state", *_key(each))
    if live is not None:
        if live[0] == _LEASED:
            return AmendmentResult.REFUSED
        await execute(connection, "hurry_delivery", bucket_of(each.delivery_id), each.delivery_id, each.due_ms)
        return AmendmentResult.DONE
    row = await first(connection, "take_final", *_key(each))
    if row is None:
        return AmendmentResult.NOT_FOUND
    lane = row[7]
    if lane is not None and lane_bucket(lane) != row[0]:
        # It comes from before a lane and all that goes in it shared a bucket: no lane would see it, nor let it go.
        lane = None
    seq = await _seq(connection, row[3], each.organisation_id)
    state, place = await _place(connection, row[4], lane, seq)
    await execute(connection, "revive_delivery", *row[:7], lane, *row[8:], state, each.due_ms, place)
    return AmendmentResult.DONE


async def _seq(connection: Connection, event_id: bytes, organisation_id: bytes) -> int | None:
    row = await first(connection, "seq_of_event", bucket_of(event_id), event_id, organisation_id)
    return None if row is None else int(row[0])


async def _place(
    connection: Connection, destination_id: bytes, lane: bytes | None, seq: int | None
) -> tuple[int, int | None]:
    """Return the state in which a delivery joins its lane, and its place there."""
    if lane is None:
        return _READY, None
    busy = await lanes.lock(connection, [(destination_id, lane)])
    return (_BLOCKED if busy else _READY), seq
