"""Storing events with all that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tocsin.core.delivery import Lease
from tocsin.core.event import Event
from tocsin.core.identifiers import EventId, bucket_of
from tocsin.core.incident import Incident, IncidentState
from tocsin.engine.codec import incident_of, incident_row
from tocsin.engine.judging import Counter, Judge, LaneKey, Stored
from tocsin.engine.postgres import audit, lanes, runs, settle
from tocsin.engine.postgres.faults import Fault, fault_of, lacks_a_partition
from tocsin.engine.postgres.sql import (
    Connection,
    fetch_at_once,
    fetch_by_ids,
    fetch_by_rows,
    fetch_of_ids,
    write_at_once,
    write_rows,
)
from tocsin.engine.rows import Acceptance, Accepted, AcceptFailed, NewEvent


class Arrival(msgspec.Struct, frozen=True):
    """An event to store, and until when the deliveries that are marked so belong to who brings it."""

    new: NewEvent
    lease_until_ms: int


async def accept(
    connection: Connection, arrivals: Sequence[Arrival], *, now_ms: int, in_doubt: bool, number: int = 0
) -> list[Acceptance]:
    """Store the batch with its records, all of it or, raising, nothing.

    Args:
        in_doubt: whether an earlier try with the same ids may have been committed; what it stored is told again.
        number: of the event before the first, within the transaction.
    """
    told = await _told_before(connection, arrivals) if in_doubt else {}
    fresh = [each for each in arrivals if each.new.event.id not in told]
    batch = _Batch(connection, fresh, now_ms=now_ms, number=number)
    judged = iter(await batch.store())
    results = [told.get(each.new.event.id) or next(judged) for each in arrivals]
    accepted = zip(arrivals, results, strict=True)
    await audit.keep(
        connection,
        (
            each.new.record
            for each, result in accepted
            if isinstance(result, Accepted) and each.new.event.id not in told
        ),
    )
    return results


async def accept_each(
    connection: Connection, arrivals: Sequence[Arrival], *, now_ms: int, in_doubt: bool
) -> list[Acceptance]:
    """Store the events one by one, so that a faulty one fails alone."""
    results: list[Acceptance] = []
    for number, arrival in enumerate(arrivals):
        await connection.execute("savepoint event")
        try:
            results += await accept(connection, [arrival], now_ms=now_ms, in_doubt=in_doubt, number=number)
        except Exception as error:
            # A missing partition is made, and all is tried again.
            if fault_of(error) is not Fault.OF_THE_OP or lacks_a_partition(error):
                raise
            await connection.execute("rollback to savepoint event")
            results.append(AcceptFailed(f"{type(error).__name__}: {error}"))
        await connection.execute("release savepoint event")
    return results


class _Batch:
    """One batch on its way in: what it may meet is locked, its events are judged, and then written table by table."""

    def __init__(self, connection: Connection, arrivals: Sequence[Arrival], *, now_ms: int, number: int) -> None:
        self._connection = connection
        self._arrivals = arrivals
        self._now_ms = now_ms
        self._number = number
        self._claimed: dict[bytes, tuple[object, ...]] = {}
        self._lanes: set[LaneKey] = set()

    async def store(self) -> list[Acceptance]:
        if not self._arrivals:
            return []
        # Always in this order, so that no two transactions lock crosswise.
        busy_lanes = await self._lock_lanes()
        known = await self._claim_keys()
        stored = Stored(
            known=known,
            incidents=await self._lock_incidents(),
            used=await self._lock_quotas(),
            busy_lanes=busy_lanes,
        )
        judge = Judge(stored, now_ms=self._now_ms, number=self._number)
        results = [judge.judge(each.new, each.lease_until_ms) for each in self._arrivals]
        await self._write(judge)
        return results

    async def _write(self, judge: Judge) -> None:
        connection = self._connection
        await self._mend_keys(judge.keys)
        await write_at_once(connection, "insert_events", judge.events)
        await write_at_once(connection, "insert_deliveries", judge.deliveries)
        await write_at_once(connection, "save_incidents", [incident_row(each) for each in judge.incidents.values()])
        await write_at_once(connection, "save_quotas", [(*counter, used) for counter, used in judge.quotas.items()])
        await write_at_once(connection, "fill_mailboxes", judge.mailbox_items)
        await self._take_places(judge.replays)
        joined = {(row[4], row[9]) for row in judge.deliveries if row[9] is not None}
        await lanes.unlock_unused(connection, self._lanes - joined)
        stored = {row[2] for row in judge.events}
        events = [each.new.event for each in self._arrivals if each.new.event.id in stored]
        await runs.cut(connection, events, self._now_ms)

    async def _lock_lanes(self) -> set[LaneKey]:
        for each in self._arrivals:
            for delivery in each.new.deliveries:
                if delivery.lane is not None:
                    self._lanes.add((delivery.destination_id, delivery.lane))
        replayed = [each.new.event.replay_of for each in self._arrivals if each.new.event.replay_of is not None]
        if replayed:
            rows = await fetch_of_ids(self._connection, "waiting_lanes_of_events", replayed)
            self._lanes |= {(row[0], row[1]) for row in rows if row[1] is not None}
        return await lanes.lock(self._connection, self._lanes)

    async def _claim_keys(self) -> dict[bytes, tuple[EventId, bytes]]:
        """Take the batch's keys for the first event that brings each; return those that are known already.

        A key past its time counts as new, and is given to its event when that is stored.
        """
        wanted: dict[bytes, tuple[object, ...]] = {}
        for each in self._arrivals:
            for key in each.new.idempotency:
                expires_ms = self._now_ms + key.expires_after_ms
                row = (key.bucket, key.digest, each.new.event.id, key.fingerprint, expires_ms)
                wanted.setdefault(key.digest, row)
        known: dict[bytes, tuple[EventId, bytes]] = {}
        while wanted:
            for (digest,) in await fetch_by_rows(self._connection, "claim_keys", list(wanted.values())):
                self._claimed[digest] = wanted.pop(digest)
            others = [row[:2] for row in wanted.values()]
            for digest, event_id, fingerprint, expires_ms in await fetch_by_rows(
                self._connection, "known_keys", others
            ):
                bucket = wanted.pop(digest)[0]
                if expires_ms <= self._now_ms:
                    self._claimed[digest] = (bucket, digest, event_id, fingerprint, expires_ms)
                else:
                    known[digest] = EventId(event_id), fingerprint
            # What is left was known, and was swept in between.
        return known

    async def _mend_keys(self, staged: Mapping[bytes, tuple[object, ...]]) -> None:
        """Give each key that was taken to the event that has it in the end; what was refused leaves none."""
        dropped = [row[:2] for digest, row in self._claimed.items() if digest not in staged]
        mended = [row for digest, row in staged.items() if self._claimed[digest] != row]
        await write_rows(self._connection, "drop_keys", dropped)
        await write_rows(self._connection, "mend_keys", mended)

    async def _lock_incidents(self) -> dict[bytes, Incident]:
        wanted = {
            each.new.incident.incident_id
            for each in self._arrivals
            if each.new.incident is not None and each.new.incident.incident_id is not None
        }
        if not wanted:
            return {}
        rows = await fetch_by_ids(self._connection, "incidents_to_move", wanted)
        return {row[0]: incident_of(row[1]) for row in rows}

    async def _lock_quotas(self) -> dict[Counter, int]:
        wanted = {
            (each.new.event.organisation_id, each.new.quota.name)
            for each in self._arrivals
            if each.new.quota is not None
        }
        rows = await fetch_at_once(self._connection, "lock_quotas", list(wanted))
        return {(row[0], row[1]): row[2] for row in rows}

    async def _take_places(self, replays: Sequence[Event]) -> None:
        """Let replays stand for the events that they repeat; the last of several stands."""
        rows = {
            event.replay_of: (bucket_of(event.replay_of), event.replay_of, event.id, event.organisation_id)
            for event in replays
            if event.replay_of is not None
        }
        if not rows:
            return
        found = await fetch_by_rows(self._connection, "events_replayed", list(rows.values()))
        await write_rows(self._connection, "mark_replayed", found)
        replayed = [(row[0], row[1], row[3]) for row in rows.values()]
        await settle.cancel_waiting(self._connection, replayed, now_ms=self._now_ms)


async def _told_before(connection: Connection, arrivals: Sequence[Arrival]) -> dict[bytes, Accepted]:
    """Return what an earlier try stored, as it was or would have been told."""
    rows = await fetch_by_ids(connection, "stored_events", [each.new.event.id for each in arrivals])
    states = {row[0]: row[1] for row in rows}
    stored = [each for each in arrivals if each.new.event.id in states]
    wanted = [
        (bucket_of(delivery.id), delivery.id, each.lease_until_ms)
        for each in stored
        for delivery in each.new.deliveries
        if delivery.leased
    ]
    leased = {row[0] for row in await fetch_by_rows(connection, "leases_at_accept", wanted)}
    return {each.new.event.id: _accepted(each, states[each.new.event.id], leased) for each in stored}


def _accepted(arrival: Arrival, state: str | None, leased: set[bytes]) -> Accepted:
    event = arrival.new.event
    if state is not None:
        event = msgspec.structs.replace(event, incident_state=IncidentState(state))
    leases = tuple(
        Lease(
            delivery_id=delivery.id,
            destination_id=delivery.destination_id,
            event=event,
            number=1,
            attempts_made=0,
            until_ms=arrival.lease_until_ms,
            lane=delivery.lane,
        )
        for delivery in arrival.new.deliveries
        if delivery.id in leased
    )
    return Accepted(event, leases)
